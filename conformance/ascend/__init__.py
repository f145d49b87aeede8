"""The vendor's tools: found, driven, and believed only as far as their files can be checked."""
