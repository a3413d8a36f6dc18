"""What is told when a process of the loader dies; that it can go on in an epoch is tests/test_resume.py's matter."""

import os
import signal

import pytest
from torch.utils.data import DataLoader, Dataset

from dctnet.data.sampler import translate_worker_errors
from dctnet.errors import UserError


class Deadly(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, place):
        os.kill(os.getpid(), signal.SIGKILL)


def test_death_of_a_loader_process_is_told_in_one_line():
    message = r"^a DataLoader worker has died: DataLoader worker .*\. If memory ran out .* from last\.ckpt$"
    with pytest.raises(UserError, match=message), translate_worker_errors():
        list(DataLoader(Deadly(), num_workers=1))


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="^shapes$"), translate_worker_errors():
        raise RuntimeError("shapes")
