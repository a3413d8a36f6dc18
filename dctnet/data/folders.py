"""Image files in class folders: listing them, and choosing classes."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from dctnet.errors import UserError, did_you_mean, did_you_mean_path, first_line, no_folder
from dctnet.io.strict_yaml import parse_names

# File with the output of sha256sum, which is in the data set's folder and is not an image.
CHECKSUMS = "SHA256SUMS"


@dataclass(frozen=True)
class Files:
    """Image files of one split."""

    paths: tuple[str, ...]
    targets: tuple[int, ...]  # class index of each file, −1 if it has no label

    def __len__(self) -> int:
        return len(self.paths)


def class_folders(folder: Path) -> list[str]:
    """Names of the class folders, sorted, without hidden ones.

    Raises:
        UserError: The folder does not exist (the message names the nearest one), or has no class folders.
    """
    if not folder.is_dir():
        raise no_folder(folder)
    names = sorted(e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith("."))
    if not names:
        raise UserError(f"{folder}: no class folder in it; wanted one folder of images per class")
    return names


def list_files(folder: Path) -> list[str]:
    """All files below a folder, sorted, without hidden ones and those named ``SHA256SUMS``.

    Links to files are listed; links to folders are not followed. A folder that does not exist has no files.

    Raises:
        UserError: A folder cannot be listed.
    """
    found = []
    for parent, folders, names in os.walk(folder, onerror=_raise_listing_error):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [os.path.join(parent, name) for name in names if not name.startswith(".") and name != CHECKSUMS]
    return sorted(found)


def _raise_listing_error(error: OSError) -> None:
    # os.walk ignores errors by default. A missing folder is allowed: a split need not have every class.
    if not isinstance(error, FileNotFoundError):
        raise UserError(f"{error.filename}: cannot be listed: {first_line(error)}") from error


def list_classes(folder: Path, classes: Sequence[str]) -> Files:
    """The files of some classes in a folder, class by class. A class without a folder has no files."""
    found = [(path, target) for target, name in enumerate(classes) for path in list_files(folder / name)]
    return Files(tuple(path for path, _ in found), tuple(target for _, target in found))


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


def choose_classes(present: Sequence[str], wanted: str | Sequence[str] | None, folder: Path) -> list[str]:
    """The classes to use, of those present.

    Args:
        present: Names of the class folders.
        wanted: None for all; ``imagenette``, ``imagewoof`` or ``imagenet100``; a file with one name per line; or names.
        folder: Folder with the class folders, for the error message.

    Raises:
        UserError: The class list does not exist, or a class has no folder. Names the nearest one.
    """
    if wanted is None:
        return list(present)
    if isinstance(wanted, str):
        # The command line passes a list as text if YAML would read some of its names as values: [no, 1e3, 10].
        names = (parse_names(wanted) if wanted.startswith("[") else None) or _read_class_list(wanted)
    else:
        names = list(wanted)
    missing = [name for name in names if name not in set(present)]
    if missing:
        count = f"{len(missing)} of {len(names)} missing"
        raise UserError(f"{folder}: no class folder {missing[0]!r} ({count}).{did_you_mean(missing[0], present)}")
    return names


def _read_class_list(name: str) -> list[str]:
    subsets = json.loads(resources.files("dctnet.data").joinpath("imagenet_subsets.json").read_text())
    if name in subsets:
        return subsets[name]
    if not Path(name).is_file():
        hint = did_you_mean(name, subsets) or did_you_mean_path(name)
        raise UserError(f"no class list {name!r}.{hint} Known: {', '.join(subsets)}, or a file with one name per line.")
    try:
        names = [line.strip() for line in Path(name).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{name}: wanted class names, one per line: {first_line(error)}") from error
    if not names or len(set(names)) < len(names):
        raise UserError(f"{name}: wanted distinct class names, one per line; got {len(names)} lines")
    return names
