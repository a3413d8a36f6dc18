"""Checkpoints are written whole or not at all, and not in silence."""

import contextlib
import os
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from dctnet.errors import UserError, first_line


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, waits for the disk, and only then gives it its name.

    Lightning's own goes through the folder for temporary files; where that is another file system, the last step is a
    copy, and a kill in it leaves half a checkpoint under the name of the whole one that was there.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Saves; the file that was there stays until the new one is whole.

        Raises:
            UserError: It cannot be written. Gives path and reason.
        """
        path = Path(path)
        partial = path.with_name(f".{path.name}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(partial, "wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
            _wait_for_folder(path.parent)
        except (OSError, RuntimeError) as error:  # the latter of torch's own writer
            with contextlib.suppress(OSError):  # what kept it from being written may keep it from being removed
                partial.unlink(missing_ok=True)
            before = "the one that was there is whole" if path.exists() else "there was none before"
            raise UserError(f"{path}: the checkpoint could not be saved: {_cause(error)}; {before}") from error


def _wait_for_folder(folder: Path) -> None:
    """Waits until the new name is on the disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cause(error: BaseException) -> str:
    """What the system said, where torch's writer complains of the consequences alone."""
    chain: BaseException | None = error
    while chain is not None and not isinstance(chain, OSError):
        chain = chain.__context__
    return first_line(error) if chain is None else str(chain.strerror or chain)
