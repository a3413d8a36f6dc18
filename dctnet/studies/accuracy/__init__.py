"""Accuracy against channels kept, at matched compute, with seeds."""
