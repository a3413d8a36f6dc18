"""Data sets that can be had by name."""

import shutil
from pathlib import Path

from torchvision.datasets import Imagenette

from dctnet.data.folders import whole_folder
from dctnet.data.planted import make_planted
from dctnet.errors import UserError, first_line


def fetch(name: str, root: Path) -> Path:
    """Downloads or generates a data set unless it is there.

    Args:
        name: ``imagenette`` (1.5 GB, by torchvision, checksummed) or ``planted`` (generated in seconds).
        root: The folder to put it in.

    Returns:
        The folder that holds ``train`` and ``val``.

    Raises:
        UserError: It could not be had.
    """
    if name == "planted":
        return make_planted(root)
    folder = downloaded(root)
    if not folder.is_dir():
        with whole_folder(folder) as unfinished:
            try:
                Imagenette(unfinished, "train", "full", download=True)
            except (OSError, RuntimeError) as error:
                raise UserError(f"imagenette could not be downloaded to {root}: {first_line(error)}") from error
            # torchvision unpacks into a folder of its own and leaves the archive beside it.
            for split in ("train", "val"):
                (unfinished / folder.name / split).rename(unfinished / split)
            shutil.rmtree(unfinished / folder.name)
            (unfinished / "imagenette2.tgz").unlink()
    return folder


def downloaded(root: str | Path) -> Path:
    """Where ``imagenette`` lies that was downloaded into a folder."""
    return Path(root, "imagenette2")
