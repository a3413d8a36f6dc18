"""Checkpoints are written atomically; a failed save is an error and keeps the previous one."""

import errno
import os

import pytest
import torch

from dctnet.errors import UserError
from dctnet.io import atomic
from dctnet.training.checkpointing import AtomicCheckpointIO

CHECKPOINT = {"state_dict": {"weight": torch.arange(1000.0)}}


def read(path):
    return torch.load(path, weights_only=True)["state_dict"]["weight"]


def test_saved_checkpoint_is_read_back_and_leaves_no_other_file(tmp_path):
    AtomicCheckpointIO().save_checkpoint(CHECKPOINT, tmp_path / "new" / "last.ckpt")
    assert torch.equal(read(tmp_path / "new" / "last.ckpt"), torch.arange(1000.0))
    assert os.listdir(tmp_path / "new") == ["last.ckpt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
def test_failed_save_is_an_error_and_keeps_the_previous_checkpoint(tmp_path, monkeypatch, number, step):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(CHECKPOINT, path)

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    if step == "open":
        monkeypatch.setattr(atomic, "open", fail, raising=False)
    elif step == "fsync":
        monkeypatch.setattr(atomic.os, "fsync", fail)
    else:
        monkeypatch.setattr(atomic.Path, "replace", fail)
    with pytest.raises(UserError, match="could not be saved: .*; the previous one is intact") as error:
        AtomicCheckpointIO().save_checkpoint({"state_dict": {"weight": torch.zeros(5)}}, path)
    assert os.strerror(number) in str(error.value)
    assert str(error.value).startswith(str(path))
    assert torch.equal(read(path), torch.arange(1000.0))
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_disk_that_fills_up_while_torch_writes_is_an_error(tmp_path, monkeypatch):
    class Full:
        """A file on a disk with 2,000 bytes left."""

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

    monkeypatch.setattr(atomic, "open", lambda *a, **k: Full(open(*a, **k)), raising=False)
    with pytest.raises(UserError, match="could not be saved: .*; there is no previous one"):
        AtomicCheckpointIO().save_checkpoint(CHECKPOINT, tmp_path / "last.ckpt")
    assert os.listdir(tmp_path) == []
