"""TensorRT: engines from the same ONNX graphs, built here or, by a build kit, on the box that runs them."""
