"""The end of a run of several processes."""

import contextlib
from collections.abc import Iterator

from torch import distributed

from dctnet.errors import Stopped


@contextlib.contextmanager
def synchronized_exit() -> Iterator[None]:
    """Lets no process end while another is at work, and takes the group of processes down before they do.

    Torch may abort a process that ends within a group, and where one ends badly Lightning kills the first, which may
    still be writing the mask.
    """
    try:
        yield
        _wait_for_all()
    except Stopped:  # on all of them, at the same step
        _wait_for_all()
        raise
    finally:
        if _in_group():
            distributed.destroy_process_group()


def _wait_for_all() -> None:
    if _in_group():
        distributed.barrier()


def _in_group() -> bool:
    return distributed.is_available() and distributed.is_initialized()
