"""Data sets that can be had by name."""

import shutil
import tarfile
from pathlib import Path

from torchvision.datasets import Imagenette
from torchvision.datasets.utils import download_url

from dctnet.data.planted import make_planted
from dctnet.errors import UserError, first_line
from dctnet.io.atomic import atomic_folder

# Imagenette has 13,394 files and takes 1.6 GB unpacked.
_MOST_MEMBERS, _MOST_BYTES = 50_000, 5 * 10**9


def fetch(name: str, root: Path) -> Path:
    """Downloads or generates a data set unless it is there.

    Args:
        name: ``imagenette`` (1.5 GB, from where torchvision names it, checksummed) or ``planted`` (generated in
            seconds).
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
        url, md5 = Imagenette._ARCHIVES["full"]
        with atomic_folder(folder) as unfinished:
            archive = unfinished / "imagenette2.tgz"
            try:
                download_url(url, unfinished, archive.name, md5)
                _unpack(archive, unfinished)
                archive.unlink()
                for split in ("train", "val"):
                    (unfinished / folder.name / split).rename(unfinished / split)
            except (OSError, RuntimeError, EOFError, tarfile.TarError) as error:
                raise UserError(f"imagenette could not be downloaded to {root}: {first_line(error)}") from error
            shutil.rmtree(unfinished / folder.name)
    return folder


def downloaded(root: str | Path) -> Path:
    """Where ``imagenette`` lies that was downloaded into a folder."""
    return Path(root, "imagenette2")


def _unpack(archive: Path, folder: Path) -> None:
    """Unpacks files and folders that stay within a folder; refuses an archive that has anything else.

    Raises:
        TarError: It has, or it is larger than it can be.
    """
    members = size = 0
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            members, size = members + 1, size + member.size
            if members > _MOST_MEMBERS or size > _MOST_BYTES:
                raise tarfile.TarError(f"more than {_MOST_MEMBERS:,} files or {_MOST_BYTES:,} bytes in it")
            if not (member.isreg() or member.isdir()):
                raise tarfile.TarError(f"{member.name[:80]!r} in it is no file and no folder")
            tar.extract(member, folder, filter="data")  # refuses paths that lead elsewhere
