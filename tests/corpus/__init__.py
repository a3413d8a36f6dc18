"""Input files of all kinds, and the outcome of each for each reader."""
