"""The evaluation images, the same for all runs of a folder."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from dctnet.data.datamodule import FrequencyDataModule, Split
from dctnet.errors import UserError

IMAGES = "images.csv"
_ENCODING = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}


def list_images(data: FrequencyDataModule, splits: Sequence[Split]) -> list[list[str]]:
    """Split, class folder and file, class of every image of some splits, in the order in which they are evaluated."""
    listed = []
    for split in splits:
        files = data.files(split)
        for path, target in zip(files.paths, files.targets, strict=True):
            listed.append([split, "/".join(Path(path).parts[-2:]), data.class_names[target]])
    return listed


def same_images(path: Path, listed: list[list[str]]) -> None:
    """Writes the list, whole or not at all, unless there is one: then the images must be those.

    Raises:
        UserError: They are not. Names the first line that differs.
    """
    rows = [["split", "path", "class"], *listed]
    if not path.exists():
        partial = path.with_name(f".{path.name}.{os.getpid()}")  # several runs may end at once
        with open(partial, "w", **_ENCODING) as file:  # type: ignore[call-overload]
            csv.writer(file).writerows(rows)
        partial.rename(path)
        return
    with open(path, **_ENCODING) as file:  # type: ignore[call-overload]
        before = list(csv.reader(file))
    if (line := first_difference(before, rows)) is not None:
        raise UserError(
            f"{path}: the evaluation images changed, first at line {line + 1}; other images need another --out"
        )


def first_difference(one: Sequence[object], other: Sequence[object]) -> int | None:
    """The place of the first difference of two lists, the shorter one's end included; None if they are equal."""
    if one == other:
        return None
    different = (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(different, min(len(one), len(other)))
