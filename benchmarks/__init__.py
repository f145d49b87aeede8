"""Measurements of this suite itself: how often its verdicts are right, and how fast it is."""
