"""Input files of every sort, with the outcome of each for each reader."""
