"""Conformance of vision classifiers on Ascend boards: plain functions, no pytest."""
