"""Input tensors to predictions."""
