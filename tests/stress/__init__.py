"""Campaigns: many random trials, too long for CI, each run by hand with ``python -m tests.stress.NAME``."""
