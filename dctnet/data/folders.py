"""Image files in class folders: listing them, and choosing classes."""

import collections
import contextlib
import dataclasses
import functools
import itertools
import json
import os
import re
import sys
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from dctnet.data.ignored import MARKER, in_question, is_ignored, is_note, is_own_folder, is_result, own_files
from dctnet.errors import OTHER_FORM, UserError, did_you_mean, did_you_mean_path, first_line, no_folder
from dctnet.io.files import is_broken_link
from dctnet.io.strict_yaml import parse_names


@dataclass(frozen=True)
class Files:
    """Image files of one split."""

    paths: Sequence[str]
    targets: Sequence[int]  # class index of each file, −1 if it has no label
    linked: bool = False  # whether links were followed
    repeated: tuple[str, ...] = ()  # links that were not followed, because what they lead to is listed already

    def __len__(self) -> int:
        return len(self.paths)


def class_folders(folder: Path, known: Collection[str] = ()) -> list[str]:
    """Names of the class folders, sorted, without folders that are never images; broken links are among them.

    Args:
        folder: The folder with the class folders.
        known: Names of classes, whose folders are not searched for results of trainings.

    Raises:
        UserError: The folder does not exist (the message names the nearest one), or has no class folders; or two names
            differ only in their Unicode form.
    """
    if not folder.is_dir():
        raise no_folder(folder)
    with _scan(str(folder)) as entries:
        found = [e for e in entries if not is_ignored(e.name) and (_is_folder(e) or is_broken_link(e.path))]
    checked = [e for e in found if e.name not in known and not is_broken_link(e.path)]
    results = {e.name for e in checked if _has_only_results(e.path)}
    names = sorted(entry.name for entry in found if entry.name not in results)
    if not names:
        raise UserError(f"{folder}: no class folder in it; wanted one folder of images per class")
    forms: dict[str, str] = {}
    for name in names:
        if forms.setdefault(unicodedata.normalize("NFC", name), name) != name:
            raise UserError(f"{folder}: two class folders {name!r} with {OTHER_FORM}; merge them into one")
    return names


def other_folders(folder: Path, names: Collection[str]) -> list[str]:
    """Names of the folders that are none of the classes ``names``, sorted, without hidden ones."""
    with _scan(str(folder)) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(".") and _is_folder(entry)]
    return sorted(entry.name for entry in visible if entry.name not in names)


def _has_only_results(folder: str) -> bool:
    """Whether trainings wrote a folder, or all that is in it, such as ``checkpoints/``."""
    if is_own_folder(folder):
        return True
    inner, found = [], False
    with _scan(folder) as entries:
        for entry in entries:
            if is_result(entry.name):
                found = True
            elif entry.is_dir(follow_symlinks=False) and not is_ignored(entry.name):
                inner.append(entry.path)
            elif not is_ignored(entry.name) and not is_note(entry.name):
                return False
    is_new_run = re.fullmatch(r"version_\d+", os.path.basename(folder))
    return bool(found or inner or is_new_run) and all(map(_has_only_results, inner))


def list_files(folder: Path) -> list[str]:
    """The paths of :func:`list_tree`."""
    return list(list_tree(folder).paths)


def list_tree(folder: Path) -> Files:
    """All files below a folder, sorted, without labels and without what is never an image.

    Links are followed. What several paths lead to is listed once, by the path without links if there is one; a link to
    a folder around it is not followed. A broken link is listed, so that reading it is an error. A folder that does not
    exist has no files.

    Raises:
        UserError: A folder cannot be listed, or is a broken link.
    """
    tree = _Tree(str(folder))
    paths = tree.without_repetitions() if tree.linked else tree.paths
    return Files(tuple(sorted(paths)), (-1,) * len(paths), tree.linked, tuple(sorted(tree.repeated)))


