"""Callbacks: bad files, predictions, answers, check for NaN and infinity, seeds and timing of steps."""
