"""The pictures of a benchmark's report."""
