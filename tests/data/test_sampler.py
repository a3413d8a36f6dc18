"""Order of samples, ranks, resuming within an epoch, and crashes of DataLoader workers."""

import multiprocessing
import os
import signal
import time
from collections import Counter

import pytest
from torch.utils.data import DataLoader, Dataset

from dctnet.data.sampler import BalancedSampler, EpochSampler, ResumableLoader, translate_worker_errors
from dctnet.errors import UserError
from dctnet.io import atomic
from dctnet.training.checkpointing import AtomicCheckpointIO


@pytest.mark.parametrize(("length", "world"), [(10, 1), (10, 3), (11, 2), (2, 4)])
def test_evaluation_yields_each_sample_once(length, world):
    samplers = [EpochSampler(length, None, False, 0, rank, world) for rank in range(world)]
    assert sorted(index for sampler in samplers for _, index in sampler) == list(range(length))
    assert all(len(sampler) == len(list(sampler)) for sampler in samplers)


@pytest.mark.parametrize(
    ("length", "batch", "world", "kept"), [(10, 4, 1, 8), (21, 4, 2, 16), (3, 4, 1, 3), (7, 4, 2, 6)]
)
def test_training_gives_every_rank_the_same_number_of_samples(length, batch, world, kept):
    ranks = [list(EpochSampler(length, batch, True, 0, rank, world)) for rank in range(world)]
    assert {len(samples) for samples in ranks} == {kept // world}
    assert len({index for samples in ranks for _, index in samples}) == kept


def test_each_epoch_has_its_own_order_and_its_number_in_the_keys():
    sampler = EpochSampler(50, 1, True, seed=3)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert {epoch for epoch, _ in second} == {1}
    assert [index for _, index in first] != [index for _, index in second]
    sampler.set_epoch(0)
    assert list(sampler) == first


def test_order_is_the_same_on_one_and_two_ranks():
    one = [index for _, index in EpochSampler(20, 1, True, 5)]
    two = [[index for _, index in EpochSampler(20, 1, True, 5, rank, 2)] for rank in range(2)]
    assert [index for pair in zip(*two, strict=True) for index in pair] == one


TARGETS = [0] * 70 + [1] * 11 + [4] * 4  # no sample of classes 2 and 3


def drawn(epoch: int, batch: int | None = None, rank: int = 0, world: int = 1) -> list[int]:
    """The indices of an epoch of a balanced sampler."""
    sampler = BalancedSampler(TARGETS, batch, 7, rank, world)
    sampler.set_epoch(epoch)
    indices = [index for each, index in sampler if each == epoch]
    assert len(indices) == len(sampler)
    return indices


@pytest.mark.parametrize("batch", [None, 8, 100])
def test_a_balanced_epoch_has_each_class_equally_often_and_so_each_image_of_a_class(batch):
    length = len(list(EpochSampler(85, batch, True, 0)))
    for epoch in range(5):
        images = [index % 85 for index in drawn(epoch, batch)]
        assert len(images) == length
        classes = Counter(TARGETS[image] for image in images)
        assert set(classes) == {0, 1, 4}
        assert max(classes.values()) - min(classes.values()) <= 1
        for target in (1, 4):  # smaller than their share
            times = [images.count(image) for image in range(85) if TARGETS[image] == target]
            assert max(times) - min(times) <= 1
            assert min(times) >= 1
        assert max(images.count(image) for image in range(70)) == 1


def test_repetitions_in_a_balanced_epoch_have_indices_of_their_own():
    indices = drawn(0)
    assert len(set(indices)) == len(indices)
    assert {index // 85 for index in indices if index % 85 >= 81} == set(range(7))  # 28 samples of 4 images, or 29


def test_balanced_epochs_show_other_parts_of_a_large_class_in_another_order():
    first, second = drawn(0), drawn(1)
    assert first != second
    assert {index for index in first if index < 70} != {index for index in second if index < 70}
    assert drawn(0) == first


def test_a_balanced_order_is_the_same_on_one_and_two_ranks():
    two = [drawn(2, 4, rank, 2) for rank in range(2)]
    assert [index for pair in zip(*two, strict=True) for index in pair] == drawn(2, 8)


def sampler_of(kind: type) -> EpochSampler:
    return EpochSampler(12, 2, True, seed=0) if kind is EpochSampler else BalancedSampler([0] * 10 + [1, 1], 2, 0)


def loader_of(kind: type, epoch: int) -> ResumableLoader:
    sampler = sampler_of(kind)
    sampler.set_epoch(epoch)
    return ResumableLoader({key: key for key in sampler}, batch_size=2, sampler=sampler, collate_fn=list)


@pytest.mark.parametrize("kind", [EpochSampler, BalancedSampler])
def test_loader_resumes_after_the_batches_trained_on(kind):
    loader, resumed = loader_of(kind, 3), loader_of(kind, 3)
    loader.trained = lambda: 4  # of the 6 batches read
    assert loader.state_dict() == {"epoch": 3, "batches": 4}
    resumed.load_state_dict(loader.state_dict())
    assert list(resumed) == list(loader)[4:]
    resumed.sampler.set_epoch(4)
    assert len(list(resumed.sampler)) == 12


class Faulty(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        raise RuntimeError("shapes")


class Deadly(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


def test_worker_crash_is_one_line():
    message = r"^a DataLoader worker has died: DataLoader worker .*\. If memory ran out .* from last\.ckpt$"
    with pytest.raises(UserError, match=message), translate_worker_errors():
        list(DataLoader(Deadly(), num_workers=1))


def killed(_=None):
    raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Killed. ")


@pytest.mark.parametrize(("sleep", "cause"), [(killed, "is killed by signal: Killed"), (id, "closed its connection")])
def test_a_lost_connection_to_a_worker_is_its_crash(monkeypatch, sleep, cause):
    ours, other = multiprocessing.Pipe()
    other.close()
    monkeypatch.setattr(time, "sleep", sleep)
    message = rf"^a DataLoader worker has died: DataLoader worker .*{cause}\. If memory ran out "
    with pytest.raises(UserError, match=message), translate_worker_errors():
        ours.recv()


def test_a_crash_that_interrupts_the_saving_of_a_checkpoint_is_not_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic.os, "fsync", killed)
    with pytest.raises(UserError, match="^a DataLoader worker has died: "), translate_worker_errors():
        AtomicCheckpointIO().save_checkpoint({}, tmp_path / "last.ckpt")


def test_other_errors_are_not_translated():
    with pytest.raises(ConnectionResetError), translate_worker_errors():
        raise ConnectionResetError
    with pytest.raises(RuntimeError, match="^shapes$"), translate_worker_errors():
        raise RuntimeError("shapes")
    with pytest.raises(RuntimeError, match="^Caught RuntimeError in DataLoader worker"), translate_worker_errors():
        list(DataLoader(Faulty(), num_workers=1))
