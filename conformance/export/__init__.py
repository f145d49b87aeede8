"""Weights to ONNX."""
