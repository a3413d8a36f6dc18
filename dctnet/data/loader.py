"""The training loader: it can go on in the middle of an epoch."""

from collections.abc import Callable
from typing import Any

from torch.utils.data import DataLoader

from dctnet.data.dataset import EpochSampler


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
