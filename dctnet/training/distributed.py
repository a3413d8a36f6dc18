"""The end of a run with several processes."""

import contextlib
from collections.abc import Iterator

from torch import distributed

from dctnet.errors import Stopped


@contextlib.contextmanager
def synchronized_exit() -> Iterator[None]:
    """Barrier before exit; then destroys the process group.

    Without it, torch can abort a process that exits inside a group, and Lightning kills rank 0 when another rank fails,
    possibly while rank 0 is writing the mask.
    """
    try:
        yield
        _barrier()
    except Stopped:  # raised on all ranks at the same step
        _barrier()
        raise
    finally:
        if _in_group():
            distributed.destroy_process_group()


def _barrier() -> None:
    if _in_group():
        distributed.barrier()


def _in_group() -> bool:
    return distributed.is_available() and distributed.is_initialized()
