"""Splits of a data set: split folders, validation files held out by a hash, a cap on files per class."""

import hashlib
import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path

from dctnet.data.folders import Files
from dctnet.errors import UserError

# Names of each split's folder, in order of preference.
SPLITS = {"train": ("train",), "val": ("val", "validation"), "test": ("test",)}
# Names in lower case that mean a split if there is one for training and one for validation. One alone may be a class:
# photographs of trains, or of valid and invalid tickets.
_OTHERS = {"train": ("train", "training"), "val": ("val", "validation", "valid"), "test": ("test", "testing")}
_KNOWN = frozenset(itertools.chain.from_iterable(_OTHERS.values()))
_LIKE = re.compile(
    r"(?:.*[^a-z])?(train|val|test|dev|eval)(?:ing|id|idation|uation)?(?:set|data)?(?:[^a-z].*)?", re.IGNORECASE
)


def split_folder(root: Path, split: str) -> Path | None:
    """The folder of a split (``val/`` or ``validation/`` for ``val``), or None if the root has none.

    ``Train/``, ``training/``, ``Val/``, ``valid/`` and the like are splits if there is one for both.

    Raises:
        UserError: Two folders can be that of the split, such as ``val/`` and ``valid/``.
    """
    with os.scandir(root) as entries:
        folders = sorted(entry.name for entry in entries if entry.name.lower() in _KNOWN and entry.is_dir())
    found = {each: [name for name in folders if name.lower() in names] for each, names in _OTHERS.items()}
    if not (found["train"] and found["val"]):
        return next((root / name for name in SPLITS[split] if name in folders), None)
    if len(found[split]) > 1:
        raise UserError(f"{root}: {' and '.join(found[split])} can all be the folder of {split}; move all but one away")
    return root / found[split][0] if found[split] else None


def look_like_splits(names: Sequence[str]) -> bool:
    """Whether the names of all folders seem to mean splits: ``Train`` alone, or ``train_images`` and ``val_images``."""
    found = [_LIKE.fullmatch(name) for name in names]
    return all(found) and (len(names) == 1 or len({match[1].lower() for match in found if match}) > 1)


def hold_out(files: Files, root: Path, fraction: float) -> tuple[Files, Files]:
    """Splits files into training and validation files, class by class, by a hash of the path relative to the root.

    Adding files does not move other files between the splits. Exception: every class of at least two files has at least
    one file in each split, so in a class whose hashes put all files into one split, one file is moved.

    Returns:
        Training files and validation files.
    """
    held: set[int] = set()
    for members in _places_by_class(files):
        ranked = sorted(members, key=lambda i: _hash_rank(files.paths[i], root))
        count = sum(_hash_rank(files.paths[i], root) < fraction for i in ranked)
        if len(ranked) > 1:
            count = min(max(count, 1), len(ranked) - 1)
        held.update(ranked[:count])
    keep = [i for i in range(len(files)) if i not in held]
    return _select(files, keep), _select(files, sorted(held))


def cap_per_class(files: Files, root: Path, count: int) -> Files:
    """At most ``count`` files of each class: those with the lowest path hashes."""
    kept: list[int] = []
    for members in _places_by_class(files):
        kept += sorted(members, key=lambda i: _hash_rank(files.paths[i], root))[:count]
    return _select(files, sorted(kept))


def _hash_rank(path: str, root: Path) -> float:
    """A number in 0…1 from a hash of the relative path."""
    relative = Path(path).relative_to(root).as_posix()
    return int.from_bytes(hashlib.sha256(relative.encode("utf-8", "surrogateescape")).digest()[:8], "big") / 2**64


def _places_by_class(files: Files) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for place, target in enumerate(files.targets):
        groups.setdefault(target, []).append(place)
    return [groups[target] for target in sorted(groups)]


def _select(files: Files, places: Sequence[int]) -> Files:
    return Files(tuple(files.paths[i] for i in places), tuple(files.targets[i] for i in places))
