"""Weights to ONNX: the checkpoint, the suite's own sample weights, and the exported model."""
