"""Folders of class folders: which files belong to which split and class."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from dctnet.errors import UserError, did_you_mean, did_you_mean_path, first_line, no_folder

# The file of checksums that ``dctnet manifest`` writes into a data set; not one of its files, wherever it lies.
CHECKSUMS = "SHA256SUMS"


@dataclass(frozen=True)
class Files:
    """Image files of one split.

    Args:
        paths: The files.
        targets: The class index of each, −1 where there is no label.
    """

    paths: tuple[str, ...]
    targets: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.paths)


def class_folders(folder: Path) -> list[str]:
    """Names of the class folders, sorted; hidden ones do not count.

    Raises:
        UserError: The folder does not exist (gives the nearest sibling), or holds no folder.
    """
    if not folder.is_dir():
        raise no_folder(folder)
    names = sorted(e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith("."))
    if not names:
        raise UserError(f"{folder}: holds no class folder; wanted one folder of images a class")
    return names


def list_files(folder: Path, follow: bool = False) -> list[str]:
    """All files below a folder, sorted; hidden ones and those named ``SHA256SUMS`` do not count.

    Args:
        folder: The folder.
        follow: Whether to go into links to folders that lie in it.

    Raises:
        UserError: A folder cannot be listed, or a link leads back to a folder on the way to it, or to what holds one.
    """
    found = []
    for parent, folders, names in os.walk(folder, onerror=_refuse_unlisted, followlinks=follow):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if follow:
            _refuse_cycles(folder, Path(parent), folders)
        found += [os.path.join(parent, name) for name in names if not name.startswith(".") and name != CHECKSUMS]
    return sorted(found)


def _refuse_unlisted(error: OSError) -> None:
    # What os.walk would otherwise leave out without a word, but for class folders that need not be there.
    if not isinstance(error, FileNotFoundError):
        raise UserError(f"{error.filename}: cannot be listed: {first_line(error)}") from error


def _refuse_cycles(top: Path, parent: Path, folders: list[str]) -> None:
    for link in (parent / name for name in folders if os.path.islink(parent / name)):
        # By the way that was taken, not by where the parent lies: two links may lead to each other's folders.
        below = parent.relative_to(top)
        target, way = os.path.realpath(link), (top / folder for folder in (below, *below.parents))
        if any(Path(os.path.realpath(folder)).is_relative_to(target) for folder in way):
            raise UserError(f"{link}: a link to {target}, which holds it; remove the link")


def list_classes(folder: Path, classes: Sequence[str]) -> Files:
    """The files of some classes.

    Args:
        folder: Holds the class folders.
        classes: Their names; a file's target is the place of its class here. One without a folder has no files.
    """
    paths: list[str] = []
    targets: list[int] = []
    for target, name in enumerate(classes):
        found = list_files(folder / name)
        paths += found
        targets += [target] * len(found)
    return Files(tuple(paths), tuple(targets))


def list_unlabelled(root: Path) -> Files:
    """A single file, or all files below a folder; targets are −1.

    Raises:
        UserError: The path does not exist (the message names the nearest one), or the folder has no files.
    """
    if not root.is_file() and not root.is_dir():
        raise no_folder(root)
    paths = [str(root)] if root.is_file() else list_files(root)
    if not paths:
        raise UserError(f"{root}: no file in it")
    return Files(tuple(paths), (-1,) * len(paths))


def choose_classes(present: Sequence[str], wanted: str | Sequence[str] | None, where: Path) -> list[str]:
    """The classes to use out of those present.

    Args:
        present: Names of the class folders.
        wanted: None for all; ``imagenette``, ``imagewoof``, ``imagenet100``; a file with one name a line; or the names.
        where: The folder they were found in, for the message.

    Raises:
        UserError: The list does not exist, or a class has no folder. Gives the nearest name.
    """
    if wanted is None:
        return list(present)
    names = _read_class_list(wanted) if isinstance(wanted, str) else list(wanted)
    missing = [name for name in names if name not in set(present)]
    if missing:
        count = f"{len(missing)} of {len(names)} missing"
        raise UserError(f"{where}: no class folder {missing[0]!r} ({count}).{did_you_mean(missing[0], present)}")
    return names


def _read_class_list(spec: str) -> list[str]:
    subsets = json.loads(resources.files("dctnet.data").joinpath("imagenet_subsets.json").read_text())
    if spec in subsets:
        return subsets[spec]
    if not Path(spec).is_file():
        hint = did_you_mean(spec, subsets) or did_you_mean_path(spec)
        raise UserError(f"no class list {spec!r}.{hint} Known: {', '.join(subsets)}, or a file with one name a line.")
    try:
        names = [line.strip() for line in Path(spec).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{spec}: wanted class names, one a line: {first_line(error)}") from error
    if not names or len(set(names)) < len(names):
        raise UserError(f"{spec}: wanted a file of distinct class names, one a line; got {len(names)} lines")
    return names
