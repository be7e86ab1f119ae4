"""Choose precisions and know what they cost: calibration data, ranges, quantizers."""
