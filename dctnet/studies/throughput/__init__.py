"""Images a second of every input pipeline."""
