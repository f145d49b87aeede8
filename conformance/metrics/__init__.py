"""Predictions to numbers: what was measured, how sure it is, and what would settle it."""
