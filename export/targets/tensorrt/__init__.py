"""Build TensorRT engines of the same ONNX graphs, here or, by a build kit, on the box that runs them."""
