"""Data sources: files, classes and fingerprint of a folder of photographs or of a packed store."""

import hashlib
import itertools
import json
import operator
import os
import warnings
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dctnet.data.download import fetch
from dctnet.data.folders import (
    Files,
    choose_classes,
    class_folders,
    list_classes,
    list_unlabelled,
    other_folders,
    paths_of_one_file,
)
from dctnet.data.packed.index import SplitIndex, open_index
from dctnet.data.packed.manifest import is_store, pick_split, read_manifest
from dctnet.data.splits import SPLITS, cap_per_class, hold_out, look_like_splits, split_folder
from dctnet.errors import UserError, did_you_mean, no_folder, printable


class PhotoSource:
    """Photographs in class folders, which are in a folder for each split or directly in the root.

    The arguments are those of the :class:`~dctnet.data.datamodule.FrequencyDataModule`; ``warn`` is called with each
    warning, which is one line.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        download: str | None = None,
        classes: str | Sequence[str] | None = None,
        val_fraction: float = 0.0,
        per_class: int | None = None,
        warn: Callable[[str], object] = warnings.warn,
    ) -> None:
        self._root, self._download, self._classes = Path(root), download, classes
        self._val_fraction, self._per_class, self._warn = val_fraction, per_class, warn
        self._files: dict[str, Files] = {}
        self._output: Path | None = None
        self._classes_from: Path | None = None  # the folder whose class folders are the class names
        self._listed: dict[str, tuple[Path, Files]] = {}  # folder and all files of each split with a folder

    @staticmethod
    def check_options(options: Mapping[str, Any]) -> None:
        """Raises UserError for the first data option that photographs do not support."""
        root, channels = options["root"], options["channels"]
        if options["residency"] != "disk":
            raise UserError(f"--data.residency {options['residency']} needs a packed store; {root} is none")
        if isinstance(channels, str) and channels.startswith("first-"):
            raise UserError(f"--data.channels {channels} needs a packed store; {root} is none")
        if options["source"] == "coefficients" and options["input"] == "rgb":
            raise UserError("--data.source coefficients reads channels; --model.input rgb needs --data.source pixels")
        if options["source"] == "coefficients" and options["dct"] == "device":
            raise UserError("--data.dct device needs --data.source pixels: JPEG coefficients need no DCT")

    @cached_property
    def root(self) -> Path:
        """The folder with the splits, downloaded or generated first if ``download`` is given.

        Raises:
            UserError: The folder does not exist (the message names the nearest one), or the download failed.
        """
        if self._download:
            return fetch(self._download, self._root)
        if not self._root.is_dir():
            raise no_folder(self._root)
        return self._root

    @cached_property
    def class_names(self) -> list[str]:
        """Class names; a target is an index into this list. A trained network's names are assigned before any listing.

        Raises:
            UserError: A class has no folder, or there is no class folder.
        """
        folder = next(filter(None, (split_folder(self.root, split) for split in SPLITS)), self.root)
        present = class_folders(folder)
        if left_out := other_folders(folder, present):
            self._warn_user(f"{folder}: not a class: {', '.join(left_out)} (of a system or a training)")
        if len(present) == 1 and all(split_folder(folder / present[0], split) for split in ("train", "val")):
            raise UserError(f"{folder}: neither train/ nor val/ in it; they are in {folder / present[0]}")
        self._classes_from = folder
        return choose_classes(present, self._classes, folder)

    @property
    def splits_present(self) -> list[str]:
        """Names of the splits with a folder; ``train`` and ``val`` if there is none and images are held out."""
        return [split for split in SPLITS if split_folder(self.root, split)] or ["train", "val"]

    def files(self, split: str) -> Files:
        """Files of a split with their targets, listed once.

        For ``predict`` all files below the root, or the root if that is a file, without labels.

        Raises:
            UserError: The root has no such split, the split has an unknown class, or it has no files.
        """
        if split not in self._files:
            self._files[split] = self._list(split)
        return self._files[split]

    def left_out(self, split: str) -> tuple[tuple[str, str], ...]:
        """Path and reason of files left out by packing: none."""
        return ()

    def fingerprint(self, splits: Sequence[str] = ("train", "val")) -> dict[str, Any]:
        """Number of images of each split, and SHA-256 of its file names, targets and class names.

        File contents are not hashed.
        """
        return {split: _fingerprint(self.files(split), self.class_names) for split in splits}

    def check_output(self, path: str | Path, option: str) -> None:
        """Checks where a run writes to.

        Raises:
            UserError: It is in a class folder, where it would be taken for photographs.
        """
        if self._root.is_file():
            return
        real = Path(path).resolve()
        for folder in filter(None, (self.root, *(split_folder(self.root, split) for split in SPLITS))):
            for name in self.class_names:
                # A checkpoint of unknown origin may have a class name that no file can have.
                if "\0" not in name and real.is_relative_to((folder / name).resolve()):
                    raise UserError(f"{option} {path}: lies in the class folder {folder / name}; choose another folder")

    def leave_out(self, path: str | Path) -> None:
        """Leaves a file that will be written out of ``files("predict")``."""
        self._output = Path(path).resolve()

    def _list(self, split: str) -> Files:
        if split == "predict":
            found = list_unlabelled(self._root, self._output)
            self._warn_of_repetitions(self._root, found)
            return found
        folder = self._find_folder(split)
        where = folder or self.root
        if where != self._classes_from:  # or else a folder that a logger creates meanwhile would be a class
            self._check_classes(where)
        found = list_classes(where, self.class_names)
        self._warn_of_repetitions(where, found)
        if found.linked:
            _check_targets(found)
        self._warn_of_shared_files(split, folder, found)
        if folder is None:
            found = hold_out(found, self.root, self._val_fraction)[split == "val"]
        self.check_no_class_is_empty(split, found.targets)
        if split == "train" and self._per_class:
            found = cap_per_class(found, self.root, self._per_class)
        return found

    def _find_folder(self, split: str) -> Path | None:
        """The folder of a split, or None if it is held out from the root's class folders."""
        folder, fraction = split_folder(self.root, split), self._val_fraction
        if folder is not None:
            if fraction:
                self._warn_user(f"{self.root} has split folders: --data.val_fraction {fraction} is not used")
            return folder
        if split == "test":
            raise UserError(f"{self.root}: no folder test/ in it; dctnet validate measures on val/")
        present = [folder.name for each in SPLITS if (folder := split_folder(self.root, each))]
        names = present or class_folders(self.root)
        if present or look_like_splits(names):
            first = min(names, key=lambda name: "train" not in name.lower())
            hold = f"to hold out a part of {first}/: --data.root {self.root / first} --data.val_fraction 0.1"
            raise UserError(
                f"{self.root}: wanted train/ and val/, found {', '.join(names[:3])}; rename them, or {hold}"
            )
        if not fraction:
            some = f"{', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
            hold = f"--data.val_fraction 0.1 takes its folders ({some}) for classes and holds out a tenth"
            raise UserError(f"{self.root}: neither train/ nor val/ in it; {hold}")
        return None

    def _check_classes(self, folder: Path) -> None:
        names = self.class_names
        if self._classes is None and (unknown := sorted({*class_folders(folder, names)} - {*names})):
            raise UserError(
                f"{folder}: class {unknown[0]!r} is not among the {len(names)} of training."
                + did_you_mean(unknown[0], set(names) - set(unknown))
            )

    def check_no_class_is_empty(self, split: str, targets: Sequence[int]) -> None:
        """Refuses training without images of a class, which would never be predicted; warns of it in another split.

        Args:
            split: The split.
            targets: Of its images.

        Raises:
            UserError: The split has no image at all, or is for training and has none of a class that has a folder.
        """
        folder, names = split_folder(self.root, split) or self.root, self.class_names
        if not targets:
            raise UserError(f"{folder}: no image in any of the {len(names)} class folders")
        if not (empty := empty_classes(targets, names)):
            return
        what = f"{folder}: no {split} image of {enumerate_classes(empty, names)}"
        if split == "train" and any((folder / name).is_dir() for name in empty):
            raise UserError(f"{what}; remove empty folders, or name the other classes in --data.classes")
        self._warn_user(f"{what}; figures are over the other {len(names) - len(empty)}")

    def _warn_of_repetitions(self, folder: Path, found: Files) -> None:
        if found.repeated:
            count = len(found.repeated) - 1
            others = f", and so {'is 1 other link' if count == 1 else f'are {count} other links'}" if count else ""
            what = f"{found.repeated[0]} leads to files that are counted already, or to a folder around it"
            self._warn_user(f"{folder}: {what}, and is left out{others}")

    def _warn_of_shared_files(self, split: str, folder: Path | None, found: Files) -> None:
        """Warns if links make a file part of two splits, so that a network is validated on what it was trained on."""
        for other, (place, files) in self._listed.items():
            if folder and (found.linked or files.linked or folder.samefile(place)):
                reals = paths_of_one_file((*files.paths, *found.paths))
                known = {reals[path] for path in files.paths if path in reals}
                if shared := [path for path in found.paths if reals.get(path) in known]:
                    count = f"{len(shared)} of the {len(found)} files of {split} are also files of {other}"
                    self._warn_user(f"{folder}: {count}, by links, such as {shared[0]}")
        if folder:
            self._listed[split] = folder, found

    def _warn_user(self, text: str) -> None:
        self._warn(printable(text))


