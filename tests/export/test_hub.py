"""Folders in the layout of the Hugging Face Hub."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import dctnet
from dctnet.errors import UserError
from tests.commands import CKPT

pytest.importorskip("huggingface_hub")
from dctnet.export.hub import Pretrained

pytestmark = pytest.mark.usefixtures("small_backbones")


def test_a_saved_folder_is_loaded_with_the_same_weights(gated_run, tmp_path, monkeypatch):
    monkeypatch.chdir(gated_run)
    Pretrained(CKPT).save_pretrained(tmp_path / "hub")
    again = Pretrained.from_pretrained(str(tmp_path / "hub")).network
    own = dctnet.load(CKPT)
    assert (again.classes, again.channels.indices) == (own.classes, own.channels.indices)
    assert all(torch.equal(own.state_dict()[name], tensor) for name, tensor in again.state_dict().items())
    photo = "photos/val/red/0.jpg"
    assert torch.equal(again(again.preprocess(photo)), own(own.preprocess(photo)))


def test_pushing_uploads_the_saved_folder(gated_run, monkeypatch):
    uploaded = {}

    class Hub:
        def __init__(self, **options):
            uploaded["token"] = options["token"]

        def create_repo(self, repo_id, **options):
            return SimpleNamespace(repo_id=repo_id)

        def upload_folder(self, *, repo_id, folder_path, **options):
            uploaded[repo_id] = {path.name: path.read_bytes() for path in Path(folder_path).iterdir()}

    monkeypatch.chdir(gated_run)
    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Hub)
    Pretrained(CKPT).push_to_hub("me/clothing", token="secret")
    assert uploaded["token"] == "secret"
    Pretrained(CKPT).save_pretrained("saved")
    assert uploaded["me/clothing"] == {path.name: path.read_bytes() for path in Path("saved").iterdir()}


def test_the_card_says_what_is_known_and_an_existing_one_stays(gated_run, tmp_path, monkeypatch):
    monkeypatch.chdir(gated_run)
    Pretrained(CKPT).save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert all(word in card for word in ("resnet18", "blue, green, red", "64 × 64", "static"))
    (tmp_path / "README.md").write_text("mine")
    Pretrained(CKPT).save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no model\.safetensors"):
        Pretrained.from_pretrained(str(tmp_path))
