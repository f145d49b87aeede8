"""From ImageNet photographs, or drawn stand-ins for them, to input tensors."""
