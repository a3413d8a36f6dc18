"""Sample order, resuming within an epoch, and errors of DataLoader workers."""

import contextlib
import multiprocessing
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, DistributedSampler, SequentialSampler

from dctnet.errors import Stopped, UserError
from dctnet.signals import follow_parent, starting_workers


class EpochSampler(DistributedSampler):
    """Yields (epoch, index) pairs, divided among the ranks without padding, so that no sample is repeated.

    The parent class pads or drops samples to give every rank the same number. Padding repeats samples, which falsifies
    an evaluation; here only training, which needs equal numbers, drops the samples that fill no batch on every rank.

    Args:
        length: Number of samples.
        batch_size: Samples per batch on one rank; incomplete batches are dropped, unless no batch is complete. None
            keeps all samples.
        shuffle: Whether each epoch has a new random order.
        seed: Seed of the order.
        rank: Rank of this process.
        world_size: Number of processes.

    Attributes:
        resume_at: An epoch, and how many of this rank's samples to skip in it because they have been trained on.
    """

    def __init__(
        self, length: int, batch_size: int | None, shuffle: bool, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__(range(length), world_size, rank, shuffle=shuffle, seed=seed)  # type: ignore[arg-type]
        self.length = length
        self.resume_at = (-1, 0)
        if batch_size is not None:
            step = batch_size * world_size
            self.length = length // step * step if length >= step else length // world_size * world_size

    def __len__(self) -> int:
        return len(range(self.rank, self.length, self.num_replicas))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, samples = self.resume_at
        start = samples if epoch == self.epoch else 0
        for index in self._order()[: self.length][self.rank :: self.num_replicas][start:]:
            yield self.epoch, int(index)

    def _order(self) -> np.ndarray:
        """The samples of this epoch on all ranks, a function of seed and epoch."""
        total = len(self.dataset)  # type: ignore[arg-type]
        return np.random.default_rng((self.seed, self.epoch)).permutation(total) if self.shuffle else np.arange(total)


class SequentialEpochSampler(EpochSampler, SequentialSampler):  # type: ignore[misc]  # yields pairs
    """An EpochSampler in the order of the files.

    Under ``--trainer.overfit_batches``, Lightning replaces samplers that it does not know to be sequential.

    Args:
        length: Number of samples.
        batch_size: As for :class:`EpochSampler`.
        rank: Rank of this process.
        world_size: Number of processes.
    """

    def __init__(self, length: int, batch_size: int | None, rank: int = 0, world_size: int = 1) -> None:
        super().__init__(length, batch_size, False, 0, rank, world_size)


class BalancedSampler(EpochSampler):
    """Draws each class equally often in every epoch, whose number of samples is that of an :class:`EpochSampler`.

    The counts of two classes differ by at most one, and so do those of two images of one class: a class with too few
    images repeats them, one with too many shows another random part in each epoch. Repetition r of an image has the
    index ``index + r · images``, so that a sample still depends on (seed, epoch, index), and repetitions get crops of
    their own.

    Args:
        targets: Class of each sample; classes without samples are left out.
        batch_size: As for :class:`EpochSampler`.
        seed: Seed of the order.
        rank: Rank of this process.
        world_size: Number of processes.
    """

    def __init__(
        self, targets: Sequence[int], batch_size: int | None, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__(len(targets), batch_size, True, seed, rank, world_size)
        by_class = np.argsort(targets, kind="stable")
        self._classes = np.split(by_class, np.flatnonzero(np.diff(np.asarray(targets)[by_class])) + 1)

    def _order(self) -> np.ndarray:
        rng, count = np.random.default_rng((self.seed, self.epoch)), len(self._classes)
        shares = self.length // count + (rng.permutation(count) < self.length % count)
        drawn = [self._draw(rng, *each) for each in zip(self._classes, shares, strict=True)]
        return rng.permutation(np.concatenate(drawn))

    def _draw(self, rng: np.random.Generator, members: np.ndarray, share: int) -> np.ndarray:
        repetition, place = np.divmod(np.arange(share), len(members))
        return rng.permutation(members)[place] + repetition * len(self.dataset)  # type: ignore[arg-type]


def epoch_and_index(key: Any) -> tuple[int, int]:
    """The key of a sample: an (epoch, index) pair, or an index, as other samplers yield it, which means epoch 0."""
    epoch, index = key if isinstance(key, (tuple, list)) else (0, key)
    return int(epoch), int(index)


class Loader(DataLoader):
    """A DataLoader whose workers are not reached by signals to the process group, and end with their parent."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.worker_init_fn = follow_parent

    def __iter__(self) -> Any:
        if not self.num_workers:
            return super().__iter__()
        with starting_workers():
            return super().__iter__()


class ResumableLoader(Loader):
    """A DataLoader that resumes within an epoch, through the ``state_dict`` that Lightning puts into checkpoints.

    Workers read ahead, so the state is the number of batches trained on, not the number of batches read.

    Attributes:
        trained: Returns the number of batches of the current epoch that have been trained on.
    """

    sampler: EpochSampler
    trained: Callable[[], int] = staticmethod(lambda: 0)

    def state_dict(self) -> dict[str, Any]:
        """The epoch, and the number of its batches that have been trained on."""
        return {"epoch": self.sampler.epoch, "batches": self.trained()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Skips the batches of that epoch that have been trained on."""
        assert self.batch_size is not None
        self.sampler.resume_at = state["epoch"], state["batches"] * self.batch_size


@contextlib.contextmanager
def translate_worker_errors() -> Iterator[None]:
    """Converts crashes of DataLoader workers to UserError; torch raises them at any place in the main process.

    Other code may have taken that error for its own, as the writer of a checkpoint, so causes are searched too.

    Raises:
        UserError: A worker process has died.
    """
    try:
        yield
    except Stopped:
        raise
    except Exception as error:
        death = _death(error)
        if death is None and _lost_connection(error):
            # The main process may notice the closed connection before the death, whose error says the signal.
            try:
                time.sleep(1)
            except RuntimeError as late:
                death = _death(late)
            death = death or "DataLoader worker closed its connection"
        if death is None:
            raise
        raise UserError(
            f"a DataLoader worker has died: {death.splitlines()[0].strip(' .')}. If memory ran out (see dmesg), "
            "reduce --data.num_workers or --data.batch_size; training can be resumed from last.ckpt"
        ) from error


def _death(error: BaseException | None) -> str | None:
    """The message of torch about a dead worker, in an error or its causes."""
    while error is not None:
        if isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker"):
            return str(error)
        error = error.__cause__ or error.__context__
    return None


def _lost_connection(error: Exception) -> bool:
    """Whether an error is of a connection to another process of this machine, and not of a network."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    within = Path(multiprocessing.__file__).parent in Path(last.filename).parents
    return within and isinstance(error, (ConnectionError, EOFError))
