"""Image files to samples and batches; each sample depends on (seed, epoch, index) only, not on the worker."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from dctnet.data.folders import Files
from dctnet.data.images.photo import Decoder, ImageError, Photo
from dctnet.data.packed.reader import PackedDataset
from dctnet.data.preprocess import Reader, make_reader
from dctnet.data.progressive import CropSizes
from dctnet.data.sampler import epoch_and_index
from dctnet.data.sources import PhotoSource, StoreSource
from dctnet.data.transforms import CenterCrop, TrainCrop
from dctnet.frequency.channels import ChannelSet


@dataclass(frozen=True)
class Sample:
    """Result of reading one file in a worker."""

    index: int  # of the file in its split
    target: int
    content: Any  # output of the reader's sample(), or None after an error
    error: tuple[str, str] | None = None  # path and reason if the file could not be read
    refused: tuple[str, str] | None = None  # path and reason if Pillow read a file that libjpeg-turbo refused
    epoch: int = 0
    drawn: int = 0  # the index before the modulo, by which repetitions of a BalancedSampler differ


class PhotoDataset(Dataset[Sample]):
    """Reads image files; a file that cannot be read gives a sample with the error.

    Args:
        files: The files and their targets.
        reader: Converts an opened photograph to tensors.
        decoder: For JPEG files.
        seed: Seeds each sample's generator, together with epoch and index, so that a sample's crop does not depend on
            the process that reads it.
        split: Name of the split, for the batches.
        sizes: Side of the crops in each epoch; the reader's if None.
    """

    def __init__(
        self, files: Files, reader: Reader, decoder: Decoder, seed: int, split: str, sizes: CropSizes | None = None
    ) -> None:
        self.files, self.reader, self.seed, self.split = files, reader, seed, split
        self.decoder: Decoder = decoder
        self.sizes = sizes or CropSizes([reader.size])

    def __len__(self) -> int:
        return len(self.files)

    def _reader_at(self, epoch: int) -> Reader:
        return replace(self.reader, size=self.sizes.at(epoch))

    def __getitem__(self, key: tuple[int, int] | int) -> Sample:
        """The sample of an (epoch, index) pair from :class:`~dctnet.data.sampler.EpochSampler`, or of an index.

        Indices of pairs can be those of repetitions, from :class:`~dctnet.data.sampler.BalancedSampler`.
        """
        epoch, index = epoch_and_index(key)
        if not 0 <= index < len(self) and not isinstance(key, (tuple, list)):
            raise IndexError(f"index {index} of {len(self)} files")  # ends a loop over the data set
        rng, drawn = np.random.default_rng((self.seed, epoch, index)), index
        index %= len(self)
        path, target = self.files.paths[index], self.files.targets[index]
        try:
            photo = Photo(path, self.decoder)
            content = self._reader_at(epoch).sample(photo, rng)
        except ImageError as error:
            return Sample(index, target, None, (path, error.reason), epoch=epoch, drawn=drawn)
        refused = (path, photo.refused) if photo.refused and self.decoder == "turbojpeg" else None
        return Sample(index, target, content, refused=refused, epoch=epoch, drawn=drawn)

    def collate(self, samples: list[Sample]) -> dict[str, Any]:
        """Batches the samples that were read, and lists the others. All are of one epoch.

        Returns:
            ``payload``: the reader's batch, or None if no sample was read; ``target`` (N,), ``index`` (N,); ``split``;
            ``drawn``: the epoch, and the number that seeds each sample in it, (N,); ``bad``: path and reason of each
            file that was not read; ``refused``: the same of each file read by Pillow instead of libjpeg-turbo.
        """
        good = [s for s in samples if s.error is None]
        return {
            "payload": self._reader_at(samples[0].epoch).collate([s.content for s in good]) if good else None,
            "target": torch.tensor([s.target for s in good], dtype=torch.long),
            "index": torch.tensor([s.index for s in good], dtype=torch.long),
            "split": self.split,
            "drawn": (samples[0].epoch, np.array([s.drawn for s in good], dtype=np.int64)),
            "bad": [s.error for s in samples if s.error is not None],
            "refused": [s.refused for s in samples if s.refused is not None],
        }

    def to_device(self, payload: Any) -> torch.Tensor:
        """The network's input, on the device of the payload; an empty tensor for a batch without images."""
        return torch.empty(0) if payload is None else self.reader.to_device(payload)


def make_dataset(
    source: PhotoSource | StoreSource,
    split: str,
    channel_set: ChannelSet,
    decoder: Decoder,
    options: Mapping[str, Any],
    sizes: CropSizes,
) -> PhotoDataset | PackedDataset:
    """The dataset of a split: random crops for ``train``, center crops otherwise.

    Args:
        source: Photographs or a packed store.
        split: ``train``, ``val``, ``test`` or ``predict``.
        channel_set: Channels of the input.
        decoder: For JPEG files.
        options: Of the :class:`~dctnet.data.datamodule.FrequencyDataModule`.
        sizes: Side of the training crops in each epoch; other crops have the last of them.

    Raises:
        UserError: The source has no such split, class, channel or scale.
    """
    files, size, fraction, seed = source.files(split), options["image_size"], options["crop_fraction"], options["seed"]
    if isinstance(source, PhotoSource):
        crop = TrainCrop(options["min_scale"]) if split == "train" else CenterCrop(fraction)
        reader = make_reader(crop, size, channel_set, options["input"], options["source"], options["dct"])
        return PhotoDataset(files, reader, decoder, seed, split, sizes if split == "train" else None)
    of_split = source.manifest, split, channel_set, size, fraction, options["residency"], seed, sizes
    dataset = PackedDataset(*of_split, source.index(split))
    dataset.targets = files.targets  # indices into source.class_names, which may be a trained network's classes
    return dataset
