"""Data sets that can be had by name."""

from pathlib import Path

from torchvision.datasets import Imagenette

from dctnet.data.planted import make_planted
from dctnet.errors import UserError


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
    folder = root / "imagenette2"
    if not (folder / "train").is_dir():
        try:
            root.mkdir(parents=True, exist_ok=True)
            Imagenette(root, "train", "full", download=True)
        except (OSError, RuntimeError) as error:
            raise UserError(f"imagenette could not be downloaded to {root}: {error}") from error
    return folder
