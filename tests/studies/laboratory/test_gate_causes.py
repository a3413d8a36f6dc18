"""Gate causes: arms change what they say and nothing else; masks and verdict follow planted causes."""

import os
import signal

import numpy as np
import pytest
import torch

from dctnet.studies.laboratory.gate_causes import command
from dctnet.studies.laboratory.gate_causes.arms import ARM_OF, ARMS, Arm, as_it_is, deviations
from dctnet.studies.laboratory.gate_causes.causes import (
    CAUSES,
    _partial,
    collect,
    identical,
    low_kept,
    partial_correlations,
)
from dctnet.studies.laboratory.gate_causes.data import (
    INDICES,
    KEEP,
    LOW,
    NUM_CHANNELS,
    RHO,
    SIDE,
    ChannelData,
    Split,
    from_photographs,
    generate,
)
from dctnet.studies.laboratory.gate_causes.training import (
    build_network,
    fit_scale,
    forward,
    probe_accuracy,
    smoothness,
    train_gate,
)
from dctnet.studies.laboratory.gate_causes.verdict import verdict
from tests import commands
from tests.commands import fails, read_csv
from tests.conftest import make_photos

STEPS = 6


@pytest.fixture(scope="module")
def data():
    whole = generate(0)
    few = [Split(split.channels[::4], split.targets[::4]) for split in (whole.train, whole.val)]
    return ChannelData(*few, whole.classes)


def changed(data, name):
    return ARM_OF[name].change(data, torch.Generator().manual_seed(0))


def short(data, arm, seed=0, steps=STEPS):
    return train_gate(data, arm, seed, lambda: None, steps)


def test_low_are_the_lower_half_of_the_frequencies():
    assert LOW.sum() == KEEP == NUM_CHANNELS / 2
    assert RHO[LOW].max() <= RHO[~LOW].min()
    assert list(INDICES) == sorted(set(INDICES))


def test_powers_of_two_of_energy_give_identical_masks(data):
    """With a scale a channel; with a common one they do not."""
    octaves = torch.tensor([2.0**power for power in range(-12, 12)])[:, None, None]
    louder = data.with_channels(data.train.channels * octaves, data.val.channels * octaves)
    natural, loud = short(data, ARM_OF["natural"]), short(louder, ARM_OF["natural"])
    assert torch.equal(natural.keep_probability, loud.keep_probability)
    assert natural.accuracy == loud.accuracy
    common = [short(each, ARM_OF["common_scale"]).keep_probability for each in (data, louder)]
    assert not torch.equal(*common)
    equal = short(changed(data, "equal_energy"), ARM_OF["equal_energy"])
    assert torch.equal(natural.keep_probability, equal.keep_probability)


def test_a_permuted_input_is_the_same_training_up_to_rounding(data):
    natural, permuted = short(data, ARM_OF["natural"]), short(data, ARM_OF["permuted"])
    torch.testing.assert_close(permuted.keep_probability, natural.keep_probability, atol=1e-3, rtol=0)
    # Permuted without its gate noise, it is another training.
    torch.manual_seed(0)
    other = short(data.with_channels(data.train.channels.flip(1), data.val.channels.flip(1)), ARM_OF["natural"])
    assert (other.keep_probability.flip(0) - natural.keep_probability).abs().max() > 1e-3


def test_the_forward_pass_is_that_of_the_network(data):
    torch.manual_seed(0)
    network = build_network(data.classes, SIDE)
    fit_scale(network, data.train.channels, ARM_OF["natural"])
    channels, order = data.train.channels[:8], torch.arange(NUM_CHANNELS)
    for training in (True, False):
        network.train(training)
        torch.manual_seed(1)
        expected = network.forward_gated(channels)
        torch.manual_seed(1)
        assert all(map(torch.equal, forward(network, channels, order, training), expected))


def test_equal_energy_is_equal_within_an_octave(data):
    found = deviations(changed(data, "equal_energy"))
    assert float(found.max() / found.min()) <= 2
    for name, factor in (("low_loud", 16), ("low_quiet", 1 / 16)):
        expected = torch.where(LOW, factor, 1.0).double()
        torch.testing.assert_close(deviations(changed(data, name)), expected, rtol=1e-5, atol=0)


