"""Property tests try the same examples in every run, so that a red run is about the change."""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
