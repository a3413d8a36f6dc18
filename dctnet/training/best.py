"""``best.ckpt``, the best of all validations of a training, however often it was stopped."""

import shutil
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from dctnet.training import checkpoint

NAME = "best.ckpt"


class BestCheckpoint(ModelCheckpoint):
    """Keeps the checkpoint of the highest ``val_acc1``; a resumed training begins with that of the run it goes on from.

    Lightning's own forgets the best where a training goes on in another folder.

    Args:
        folder: Of the run.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder, NAME.removesuffix(".ckpt"), monitor="val_acc1", mode="max", enable_version_counter=False
        )

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Keeps the trainer, which will know what it resumes."""
        super().setup(trainer, pl_module, stage)
        self._trainer = trainer

    def _score_of(self, path: Path) -> Tensor | None:
        if not path.is_file():
            return None
        return checkpoint.read(path).get("callbacks", {}).get(self.state_key, {}).get("best_model_score")

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the best so far: its score, and a copy of the file, which lies beside the one that is resumed."""
        score = state_dict.get("best_model_score")
        if not isinstance(score, Tensor) or score.numel() != 1:  # nothing had been validated
            return
        # Not by the path in the state: that is whatever somebody wrote into a checkpoint.
        before, now = Path(str(self._trainer.ckpt_path)).with_name(NAME), Path(str(self.dirpath), NAME)
        if self._score_of(before) != score:
            rank_zero_warn(f"{before}: not there, or of another state; {NAME} will be the best from here on")
            return
        if self._trainer.is_global_zero:
            partial = now.with_name(f".{NAME}.partial")
            shutil.copyfile(before, partial)
            partial.replace(now)
        self.best_model_score = self.kth_value = score
        self.best_model_path = self.kth_best_model_path = str(now)
        self.best_k_models = {str(now): score}