def test_exchanged_maps_keep_energy_and_smoothness_but_lose_information():
    data = generate(1)
    mixed = changed(data, "less_informative")
    torch.testing.assert_close(deviations(mixed), deviations(data))
    torch.testing.assert_close(smoothness(mixed.train.channels), smoothness(data.train.channels))
    assert torch.equal(mixed.train.channels[:, ~LOW], data.train.channels[:, ~LOW])
    before, after = (probe_accuracy(each.train, each.val, each.classes) for each in (data, mixed))
    assert torch.equal(before[~LOW], after[~LOW])
    assert after[LOW].mean() < before[LOW].mean() - 0.02


def test_shuffled_blocks_are_the_same_blocks_in_another_arrangement(data):
    shuffled = changed(data, "shuffled").train.channels
    before, after = data.train.channels.flatten(2), shuffled.flatten(2)
    torch.testing.assert_close(before.sort(2).values, after.sort(2).values)
    # Alike in all channels: a block keeps its 24 values.
    one = {tuple(block) for block in before[0].T.tolist()}
    assert {tuple(block) for block in after[0].T.tolist()} == one
    assert smoothness(data.train.channels).max() > 0.3
    # Without order, neighbours have the correlation −1 / (n − 1) of values around their own mean.
    torch.testing.assert_close(smoothness(shuffled), torch.full((24,), -1 / 35).double(), atol=0.05, rtol=0)


def test_information_of_generated_data_does_not_depend_on_energy_and_smoothness():
    """A probe sees the signal of a channel, which is drawn independently of its frequency."""
    found = []
    for seed in range(4):
        data = generate(seed)
        found.append(probe_accuracy(data.train, data.val, data.classes))
    low, high = (torch.stack(found)[:, which].mean() for which in (LOW, ~LOW))
    assert float(torch.stack(found).min()) > 1 / 8 - 0.03
    assert abs(float(low - high)) < 0.02


def planted_rows(cause, seeds=6, noise=0.3):
    """Rows whose keep probability follows one cause; the other causes vary independently."""
    rows = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        values = {name: rng.normal(size=NUM_CHANNELS) for name in CAUSES} | {"rho": RHO.numpy()}
        keep = values[cause] * (-1 if cause == "rho" else 1)
        keep = keep / keep.std() + noise * rng.normal(size=NUM_CHANNELS)
        for arm in ARMS:
            for place in range(NUM_CHANNELS):
                own = {name: float(value[place]) for name, value in values.items()}
                probability = float(1 / (1 + np.exp(-keep[place])))
                rows.append(
                    {"arm": arm.name, "seed": seed, "channel": INDICES[place], "low": int(LOW[place]), "accuracy": 0.5}
                    | own
                    | {"keep_probability": probability}
                )
    return rows


@pytest.mark.parametrize("cause", list(CAUSES))
def test_the_verdict_names_a_planted_cause(cause):
    runs = collect(planted_rows(cause))
    found = partial_correlations(runs, "natural")
    assert [name for name, interval in found.items() if interval.excludes(0)] == [cause]
    answer = verdict(runs)[0]
    assert f"goes with {CAUSES[cause]}" in answer
    assert ("low frequencies by themselves are still preferred" in answer) == (cause == "rho")


def test_a_cause_that_acts_through_another_is_not_named():
    """Energy follows information, and only information decides."""
    rows = planted_rows("probe_accuracy", seeds=8)
    rng = np.random.default_rng(1)
    for row in rows:
        row["log_energy"] = row["probe_accuracy"] + rng.normal()
    found = partial_correlations(collect(rows), "natural")
    assert found["probe_accuracy"].excludes(0)
    assert not found["log_energy"].excludes(0)


def test_partial_correlations_are_those_of_residuals():
    ranks = np.random.default_rng(0).normal(size=(3, 5, 24)).cumsum(1)
    ranks -= ranks.mean(2, keepdims=True)
    table = ranks.transpose(1, 0, 2).reshape(5, -1)
    table = table - table.mean(1, keepdims=True)
    for cause in range(1, 5):
        others = np.delete(table, [0, cause], 0).T
        x, y = (each - others @ np.linalg.lstsq(others, each, rcond=None)[0] for each in (table[0], table[cause]))
        assert _partial(ranks)[cause - 1] == pytest.approx(x @ y / np.sqrt((x @ x) * (y @ y)))


