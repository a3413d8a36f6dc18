"""Photographs as planes, exactly as a network reads them, with targets in the network's order of classes."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.planes import choose_evenly
from dctnet.data.planes import read_planes as of_files
from dctnet.errors import UserError, did_you_mean
from dctnet.frequency.color import rgb_to_ycbcr
from dctnet.studies.laboratory.subject import Subject


@dataclass(frozen=True)
class Photographs:
    """Evaluation crops of one split.

    Shape:
        - planes: (N, 3, S, S), Y, Cb, Cr, 0 … 255, float32; a network on channels reads its exact channels from them
        - targets: (N,), indices of the network's classes
    """

    planes: Tensor
    targets: Tensor
    paths: list[str]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def digest(self) -> str:
        """Begin of the SHA-256 of their names with the folders of their classes, in their order."""
        names = "\n".join("/".join(Path(path).parts[-2:]) for path in self.paths)
        return f"sha256:{hashlib.sha256(os.fsencode(names)).hexdigest()[:16]}"

    def spread(self, count: int) -> "Photographs":
        """A number of them, evenly spread; all if there are fewer."""
        return self._at(self._spread(count))

    def apart_from(self, count: int) -> "Photographs":
        """Those that :meth:`spread` leaves out; all if it leaves out none or a single one."""
        rest = sorted({*range(len(self))} - {*self._spread(count)})
        return self._at(rest) if len(rest) > 1 else self

    def _spread(self, count: int) -> list[int]:
        return [i * len(self) // count for i in range(count)] if count < len(self) else list(range(len(self)))

    def _at(self, places: list[int]) -> "Photographs":
        return Photographs(self.planes[places], self.targets[places], [self.paths[i] for i in places])


def read_photographs(subject: Subject, root: str | None, split: str, images: int, seed: int) -> Photographs:
    """Reads a random selection of a split, spread evenly over the classes.

    Args:
        subject: The network, which determines size, crop and classes.
        root: As ``--data.root`` of ``dctnet fit``; None for the data of the network's training.
        split: ``train``, ``val`` or ``test``.
        images: Number of photographs; all if there are fewer.
        seed: Of the selection.

    Raises:
        UserError: No data, no such split, classes that the network does not have, or a file that cannot be read.
    """
    data = _open(subject, root)
    files = data.files(split)
    to_network = _match_classes(subject, data.class_names, sorted(set(files.targets)), data.hparams["root"])
    chosen = choose_evenly(files.targets, images, seed)
    paths = [files.paths[place] for place in chosen]
    planes = read_planes(subject, paths, f"reading {split}")
    return Photographs(planes, torch.tensor([to_network[files.targets[place]] for place in chosen]), paths)


def read_planes(subject: Subject, paths: Sequence[str], title: str | None = None) -> Tensor:
    """Planes (N, 3, S, S) of the evaluation crops of some files.

    Raises:
        ImageError: A file cannot be read.
    """
    return of_files(paths, subject.kind, subject.image_size, subject.crop_fraction, title)


def rgb_planes(rgb: Tensor) -> Tensor:
    """Planes of an RGB image, (..., 3, H, W), 0 … 1."""
    return rgb_to_ycbcr(255 * rgb)


def _open(subject: Subject, root: str | None) -> FrequencyDataModule:
    options: dict[str, Any] = {}
    if subject.origin is not None:
        names = ("root", "val_fraction", "classes", "per_class", "seed")
        options = {name: subject.origin.options[name] for name in names if name in subject.origin.options}
    if root is not None:
        kept = (
            {"classes"}
            if subject.origin is None or Path(root).resolve() != Path(subject.origin.root).resolve()
            else set(options)
        )
        options = {key: value for key, value in options.items() if key in kept} | {"root": root}
    if "root" not in options:
        raise UserError(f"{subject.name}: give its photographs as --data.root")
    data = FrequencyDataModule(**options, num_workers=0)
    if data.store is not None:
        raise UserError(f"--data.root {options['root']}: a packed store; the laboratory needs the photographs")
    return data


def _match_classes(subject: Subject, found: Sequence[str], used: Sequence[int], root: str) -> dict[int, int]:
    """The network's class of each target that is used."""
    if subject.classes is None:
        with torch.inference_mode():
            outputs = subject(torch.full((1, 3, subject.image_size, subject.image_size), 128.0)).shape[1]
        if outputs != len(found):
            raise UserError(
                f"{root}: {len(found)} classes, but {subject.name} has {outputs} outputs: give their names in a file "
                "as --classes, or other photographs"
            )
        return {target: target for target in used}
    missing = [found[target] for target in used if found[target] not in subject.classes]
    if missing:
        hint = did_you_mean(missing[0], subject.classes)
        raise UserError(
            f"{root}: {len(missing)} classes that {subject.name} does not have, such as {missing[0]!r}.{hint}"
        )
    return {target: subject.classes.index(found[target]) for target in used}
