"""Which photographs and classes each split of a data set has, as the options ask."""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from dctnet.data import folders
from dctnet.data.download import fetch
from dctnet.errors import UserError, no_folder, printable


class PhotoSource:
    """A root with a folder a split or without, each with a folder a class.

    Args:
        options: Of the :class:`FrequencyDataModule`: ``root``, ``download``, ``classes``, ``val_fraction`` and
            ``per_class``.
        warn: Tells the user a sentence.
    """

    def __init__(self, options: Mapping[str, Any], warn: Callable[[str], object]) -> None:
        self.options, self._warn = options, warn

    def warn(self, text: str) -> None:
        """Tells the user a sentence, in one line whatever the folders are called."""
        self._warn(printable(text))

    @cached_property
    def root(self) -> Path:
        """The folder that holds the splits, fetched first if ``download`` asks for it.

        Raises:
            UserError: There is no such folder. Gives the nearest.
        """
        root = Path(self.options["root"])
        if self.options["download"]:
            return fetch(self.options["download"], root)
        if not root.is_dir():
            raise no_folder(root)
        return root

    def classes(self) -> list[str]:
        """The names that are asked for, else those of the folders of the first split that is there.

        Raises:
            UserError: A class has no folder, or there is none at all.
        """
        present = (folders.split_folder(self.root, split) for split in folders.SPLITS)
        folder = next(filter(None, present), self.root)
        return folders.choose_classes(folders.class_folders(folder), self.options["classes"], folder)

    def list(self, split: str, classes: list[str]) -> folders.Files:
        """The files of a split.

        Args:
            split: ``train``, ``val`` or ``test``.
            classes: Their names, in the order of the targets.

        Raises:
            UserError: The root has no such split, a class of it is unknown, or it holds no file.
        """
        root, options = self.root, self.options
        folder = folders.split_folder(root, split)
        if folder is None:
            if split == "test" or any(folders.split_folder(root, s) for s in folders.SPLITS):
                raise UserError(f"{root}: no folder {' or '.join(folders.SPLITS[split])}/ in it")
            if not options["val_fraction"]:
                raise UserError(f"{root}: neither train/ nor val/ in it; to hold out a part, --data.val_fraction 0.1")
        elif options["val_fraction"]:
            self.warn(f"{root} has splits of its own: --data.val_fraction {options['val_fraction']} is not used")
        present = set(folders.class_folders(folder or root))
        if absent := sorted(set(classes) - present):
            self.warn(f"{folder or root}: no folder for {len(absent)} of the classes, such as {absent[0]!r}")
        if options["classes"] is None and (unknown := sorted(present - set(classes))):
            raise UserError(f"{folder}: class {unknown[0]!r} is not among the {len(classes)} of training")
        found = folders.list_classes(folder or root, classes)
        if folder is None:
            found = folders.hold_out(found, root, options["val_fraction"])[split == "val"]
        if split == "train" and options["per_class"]:
            found = folders.cap_per_class(found, root, options["per_class"])
        if not found.paths:
            raise UserError(f"{folder or root}: no image in any of the {len(classes)} class folders")
        return found