def test_few_seeds_have_no_verdict():
    (paragraph,) = verdict(collect(planted_rows("rho", seeds=3)))
    assert "3 seeds an arm: too few for a verdict" in paragraph


def test_low_kept_counts_the_most_probable():
    run = {"keep_probability": np.where(LOW.numpy(), 0.9, 0.1), "low": LOW.numpy().astype(float)}
    assert low_kept(run) == KEEP
    assert low_kept({**run, "keep_probability": 1 - run["keep_probability"]}) == 0


@pytest.fixture
def fast(monkeypatch, data):
    """Two arms, few images and steps."""
    arms = (ARM_OF["natural"], ARM_OF["equal_energy"])
    monkeypatch.setattr(command, "ARMS", arms)
    monkeypatch.setattr("dctnet.studies.laboratory.gate_causes.data.generate", lambda seed: data)
    monkeypatch.setattr(command, "write_gate_causes", lambda study: "page")
    real = command.train_gate
    monkeypatch.setattr(command, "train_gate", lambda *args: real(*args, 3))


def test_a_stopped_study_goes_on_and_can_be_continued_with_more_seeds(fast, tmp_path, monkeypatch):
    out, trained = tmp_path / "out", []
    assert commands.run("lab", "gate-causes", "--seeds", 2, "--out", tmp_path / "whole") == 0
    quick = command.train_gate

    def watch(data, arm, seed, check_stop):
        def stop_in_the_third():
            if len(trained) == 3 and not (out / "stopped").exists():
                (out / "stopped").touch()
                os.kill(os.getpid(), signal.SIGTERM)
            check_stop()

        trained.append((arm.name, seed))
        return quick(data, arm, seed, stop_in_the_third)

    monkeypatch.setattr(command, "train_gate", watch)
    run = ("lab", "gate-causes", "--out", out)
    assert commands.run(*run, "--seeds", 2) == 75
    assert len(read_csv(out / "rows.csv")) == 2 * NUM_CHANNELS
    assert commands.run(*run, "--seeds", 2) == 0
    assert trained[2:] == [("natural", 1), ("natural", 1), ("equal_energy", 1)]
    assert (out / "rows.csv").read_bytes() == (tmp_path / "whole" / "rows.csv").read_bytes()
    assert commands.run(*run, "--seeds", 3) == 0
    assert len(read_csv(out / "rows.csv")) == 6 * NUM_CHANNELS
    assert identical(collect_of(out), "equal_energy") == (3, 3)


def collect_of(out):
    return collect(read_csv(out / "rows.csv"))


@pytest.mark.slow
def test_the_whole_command_writes_its_page(tmp_path, monkeypatch, data):
    monkeypatch.setattr("dctnet.studies.laboratory.gate_causes.data.generate", lambda seed: data)
    real = command.train_gate
    monkeypatch.setattr(command, "train_gate", lambda *args: real(*args, 2))
    assert commands.run("lab", "gate-causes", "--seeds", 4, "--out", tmp_path / "out") == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Energy compaction is not the cause" in page
    assert "partial_correlations" in page


def test_photographs_are_read_as_channels(tmp_path):
    make_photos(tmp_path / "photos", 5, 3)
    data = from_photographs(str(tmp_path / "photos"), 8)
    assert data.train.channels.shape == (8, NUM_CHANNELS, SIDE, SIDE)
    assert data.train.targets.bincount().tolist() in ([3, 3, 2], [3, 2, 3], [2, 3, 3])
    assert len(data.val) == 2
    assert data.classes == 3
    trained = short(data, Arm("natural", "", "", as_it_is), steps=2)
    assert trained.keep_probability.shape == (NUM_CHANNELS,)


def test_wrong_options_are_one_line(tmp_path, capsys):
    assert "--seeds must be at least 1" in fails(capsys, "lab", "gate-causes", "--seeds", 0, "--out", tmp_path / "o")
    line = fails(capsys, "lab", "gate-causes", "--data.root", tmp_path / "nowhere", "--out", tmp_path / "o")
    assert "no such folder" in line
    assert not (tmp_path / "o").exists()
