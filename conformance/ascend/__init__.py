"""The vendor's tools, as seen from outside their processes."""
