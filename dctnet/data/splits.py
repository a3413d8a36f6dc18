"""Splits of a data set: split folders, validation files held out by a hash, a cap on files per class."""

import bisect
import hashlib
import heapq
import itertools
import os
import re
from collections.abc import Iterable, Sequence
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
    ranks, held = _hash_ranks(files.paths, root), bytearray(len(files))
    for members in _places_by_class(files):
        ranked = sorted(members, key=ranks.__getitem__)
        count = bisect.bisect_left(ranked, fraction, key=ranks.__getitem__)
        if len(ranked) > 1:
            count = min(max(count, 1), len(ranked) - 1)
        for place in ranked[:count]:
            held[place] = 1
    return _select(files, [not each for each in held]), _select(files, held)


def cap_per_class(files: Files, root: Path, count: int) -> Files:
    """At most ``count`` files of each class: those with the lowest path hashes."""
    ranks, kept = _hash_ranks(files.paths, root), bytearray(len(files))
    for members in _places_by_class(files):
        for place in heapq.nsmallest(count, members, key=ranks.__getitem__):
            kept[place] = 1
    return _select(files, kept)


def _hash_ranks(paths: Sequence[str], root: Path) -> list[float]:
    """A number in 0…1 for each path, from a hash of the path relative to the root, with slashes."""
    prefix, sha256, number = "" if root == Path() else os.path.join(root, ""), hashlib.sha256, int.from_bytes
    ranks = []
    for path in paths:
        # A path object for each of a million paths takes ten times as long as its hash.
        relative = path[len(prefix) :] if path.startswith(prefix) else str(Path(path).relative_to(root))
        name = relative.replace(os.sep, "/").encode("utf-8", "surrogateescape")
        ranks.append(number(sha256(name).digest()[:8], "big") / 2**64)
    return ranks


def _places_by_class(files: Files) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for place, target in enumerate(files.targets):
        groups.setdefault(target, []).append(place)
    return [groups[target] for target in sorted(groups)]


def _select(files: Files, chosen: Iterable[object]) -> Files:
    """The files for which ``chosen`` is true."""
    chosen = list(chosen)
    return Files(tuple(itertools.compress(files.paths, chosen)), tuple(itertools.compress(files.targets, chosen)))
