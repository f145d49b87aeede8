"""From weights to an ONNX model."""
