"""Files to samples: decoding in the workers, in an order that does not depend on how many there are."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, DistributedSampler

from dctnet.data.coefficients import CoefficientReader
from dctnet.data.folders import Files
from dctnet.data.images.photo import Decoder, ImageError, Photo
from dctnet.data.pixels import ChannelReader, RGBReader

Reader = ChannelReader | CoefficientReader | RGBReader


@dataclass(frozen=True)
class Sample:
    """What a worker makes of one file: what its reader read, or its path and the reason why there is nothing.

    ``refused`` is path and reason where libjpeg-turbo was asked and Pillow had to read the file.
    """

    index: int
    target: int
    content: Any
    error: tuple[str, str] | None = None
    refused: tuple[str, str] | None = None


class PhotoDataset(Dataset[Sample]):
    """Opens and reads files; a file that fails becomes a sample that says so.

    Args:
        files: The files and their targets.
        reader: What makes tensors of a photograph.
        decoder: For JPEG files.
        seed: With epoch and index it seeds the generator of each sample, so that the same image gets the same crop in
            whatever process it is decoded.
    """

    def __init__(self, files: Files, reader: Reader, decoder: Decoder, seed: int) -> None:
        self.files = files
        self.reader = reader
        self.decoder: Decoder = decoder
        self.seed = seed

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """The sample for an (epoch, index) pair, as :class:`EpochSampler` yields them."""
        epoch, index = key
        path, target = self.files.paths[index], self.files.targets[index]
        rng = np.random.default_rng((self.seed, epoch, index))
        try:
            photo = Photo(path, self.decoder)
            content = self.reader.sample(photo, rng)
        except ImageError as error:
            return Sample(index, target, None, (path, error.reason))
        refused = (path, photo.refused) if photo.refused and self.decoder == "turbojpeg" else None
        return Sample(index, target, content, refused=refused)

    def collate(self, samples: list[Sample]) -> dict[str, Any]:
        """Stacks the samples that could be read; the others stand beside them.

        Returns:
            ``payload``, what the reader makes of them, or None if there are none; ``target`` (N,), ``index`` (N,), and
            ``bad``, a list of (path, reason); ``refused``, the same of those that Pillow had to read.
        """
        good = [s for s in samples if s.error is None]
        return {
            "payload": self.reader.collate([s.content for s in good]) if good else None,
            "target": torch.tensor([s.target for s in good], dtype=torch.long),
            "index": torch.tensor([s.index for s in good], dtype=torch.long),
            "bad": [s.error for s in samples if s.error is not None],
            "refused": [s.refused for s in samples if s.refused is not None],
        }

    def to_device(self, payload: Any) -> torch.Tensor:
        """The network's input, on the device that the batch has reached; empty without images."""
        return torch.empty(0) if payload is None else self.reader.to_device(payload)


class EpochSampler(DistributedSampler):
    """Yields (epoch, index) pairs, dealt to the ranks without padding: no sample twice, none left out.

    The parent pads or drops to give all ranks the same count, which repeats samples and falsifies evaluation. Here only
    training, which needs equal counts, drops what does not fill a batch on every rank.

    Args:
        length: Number of samples.
        batch_size: Samples a batch on one rank; full batches only, unless there would be none. None: keep all.
        shuffle: A new order each epoch, else the given one.
        seed: Seeds the order.
        rank: This process's place.
        world_size: Number of processes.
    """

    def __init__(
        self, length: int, batch_size: int | None, shuffle: bool, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__(range(length), world_size, rank, shuffle=shuffle, seed=seed)  # type: ignore[arg-type]
        self.length = length
        self.begun = (-1, 0)  # an epoch, and how many of this rank's samples it leaves out because they have been had
        if batch_size is not None:
            step = batch_size * world_size
            self.length = length // step * step if length >= step else length // world_size * world_size

    def __len__(self) -> int:
        return len(range(self.rank, self.length, self.num_replicas))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        total = len(self.dataset)  # type: ignore[arg-type]
        order = np.random.default_rng((self.seed, self.epoch)).permutation(total) if self.shuffle else np.arange(total)
        epoch, had = self.begun
        start = had if epoch == self.epoch else 0
        for index in order[: self.length][self.rank :: self.num_replicas][start:]:
            yield self.epoch, int(index)