class _Tree:
    """The files below a folder: first those in real folders, then what the links between them lead to."""

    def __init__(self, root: str) -> None:
        self.root, self.real = root, os.path.realpath(root)
        self.paths: list[str] = []
        self.repeated: list[str] = []
        self.linked = False
        self._folders: set[str] = set()  # real paths
        self._links: list[tuple[str, tuple[str, ...]]] = []  # to folders, each with the real folders that lead to it
        self._list(root, self.real, (self.real,))
        while self._links:
            links, self._links = sorted(self._links), []
            for path, around in links:
                self._follow(path, around)

    def _follow(self, path: str, around: tuple[str, ...]) -> None:
        real = os.path.realpath(path)
        if real in self._folders or any(Path(inner).is_relative_to(real) for inner in around):
            self.repeated.append(path)
        else:
            self._list(path, real, (*around, real))

    def _list(self, path: str, real: str, around: tuple[str, ...]) -> None:
        waiting = [(path, real)]
        while waiting:
            path, real = waiting.pop()
            if real in self._folders:
                continue
            self._folders.add(real)
            files, folders, links, marked = self._scan(path)
            doubtful = list(filter(in_question, files))
            may_be_own = marked or doubtful or all(map(is_note, files))
            if may_be_own and path != self.root and _has_only_results(path):
                continue
            own = own_files(doubtful)
            self.paths += [each for each in files if each not in own] if own else files
            self._links += [(each, around) for each in links]
            waiting += [(each, os.path.join(real, os.path.basename(each))) for each in folders]

    def _scan(self, path: str) -> tuple[list[str], list[str], list[str], bool]:
        """Files, folders, links to folders, and whether dctnet marked the folder."""
        files: list[str] = []
        folders: list[str] = []
        links: list[str] = []
        marked = False
        with _scan(path) as entries:
            for entry in entries:
                if is_ignored(entry.name):
                    marked |= entry.name == MARKER
                elif entry.is_symlink():
                    self.linked = True
                    (links if _is_folder(entry) else files).append(entry.path)
                else:
                    (folders if entry.is_dir() else files).append(entry.path)
        return files, folders, links, marked

    def without_repetitions(self) -> list[str]:
        """The paths, one for each real file; adds the others to ``repeated``."""
        reals = paths_of_one_file(self.paths)
        kept: dict[str, str] = {}
        for path in sorted(reals, key=lambda path: (reals[path] != self.real + path[len(self.root) :], path)):
            if kept.setdefault(reals[path], path) != path:
                self.repeated.append(path)
        repeated = set(self.repeated)
        return [path for path in self.paths if path not in repeated]


def paths_of_one_file(paths: Sequence[str]) -> dict[str, str]:
    """The real path of each path that leads to the same file as another one; some file systems add paths of others."""
    keys = list(map(_file_key, paths))
    counts = collections.Counter(keys)
    doubtful = [path for path, key in zip(paths, keys, strict=True) if key is not None and counts[key] > 1]
    return dict(zip(doubtful, real_paths(doubtful), strict=True))


def _file_key(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:  # a broken link
        return None
    return status.st_dev, status.st_ino


def real_paths(paths: Iterable[str]) -> Iterator[str]:
    """Yields each path without links; a broken link stands for itself."""
    real_folder = functools.cache(os.path.realpath)
    for path in paths:
        folder, name = os.path.split(path)
        if os.path.islink(path) and os.path.exists(path):
            # Faster than realpath() of each path, for folders full of links.
            folder, name = os.path.split(os.path.join(real_folder(folder), os.readlink(path)))
            if name in ("", ".", "..") or os.path.islink(os.path.join(folder, name)):
                folder, name = os.path.split(os.path.realpath(path))
        yield os.path.join(real_folder(folder), name)


def _scan(folder: str) -> Any:
    try:
        return os.scandir(folder)
    except OSError as error:
        if is_broken_link(folder):
            raise UserError(f"{folder}: a broken link to {os.readlink(folder)}") from error
        if isinstance(error, FileNotFoundError):  # allowed: a split need not have every class
            return contextlib.nullcontext(())
        raise UserError(f"{folder}: cannot be listed: {first_line(error)}") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link to itself
        return False


def list_classes(folder: Path, classes: Sequence[str]) -> Files:
    """The files of some classes in a folder, class by class. A class without a folder has no files."""
    trees = [list_tree(folder / name) for name in classes]
    return Files(
        tuple(itertools.chain.from_iterable(tree.paths for tree in trees)),
        tuple(target for target, tree in enumerate(trees) for _ in tree.paths),
        any(tree.linked for tree in trees) or any(os.path.islink(folder / name) for name in classes),
        tuple(itertools.chain.from_iterable(tree.repeated for tree in trees)),
    )


def list_unlabelled(root: Path, leave_out: Path | None = None) -> Files:
    """A single file, or all files below a folder but one; targets are −1.

    Raises:
        UserError: The path does not exist (the message names the nearest one), or the folder has no files.
    """
    if root.is_file():
        return Files((str(root),), (-1,))
    if not root.is_dir():
        raise no_folder(root)
    found = list_tree(root)
    if leave_out is not None:
        paths = tuple(p for p in found.paths if not p.endswith(leave_out.name) or Path(p).resolve() != leave_out)
        found = dataclasses.replace(found, paths=paths, targets=(-1,) * len(paths))
    if not found.paths:
        raise UserError(f"{root}: no file in it that could be an image")
    return found


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


if __name__ == "__main__":  # the files below the working directory, for other programs: python -m dctnet.data.folders
    sys.stdout.buffer.write(b"".join(os.fsencode(path) + b"\0" for path in list_files(Path("."))))
