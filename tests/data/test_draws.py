"""Random numbers of samples, against a slow SplitMix64 in Python's integers."""

import numpy as np

from dctnet.data.draws import uniform

_MASK = (1 << 64) - 1


def split_mix(state: int):
    while True:
        state = (state + 0x9E3779B97F4A7C15) & _MASK
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        yield z ^ (z >> 31)


def test_the_slow_generator_has_the_published_outputs():
    outputs = split_mix(1234567)
    assert [next(outputs) for _ in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_samples_have_consecutive_outputs_of_the_generator_of_the_epoch():
    seed = np.random.SeedSequence((7, 3), spawn_key=(1,)).generate_state(1, np.uint64)[0]
    outputs = split_mix(int(seed))
    expected = [next(outputs) / 2**64 for _ in range(50)]
    found = uniform(7, 3, np.arange(10), 5)
    assert found.dtype == np.float32
    assert np.abs(found.ravel() - expected).max() < 2**-23


def test_a_sample_depends_neither_on_its_batch_nor_on_its_place():
    whole, some = uniform(0, 1, np.arange(100), 3), np.array([99, 5, 42])
    assert np.array_equal(uniform(0, 1, some, 3), whole[some])
    assert not np.isclose(uniform(0, 2, some, 3), whole[some]).any()
    assert not np.isclose(uniform(1, 1, some, 3), whole[some]).any()


def test_numbers_are_uniform_and_uncorrelated():
    found = uniform(0, 0, np.arange(20_000), 4)
    assert found.min() >= 0
    assert found.max() < 1
    assert np.abs(np.sort(found, 0) - np.linspace(0, 1, 20_000)[:, None]).max() < 0.02
    columns = np.concatenate([found[:-1], found[1:]], 1)  # of a sample and of the next
    assert np.abs(np.corrcoef(columns, rowvar=False) - np.eye(8)).max() < 0.03


def test_indices_of_the_last_epoch_do_not_overflow():
    assert uniform(0, 2**31 - 1, np.array([2**40]), 200).shape == (1, 200)
