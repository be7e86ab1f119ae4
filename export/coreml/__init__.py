"""Core ML: the same ONNX graphs as ML programs in .mlpackage files. Runs on Linux and macOS."""