class StoreSource:
    """A packed store, with the interface of :class:`PhotoSource`.

    Raises:
        StoreError: The store is incomplete or damaged.
    """

    def __init__(self, root: str | Path, *, warn: Callable[[str], object] = warnings.warn) -> None:
        self.manifest = read_manifest(root)
        self.root = self.manifest.root
        self.class_names = list(self.manifest.classes)  # or a trained network's, assigned before any listing
        self._warn = warn
        self._indices: dict[str, SplitIndex] = {}
        self._files: dict[str, Files] = {}

    @staticmethod
    def check_options(options: Mapping[str, Any]) -> None:
        """Raises UserError for the first data option that was fixed when the store was packed."""
        root = options["root"]
        fixed = [name for name in ("classes", "per_class", "download", "val_fraction") if options[name]]
        if fixed:
            raise UserError(f"{root}: a packed store; --data.{fixed[0]} is chosen when packing")
        if options["input"] == "rgb":
            raise UserError(f"{root}: a packed store has no RGB; --model.input rgb needs the photographs")
        if options["source"] == "coefficients":
            raise UserError(f"{root}: a packed store; --data.source coefficients reads JPEG files")

    @property
    def splits_present(self) -> list[str]:
        """Names of the store's splits."""
        return list(self.manifest.splits)

    def files(self, split: str) -> Files:
        """Source paths of a split's images, relative to the packed folder, with their targets; listed once.

        Raises:
            StoreError: The store has no such split, or an index is damaged.
            UserError: The store has a class that is not among ``class_names``.
        """
        if split not in self._files:
            self._files[split] = self._list(split)
        return self._files[split]

    def index(self, split: str) -> SplitIndex:
        """Where the images of a split are stored; opened once.

        Raises:
            StoreError: The store has no such split, or an index is damaged.
        """
        if split not in self._indices:
            self._indices[split] = open_index(self.manifest, split)
        return self._indices[split]

    def left_out(self, split: str) -> tuple[tuple[str, str], ...]:
        """Path and reason of the source files that packing left out of a split."""
        return pick_split(self.manifest, split).skipped

    def fingerprint(self, splits: Sequence[str] = ("train", "val")) -> dict[str, Any]:
        """Number of images of each split, and SHA-256 of its file names, targets, class names and manifest checksum.

        Since version 2 the manifest's checksum stands for names and targets too, so that they need not be read.
        """
        checksum = self.manifest.content["sha256"].encode()
        if self.manifest.content["version"] == 1:
            return {split: _fingerprint(self.files(split), self.class_names, checksum) for split in splits}
        hashed = {split: json.dumps([split, *self.class_names]).encode() + checksum for split in splits}
        return {
            split: {"images": len(self.files(split)), "sha256": hashlib.sha256(content).hexdigest()}
            for split, content in hashed.items()
        }

    def check_output(self, path: str | Path, option: str) -> None:
        """Raises UserError if a run would write into the store."""
        if Path(path).resolve().is_relative_to(self.root.resolve()):
            raise UserError(f"{option} {path}: lies in the packed store {self.root}; choose another folder")

    def _list(self, split: str) -> Files:
        if split == "predict":
            raise UserError(f"{self.root}: a packed store; dctnet predict reads photographs, dctnet validate a store")
        names, stored = self.class_names, self.manifest.classes
        if unknown := sorted(set(stored) - set(names)):
            raise UserError(f"{self.root}: class {unknown[0]!r} is not among the {len(names)} of training")
        place, index = {name: target for target, name in enumerate(names)}, self.index(split)
        targets = np.array([place[name] for name in stored], np.intc)[index.targets]
        if empty := empty_classes(np.flatnonzero(np.bincount(targets)).tolist(), names):
            what = f"no {split} image of {enumerate_classes(empty, names)}"
            self._warn(printable(f"{self.root}: {what}; figures are over the other {len(names) - len(empty)}"))
        if left_out := self.left_out(split):
            self._warn(printable(f"{self.root}: {len(left_out)} files of {split} were left out by packing"))
        return Files(index.names, array("i", targets.tobytes()))


