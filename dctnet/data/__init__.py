"""From image files to batches of frequency channels."""
