"""The benchmark from the command line: real runs in processes of their own, a report, and mistakes in one line."""

import contextlib
import dataclasses
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import yaml

from dctnet.cli import main
from dctnet.studies.accuracy.progress import epochs_done
from dctnet.studies.rows import read_rows
from tests.commands import fails
from tests.conftest import make_photos

GRID = {
    "seeds": [0],
    "arms": [{"choose": "learned", "channels": [6]}, {"choose": "rgb_matched"}],
    "ranking": {"model": {"gate": "static", "keep": 6}},
    "data": {"image_size": 32, "batch_size": 6, "num_workers": 0},
    "model": {"backbone": "resnet18"},
    "trainer": {"max_epochs": 5, "accelerator": "cpu", "log_every_n_steps": 2},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with photographs, a grid and its results."""
    folder = tmp_path_factory.mktemp("benchmark")
    make_photos(folder / "photos", 8, 4)
    content = {**GRID, "data": {**GRID["data"], "root": str(folder / "photos")}}
    (folder / "grid.yaml").write_text(yaml.safe_dump(content))
    assert main(["benchmark", "--config", str(folder / "grid.yaml"), "--out", str(folder / "out")]) == 0
    return folder


def asked(made, *more, out="out"):
    return ["benchmark", "--config", made / "grid.yaml", "--out", made / out, *more]


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_rows_say_what_the_runs_came_to(made):
    learned, rgb = sorted(read_rows(made / "out" / "rows.csv"), key=lambda row: row.arm)
    assert (learned.images, len(learned.correct), learned.epochs) == (12, 12, 5)
    assert learned.top1 == learned.correct.count("1") / 12
    assert len(learned.indices.split()) == learned.channels == 6
    assert (learned.values, learned.bytes) == (6 * 16, 6 * 16)
    assert learned.gmac < rgb.gmac
    assert learned.seconds > 0
    assert learned.images_per_second > 0


def test_accuracy_is_that_of_validate(made, capsys):
    row = next(row for row in read_rows(made / "out" / "rows.csv") if row.arm == "learned-6")
    capsys.readouterr()
    assert main(["validate", "--ckpt_path", str(made / "out/runs/learned-6-s0/version_0/last.ckpt")]) == 0
    assert str(round(row.top1, 4))[:5] in capsys.readouterr().out


def test_it_ends_with_a_report(made):
    assert "learned-6" in (made / "out" / "report.html").read_text()


def test_a_second_call_makes_nothing_anew(made, capsys):
    before = contents(made / "out" / "runs")
    assert main([str(a) for a in asked(made)]) == 0
    assert contents(made / "out" / "runs") == before


def test_a_dry_run_lists_and_leaves_nothing(made, capsys):
    assert main([str(a) for a in asked(made, "--dry-run", out="nothing")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["run", "ranking-s0", "learned-6-s0", "rgb_matched-s0", "about"]
    assert not (made / "nothing").exists()
    assert main([str(a) for a in asked(made, "--dry-run")]) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()[1:4]] == ["done"] * 3


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--arms", "[{choose: sqare, channels: [6]}]"], ["sqare", "Did you mean 'square'?"]),
        (["--arms", "[{choose: square, chanels: [6]}]"], ["no option 'chanels'", "'channels'"]),
        (["--arms", "[{choose: energy, channels: [500]}]"], ["energy: 500 channels; there are 1 to 192"]),
        (["--arms", "[{choose: patches, model: {lrr: 1}}]"], ["arms, patches", "'lrr'", "Did you mean 'lr'?"]),
        (["--ranking.model", "{gaet: static}"], ["arms, ranking", "'gaet'", "Did you mean 'gate'?"]),
        (["--ranking.mask", "nowhere.json"], ["nowhere.json", "cannot be read"]),
        (["--arms", "[]"], ["--arms is empty"]),
        (["--model.bakbone", "resnet50"], ["model.bakbone", "Did you mean 'model.backbone'?"]),
        (["--data.image_size", "64"], ["data.image_size 32, now asked for 64; give another --out"]),
        (["--store", "nowhere"], ["nowhere/manifest.json: missing"]),
        (["--config", "nowhere.yaml"], ["nowhere.yaml"]),
    ],
)
def test_mistakes_are_told_in_one_line_and_nothing_is_written(made, capsys, more, words):
    before = contents(made / "out")
    line = fails(capsys, *asked(made, *more))
    for word in words:
        assert word in line
    assert contents(made / "out") == before


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [(b"learned-6,learned,6", b"learned-6,learned,six", "channels must be a whole number, got 'six'"),
     (b"arm,choose", b"arm,chose", "line 1: column 2 must be 'choose', got 'chose'")],
)  # fmt: skip
def test_damaged_rows_are_named_and_kept(made, capsys, old, new, words):
    rows = made / "out" / "rows.csv"
    whole = rows.read_bytes()
    damaged = whole.replace(old, new)
    assert damaged != whole
    rows.write_bytes(damaged)
    try:
        assert words in fails(capsys, *asked(made))
        assert rows.read_bytes() == damaged
    finally:
        rows.write_bytes(whole)


SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


def children_of(folder):
    """Command lines of processes that work in a folder."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            lines.append(path.read_bytes().decode())
    return [line for line in lines if str(folder) in line]


def sent(number, when):
    """Sends this process a signal as soon as something is so; a benchmark has its handlers by then."""

    def wait_and_send():
        end = time.monotonic() + 120
        while not when():
            assert time.monotonic() < end
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=wait_and_send, daemon=True).start()


def what_counts(path, arm):
    """The row of an arm, without what is measured by a clock."""
    row = next(row for row in read_rows(path) if row.arm == arm)
    return dataclasses.replace(row, seconds=0, images_per_second=0, finished="")


@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are looked up in /proc")
def test_stopped_by_every_signal_it_ends_with_the_row_of_one_that_was_not_stopped(made, capsys):
    out = made / "stopped"
    folder = out / "runs" / "rgb_matched-s0"
    command = [str(a) for a in asked(made, "--arms", "[{choose: rgb_matched}]", out="stopped")]
    before = [signal.getsignal(number) for number in SIGNALS]
    moments = {
        signal.SIGTERM: lambda: children_of(out),  # which imports torch, and cannot save yet
        signal.SIGUSR1: lambda: epochs_done(folder) >= 1,
        signal.SIGINT: lambda: any("benchmark.evaluate" in line for line in children_of(out)),
    }
    for number, when in moments.items():
        sent(number, when)
        assert main(command) == 75
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith(f"dctnet: stopped by {number.name} with 1 of 1 runs to go; to go on, give the same")
        assert not children_of(out)
        if number == signal.SIGUSR1:
            assert "stopped by SIGTERM after step" in (folder / "log.txt").read_text()
            assert epochs_done(folder) < GRID["trainer"]["max_epochs"]
    assert not {"rows.csv", "failures.csv"} & {path.name for path in out.iterdir()}
    assert main(command) == 0
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert what_counts(out / "rows.csv", "rgb_matched") == what_counts(made / "out" / "rows.csv", "rgb_matched")
