"""Networks in the folders and repositories of the Hugging Face Hub.

Pretrained("last.ckpt").push_to_hub("me/clothing") uploads one; Pretrained.from_pretrained("me/clothing").network is it.
"""

from pathlib import Path
from typing import Any, Self

from huggingface_hub import ModelHubMixin, hf_hub_download

from dctnet import __version__
from dctnet.errors import UserError
from dctnet.export.card import write_card
from dctnet.io.atomic import atomic_write
from dctnet.training.checkpoint import load, read
from dctnet.training.safetensors_file import write_safetensors

WEIGHTS = "model.safetensors"


class Pretrained(ModelHubMixin, library_name="dctnet", tags=["image-classification", "frequency-domain"]):
    """A trained network with what is known of it.

    ``save_pretrained(folder)`` and ``push_to_hub(repository)`` write ``model.safetensors`` and a model card;
    ``from_pretrained(folder or repository)`` reads them.

    Args:
        path: A checkpoint of ``dctnet fit``, or a safetensors file of ``dctnet export``.

    Attributes:
        network: The network, as from ``dctnet.load``.

    Raises:
        UserError: The file cannot be read.
    """

    def __init__(self, path: str) -> None:
        self._content = read(path)
        self.network = load(path)

    def _save_pretrained(self, save_directory: Path) -> None:
        write_safetensors(save_directory / WEIGHTS, self._content)
        card = save_directory / "README.md"
        if not card.exists():  # a card that its author has completed stays
            atomic_write(card, write_card(self.network, self._content, __version__).encode(errors="replace"))

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> Self:
        folder = Path(model_id)
        if folder.is_dir():
            if not (folder / WEIGHTS).is_file():
                raise UserError(f"{folder}: no {WEIGHTS} in it; dctnet export CKPT --out {folder}/{WEIGHTS} writes it")
            return cls(str(folder / WEIGHTS))
        keys = ("revision", "cache_dir", "force_download", "local_files_only", "token")
        return cls(hf_hub_download(model_id, WEIGHTS, **{key: options[key] for key in keys if key in options}))
