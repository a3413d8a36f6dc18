"""Writes checkpoints atomically, and keeps the best one across resumptions."""

import shutil
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from dctnet.errors import UserError, first_line
from dctnet.io.atomic import atomic_open
from dctnet.training import checkpoint

BEST, LAST = "best.ckpt", "last.ckpt"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its final path, syncs it, and renames it.

    Lightning writes to the folder for temporary files first. If that is another file system, the last step is a copy,
    and a process killed during the copy destroys the previous checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Saves; the previous file is replaced only by a complete one.

        Raises:
            UserError: The checkpoint cannot be written. Gives path and reason.
        """
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_open(path, suffix="partial") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:  # RuntimeError: torch's zip writer
            before = "the previous one is intact" if path.exists() else "there is no previous one"
            raise UserError(f"{path}: the checkpoint could not be saved: {_reason(error)}; {before}") from error


def _reason(error: BaseException) -> str:
    """The system's error behind torch's, which reports only that the archive is incomplete."""
    chain: BaseException | None = error
    while chain is not None and not isinstance(chain, OSError):
        chain = chain.__context__
    return first_line(error) if chain is None else str(chain.strerror or chain)


def best_and_last(folder: Path) -> list[ModelCheckpoint]:
    """Callbacks that write ``best.ckpt`` and ``last.ckpt`` into a run's folder."""
    # Two callbacks: a single one with save_last=True writes last.ckpt only when the best improves.
    last = LastCheckpoint(folder, Path(LAST).stem, save_on_train_epoch_end=True, enable_version_counter=False)
    return [BestCheckpoint(folder), last]


class LastCheckpoint(ModelCheckpoint):
    """Keeps the last checkpoint. A class of its own, so that a user can add a ModelCheckpoint with any options."""


class BestCheckpoint(ModelCheckpoint):
    """Keeps the checkpoint with the highest ``val_acc1``; a resumed training starts with the best of the previous run.

    Lightning's own callback forgets the best checkpoint when a training resumes in another folder.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, Path(BEST).stem, monitor="val_acc1", mode="max", enable_version_counter=False)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Keeps the trainer, because :meth:`load_state_dict` needs the path of the resumed checkpoint."""
        super().setup(trainer, pl_module, stage)
        self._trainer = trainer

    def _score_of(self, path: Path) -> Tensor | None:
        if not path.is_file():
            return None
        return checkpoint.read(path).get("callbacks", {}).get(self.state_key, {}).get("best_model_score")

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the best score, and copies the file that lies beside the resumed checkpoint."""
        score = state_dict.get("best_model_score")
        if not isinstance(score, Tensor) or score.numel() != 1:  # not validated yet
            return
        # The path in the state is not used: a checkpoint is untrusted input.
        before, now = Path(str(self._trainer.ckpt_path)).with_name(BEST), Path(str(self.dirpath), BEST)
        if self._score_of(before) != score:
            rank_zero_warn(f"{before} is missing or has another score; {BEST} is the best validation from here on")
            return
        if self._trainer.is_global_zero:
            with open(before, "rb") as source, atomic_open(now, suffix="partial") as target:
                shutil.copyfileobj(source, target)
        self.best_model_score = self.kth_value = score
        self.best_model_path = self.kth_best_model_path = str(now)
        self.best_k_models = {str(now): score}
