"""Tools for ONNX graphs that both export and calibration use."""
