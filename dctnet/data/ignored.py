"""What is never an image: the files of systems and editors, and what dctnet wrote itself."""

import os
from collections.abc import Iterable
from pathlib import Path

from dctnet.io.files import open_regular

# An empty file in each folder that a run creates.
MARKER = ".dctnet"
# Hidden names; documents open in an office program; backups of editors; where Windows downloaded a file from, as WSL
# shows it; checkpoints, and TensorBoard's event files.
_STARTS = (".", "~$", "events.out.tfevents.")
_ENDS = ("~", ":Zone.Identifier", ".ckpt")
_RESULTS = ("lightning_logs", "hparams.yaml", "wandb", "mlruns", "mlflow.db")  # of Lightning and of loggers
_NOTES = (".md", ".txt", ".log", ".out", ".err", ".csv", ".json", ".yaml", ".yml", ".html", ".py", ".sh", ".zip")
_USUAL = (".jpg", ".jpeg", ".JPEG", ".JPG", ".png", ".webp")
# Compared without case. None is a word that could name a class.
_NAMES = {
    *("__macosx", "icon\r", "desktop db", "desktop df", "temporary items", "network trash folder", "resource.frk"),
    *("thevolumesettingsfolder", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin"),
    *("system volume information", "found.000", "lost+found", "aquota.user", "aquota.group"),
    *("@eadir", "@tmp", "@sharebin", "#recycle", "#snapshot", "@recycle", "@recently-snapshot"),  # of NAS boxes
    *("sha256sums", "picasa.ini", "zbthumbnail.info", "pspbrwse.jbf", "_svn", "_darcs", "__pycache__", *_RESULTS),
}
# Files by which folders of dctnet are recognised, also those of earlier versions, and what these files contain: runs,
# packed stores, benchmarks and their trials.
_SIGNS = {
    MARKER: b"",
    "config.yaml": b"pytorch_lightning==",
    "manifest.json": b'"dctnet',
    "plan.json": b'"dctnet',
    "grid.yaml": b"\nranking:",
    "fit.yaml": b"seed_everything:",
}
PREDICTIONS = ("path", "label", "probability", "top5")  # first row of a table of predictions
_MAX_HEAD = 1 << 20


def is_ignored(name: str) -> bool:
    """Whether a file or folder of this name is left out of every listing, at any depth."""
    if name.endswith(_USUAL) and name[0] not in ".~":  # a short way for nearly all names
        return False
    if name.startswith(_STARTS) or name.endswith(_ENDS) or name.casefold() in _NAMES:
        return True
    return name[0] == name[-1] == "#"  # autosave of Emacs


def is_result(name: str) -> bool:
    """Whether only a training writes a file or folder of this name."""
    return name.endswith(".ckpt") or name.startswith("events.out.tfevents.") or name in _RESULTS


def is_note(name: str) -> bool:
    """Whether a file of this name, beside the results of a training, is surely not a photograph."""
    return name.lower().endswith(_NOTES)


def is_own_folder(path: str) -> bool:
    """Whether dctnet wrote a folder: a run, a packed store or a benchmark. Folders of CVS count as well."""
    if os.path.basename(path) == "CVS":
        return os.path.isfile(os.path.join(path, "Entries"))
    return any(_contains(os.path.join(path, name), content) for name, content in _SIGNS.items())


def mark_as_own(folder: str | os.PathLike[str]) -> None:
    """Marks a new folder, so that it is never read as photographs."""
    Path(folder, MARKER).touch()


def in_question(path: str) -> bool:
    """Whether the name of a file allows that dctnet wrote it, or the folder that it is in."""
    return path.endswith((".csv", ".tsv", ".txt", ".json", ".yaml", "/Entries"))


def own_files(paths: Iterable[str]) -> set[str]:
    """Those files of a folder that dctnet wrote: tables of predictions, and JSON files with their pictures."""
    tables = {path for path in paths if path.endswith((".csv", ".tsv", ".txt")) and is_predictions(path)}
    described = {path for path in paths if path.endswith(".json") and _contains(path, b'"dctnet')}
    return tables | described | {f"{path.removesuffix('json')}png" for path in described}


def is_predictions(path: str) -> bool:
    """Whether a file is a table that ``dctnet predict`` wrote."""
    first = ",".join(PREDICTIONS).encode()
    return _contains(path, first, len(first))


def _contains(path: str, content: bytes, limit: int = _MAX_HEAD) -> bool:
    try:
        with open_regular(path) as file:
            return content in file.read(limit)
    except OSError:
        return False