def open_source(options: Mapping[str, Any], warn: Callable[[str], object]) -> PhotoSource | StoreSource:
    """The source in the ``root`` of the ``--data`` options.

    Raises:
        StoreError: The folder is a packed store that is incomplete or damaged.
    """
    if is_store(options["root"]):
        return StoreSource(options["root"], warn=warn)
    names = ("download", "classes", "val_fraction", "per_class")
    return PhotoSource(options["root"], **{name: options[name] for name in names}, warn=warn)


def empty_classes(targets: Iterable[int], class_names: Sequence[str]) -> list[str]:
    """Names of the classes that are no target."""
    present = set(targets)
    return [name for target, name in enumerate(class_names) if target not in present]


def enumerate_classes(some: Sequence[str], class_names: Sequence[str]) -> str:
    """Some of the classes, for a message: their number and the first ten names."""
    more = f" and {len(some) - 10} more" if len(some) > 10 else ""
    return f"{len(some)} of the {len(class_names)} classes: {', '.join(map(repr, some[:10]))}{more}"


def _check_targets(files: Files) -> None:
    """Raises UserError if links make a file part of two classes."""
    reals, first = paths_of_one_file(files.paths), dict[str, int]()
    for place, path in enumerate(files.paths if reals else ()):
        other = first.setdefault(reals[path], place) if path in reals else place
        if files.targets[other] != files.targets[place]:
            raise UserError(f"{files.paths[other]} and {path} are one file in two classes, by a link")


def _fingerprint(files: Files, class_names: Sequence[str], extra: bytes = b"") -> dict[str, Any]:
    """Number of images, and SHA-256 of the class names and of ``["class/name", target]`` of each file, as JSON."""
    digest = hashlib.sha256(json.dumps(list(class_names)).encode())
    names = ("/".join(path.rsplit(os.sep, 2)[-2:]) for path in files.paths)
    for target, group in itertools.groupby(zip(files.targets, names, strict=True), operator.itemgetter(0)):
        # One call for all files of a class, because json takes longer to start than to write a name. In JSON a name
        # cannot contain the separator, because its quotes are escaped.
        listed = json.dumps([name for _, name in group])[2:-2]
        digest.update(f'["{listed}", {target}]'.replace('", "', f'", {target}]["').encode())
    digest.update(extra)
    return {"images": len(files), "sha256": digest.hexdigest()}
