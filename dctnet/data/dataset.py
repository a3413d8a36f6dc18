"""Image files to samples and batches; each sample depends on (seed, epoch, index) only, not on the worker."""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from dctnet.data.folders import Files
from dctnet.data.images.photo import Decoder, ImageError, Photo
from dctnet.data.packed.manifest import evaluation_scale
from dctnet.data.packed.reader import PackedDataset
from dctnet.data.preprocess import Reader, make_reader
from dctnet.data.sources import PhotoSource, StoreSource
from dctnet.data.transforms import CenterCrop, TrainCrop
from dctnet.frequency.channels import ChannelSet


@dataclass(frozen=True)
class Sample:
    """Result of reading one file in a worker.

    Args:
        index: Index of the file in its split.
        target: Class index.
        content: Output of the reader's ``sample``, or None after an error.
        error: Path and reason if the file could not be read.
        refused: Path and reason if Pillow read a file that libjpeg-turbo refused.
    """

    index: int
    target: int
    content: Any
    error: tuple[str, str] | None = None
    refused: tuple[str, str] | None = None


class PhotoDataset(Dataset[Sample]):
    """Reads image files; a file that cannot be read gives a sample with the error.

    Args:
        files: The files and their targets.
        reader: Converts an opened photograph to tensors.
        decoder: For JPEG files.
        seed: Seeds each sample's generator, together with epoch and index, so that a sample's crop does not depend on
            the process that reads it.
    """

    def __init__(self, files: Files, reader: Reader, decoder: Decoder, seed: int) -> None:
        self.files = files
        self.reader = reader
        self.decoder: Decoder = decoder
        self.seed = seed

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """The sample of an (epoch, index) pair from :class:`~dctnet.data.sampler.EpochSampler`."""
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
        """Batches the samples that were read, and lists the others.

        Returns:
            ``payload``: the reader's batch, or None if no sample was read; ``target`` (N,), ``index`` (N,); ``bad``:
            path and reason of each file that was not read; ``refused``: the same of each file read by Pillow instead of
            libjpeg-turbo.
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
        """The network's input, on the device of the payload; an empty tensor for a batch without images."""
        return torch.empty(0) if payload is None else self.reader.to_device(payload)


def make_dataset(
    source: PhotoSource | StoreSource, split: str, channel_set: ChannelSet, decoder: Decoder, options: Mapping[str, Any]
) -> PhotoDataset | PackedDataset:
    """The dataset of a split: random crops for ``train``, center crops otherwise.

    Args:
        source: Photographs or a packed store.
        split: ``train``, ``val``, ``test`` or ``predict``.
        channel_set: Channels of the input.
        decoder: For JPEG files.
        options: Of the :class:`~dctnet.data.datamodule.FrequencyDataModule`.

    Raises:
        UserError: The source has no such split, class, channel or scale.
    """
    files, train, size = source.files(split), split == "train", options["image_size"]
    if isinstance(source, PhotoSource):
        crop = TrainCrop(options["min_scale"]) if train else CenterCrop(options["crop_fraction"])
        reader = make_reader(crop, size, channel_set, options["input"], options["source"], options["dct"])
        return PhotoDataset(files, reader, decoder, options["seed"])
    scale = evaluation_scale(size, options["crop_fraction"])
    dataset = PackedDataset(
        source.manifest, split, channel_set, size, train, scale, options["residency"], options["seed"]
    )
    dataset.targets = files.targets  # indices into source.class_names, which may be a trained network's classes
    return dataset


def make_loader(
    dataset: PhotoDataset | PackedDataset,
    split: str,
    sampler: Iterable[tuple[int, int]],
    batch_size: int,
    num_workers: int,
    kind: type[DataLoader] = DataLoader,
) -> DataLoader:
    """A loader whose batches name their split.

    Args:
        dataset: The split's dataset.
        split: Value of ``split`` in each batch.
        sampler: (epoch, index) pairs.
        batch_size: Pairs per batch.
        num_workers: Worker processes for photographs; a packed store is read without.
        kind: Class of the loader.
    """
    workers = num_workers if isinstance(dataset, PhotoDataset) else 0
    return kind(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=functools.partial(_collate, dataset, split),
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
    )


def _collate(dataset: PhotoDataset | PackedDataset, split: str, samples: Any) -> dict[str, Any]:
    return {**dataset.collate(samples), "split": split}
