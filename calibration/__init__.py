"""What each precision costs and how it is chosen: calibration data, ranges, quantizers."""
