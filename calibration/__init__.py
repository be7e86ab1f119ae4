"""What each precision costs and how it is chosen: calibration data, ranges, quantizers. Empty in 0.1."""
