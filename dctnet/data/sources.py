"""Data sources: files, classes and fingerprint of a folder of photographs or of a packed store."""

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from dctnet.data.download import fetch
from dctnet.data.folders import Files, choose_classes, class_folders, list_classes, list_unlabelled
from dctnet.data.packed.manifest import is_store, pick_split, read_manifest
from dctnet.data.packed.shard import read_index
from dctnet.data.splits import SPLITS, cap_per_class, hold_out, split_folder
from dctnet.errors import UserError, no_folder, printable


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
        return choose_classes(class_folders(folder), self._classes, folder)

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

    def _list(self, split: str) -> Files:
        if split == "predict":
            return list_unlabelled(self._root)
        folder = self._find_folder(split)
        self._check_classes(folder or self.root)
        found = list_classes(folder or self.root, self.class_names)
        if folder is None:
            found = hold_out(found, self.root, self._val_fraction)[split == "val"]
        if split == "train" and self._per_class:
            found = cap_per_class(found, self.root, self._per_class)
        if not found.paths:
            raise UserError(f"{folder or self.root}: no image in any of the {len(self.class_names)} class folders")
        return found

    def _find_folder(self, split: str) -> Path | None:
        """The folder of a split, or None if it is held out from the root's class folders."""
        folder, fraction = split_folder(self.root, split), self._val_fraction
        if folder is not None:
            if fraction:
                self._warn_user(f"{self.root} has split folders: --data.val_fraction {fraction} is not used")
        elif split == "test" or any(split_folder(self.root, other) for other in SPLITS):
            raise UserError(f"{self.root}: no folder {' or '.join(SPLITS[split])}/ in it")
        elif not fraction:
            raise UserError(f"{self.root}: neither train/ nor val/ in it; --data.val_fraction 0.1 holds out a tenth")
        return folder

    def _check_classes(self, folder: Path) -> None:
        names, present = self.class_names, set(class_folders(folder))
        if absent := sorted(set(names) - present):
            self._warn_user(f"{folder}: no folder for {len(absent)} of the {len(names)} classes, such as {absent[0]!r}")
        if self._classes is None and (unknown := sorted(present - set(names))):
            raise UserError(f"{folder}: class {unknown[0]!r} is not among the {len(names)} of training")

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

    def left_out(self, split: str) -> tuple[tuple[str, str], ...]:
        """Path and reason of the source files that packing left out of a split."""
        return pick_split(self.manifest, split).skipped

    def fingerprint(self, splits: Sequence[str] = ("train", "val")) -> dict[str, Any]:
        """Number of images of each split, and SHA-256 of its file names, targets, class names and manifest checksum."""
        checksum = self.manifest.content["sha256"].encode()
        return {split: _fingerprint(self.files(split), self.class_names, checksum) for split in splits}

    def _list(self, split: str) -> Files:
        if split == "predict":
            raise UserError(f"{self.root}: a packed store; dctnet predict reads photographs, dctnet validate a store")
        shards = pick_split(self.manifest, split).shards
        names, stored = self.class_names, self.manifest.classes
        if unknown := sorted(set(stored) - set(names)):
            raise UserError(f"{self.root}: class {unknown[0]!r} is not among the {len(names)} of training")
        target_of = [names.index(name) for name in stored]
        images = [(image["path"], target_of[image["target"]]) for s in shards for image in read_index(self.manifest, s)]
        if left_out := self.left_out(split):
            self._warn(printable(f"{self.root}: {len(left_out)} files of {split} were left out by packing"))
        return Files(tuple(path for path, _ in images), tuple(target for _, target in images))


def open_source(options: Mapping[str, Any], warn: Callable[[str], object]) -> PhotoSource | StoreSource:
    """The source in the ``root`` of the ``--data`` options.

    Raises:
        StoreError: The folder is a packed store that is incomplete or damaged.
    """
    if is_store(options["root"]):
        return StoreSource(options["root"], warn=warn)
    names = ("download", "classes", "val_fraction", "per_class")
    return PhotoSource(options["root"], **{name: options[name] for name in names}, warn=warn)


def _fingerprint(files: Files, class_names: Sequence[str], extra: bytes = b"") -> dict[str, Any]:
    digest = hashlib.sha256(json.dumps(list(class_names)).encode())
    for path, target in zip(files.paths, files.targets, strict=True):
        digest.update(json.dumps(["/".join(Path(path).parts[-2:]), target]).encode())
    digest.update(extra)
    return {"images": len(files), "sha256": digest.hexdigest()}
