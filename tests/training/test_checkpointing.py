"""Checkpoints are whole or not there, and a save that fails says so."""

import errno
import os

import pytest
import torch

from dctnet.errors import UserError
from dctnet.training import checkpointing
from dctnet.training.checkpointing import AtomicCheckpointIO

CHECKPOINT = {"state_dict": {"weight": torch.arange(1000.0)}}


def read(path):
    return torch.load(path, weights_only=True)["state_dict"]["weight"]


def test_what_is_saved_is_read_and_nothing_lies_beside_it(tmp_path):
    AtomicCheckpointIO().save_checkpoint(CHECKPOINT, tmp_path / "new" / "last.ckpt")
    assert torch.equal(read(tmp_path / "new" / "last.ckpt"), torch.arange(1000.0))
    assert os.listdir(tmp_path / "new") == ["last.ckpt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
def test_a_save_that_fails_is_loud_and_leaves_the_last_one(tmp_path, monkeypatch, number, step):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(CHECKPOINT, path)

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    if step == "open":
        monkeypatch.setattr(checkpointing, "open", fail, raising=False)
    elif step == "fsync":
        monkeypatch.setattr(checkpointing.os, "fsync", fail)
    else:
        monkeypatch.setattr(checkpointing.Path, "replace", fail)
    with pytest.raises(UserError, match="could not be saved: .*; the one that was there is whole") as error:
        AtomicCheckpointIO().save_checkpoint({"state_dict": {"weight": torch.zeros(5)}}, path)
    assert os.strerror(number) in str(error.value)
    assert str(error.value).startswith(str(path))
    assert torch.equal(read(path), torch.arange(1000.0))
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_a_disk_that_fills_while_torch_writes(tmp_path, monkeypatch):
    """A file that takes 2,000 bytes and no more, as a full disk has."""

    class Full:
        def __init__(self, file):
            self.file, self.left = file, 2000

        def write(self, data):
            self.left -= len(data)
            if self.left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self.file.write(data)

        def __getattr__(self, name):
            return getattr(self.file, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

    monkeypatch.setattr(checkpointing, "open", lambda *a, **k: Full(open(*a, **k)), raising=False)
    with pytest.raises(UserError, match="could not be saved: .*; there was none before"):
        AtomicCheckpointIO().save_checkpoint(CHECKPOINT, tmp_path / "last.ckpt")
    assert os.listdir(tmp_path) == []
