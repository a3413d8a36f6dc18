"""The training loader, which can go on in the middle of an epoch; and what to tell when a loader's process dies."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader

from dctnet.data.dataset import EpochSampler
from dctnet.errors import UserError


class ResumableLoader(DataLoader):
    """A loader whose place in the epoch travels with the checkpoint, under the interface that Lightning asks for.

    What was fetched beforehand has not been trained on; so the place is asked of the training, not counted here.

    Args:
        *args: As for a DataLoader; the sampler is an :class:`EpochSampler`.
        **kwargs: The same.
    """

    sampler: EpochSampler
    trained: Callable[[], int] = staticmethod(lambda: 0)

    def state_dict(self) -> dict[str, Any]:
        """The epoch, and how many of its batches have been trained on."""
        return {"epoch": self.sampler.epoch, "batches": self.trained()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Leaves these batches of that epoch out."""
        assert self.batch_size is not None
        self.sampler.begun = state["epoch"], state["batches"] * self.batch_size


@contextlib.contextmanager
def translate_worker_errors() -> Iterator[None]:
    """Tells in one line that a loader's process has died; torch raises its error anywhere in the process that trains.

    Raises:
        UserError: One has died.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise UserError(
            f"a process that reads images has died: {str(error).splitlines()[0].strip(' .')}. If memory ran out (dmesg "
            "says so), a smaller --data.num_workers or --data.batch_size needs less; a training goes on from last.ckpt"
        ) from error
