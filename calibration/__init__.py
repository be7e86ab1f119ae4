"""What each precision costs and how it is chosen: calibration data, ranges, quantizers (see CHANGELOG for what is there yet)."""
