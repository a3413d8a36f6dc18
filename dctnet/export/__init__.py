"""Files that a trained network leaves for other programs: masks and heat maps."""
