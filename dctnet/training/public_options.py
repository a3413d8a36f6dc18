"""The data options of a training as they are written into files that others read."""

from pathlib import Path
from typing import Any

from dctnet.data.download import imagenette_folder


def public_options(data: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    """Replaces the paths of this machine: of the data set its name is left, of files their content.

    Args:
        data: The data options of a checkpoint.
        model: Its model options.
    """
    root = imagenette_folder(data["root"]) if data.get("download") == "imagenette" else Path(data["root"])
    return {
        **data,
        "root": root.resolve().name or ".",
        "download": None,
        "channels": model["channels"] if model["input"] == "channels" else None,
        "classes": model["classes"] if data.get("classes") else None,
    }
