"""The cores of this machine."""

import os


def available_cores() -> int:
    """Number of cores that this process may use, which a scheduler can limit to a part of the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
