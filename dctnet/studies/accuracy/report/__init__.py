"""The HTML report of a benchmark's folder."""
