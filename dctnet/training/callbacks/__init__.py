"""Callbacks: bad files, predictions, the check for NaN and infinity, seeds and timing of steps."""
