"""Measurements on a GPU: correctness, throughput, training steps, time to accuracy, and the benchmark over five seeds.

Each part is a list of cells. A cell is one measurement that is recorded as soon as it is done, so that a run continues
where the one before ended.
"""
