"""The benchmark from the command line: real jobs, a report, errors in one line, stop and resume."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from dctnet.studies.accuracy.provenance import epochs_done
from dctnet.studies.rows import read_rows
from tests.commands import fails, run
from tests.conftest import make_photos

pytestmark = pytest.mark.usefixtures("small_backbones")
GRID = {
    "seeds": [0],
    "arms": [{"choose": "learned", "channels": [6]}],
    "ranking": {"model": {"gate": "static", "keep": 6}},
    "data": {"image_size": 32, "batch_size": 6, "num_workers": 0},
    "model": {"backbone": "resnet18", "lr": 0.01},
    "trainer": {"max_epochs": 1, "accelerator": "cpu", "log_every_n_steps": 2},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, small_backbones):
    """A folder with ``photos``, ``grid.yaml`` and ``out``: the results of a benchmark; not to be changed."""
    folder = tmp_path_factory.mktemp("benchmark")
    make_photos(folder / "photos", 8, 4)
    content = {**GRID, "data": {**GRID["data"], "root": str(folder / "photos")}}
    (folder / "grid.yaml").write_text(yaml.safe_dump(content))
    assert run(*command(folder)) == 0
    return folder


def command(folder, *more, out="out"):
    return ["benchmark", "--config", folder / "grid.yaml", "--out", folder / out, *more]


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_row_has_the_results_of_the_trial(folder, capsys):
    (row,) = read_rows(folder / "out" / "rows.csv")
    assert (row.name, row.images, len(row.correct), row.epochs) == ("learned-6-s0", 12, 12, 1)
    assert len(row.indices.split()) == row.channels == 6
    assert (row.values, row.bytes) == (6 * 16, 6 * 16)
    assert row.gmac > 0
    assert row.seconds > 0
    assert row.images_per_second > 0
    capsys.readouterr()
    assert run("validate", "--ckpt_path", folder / "out/runs/learned-6-s0/version_0/last.ckpt") == 0
    assert str(round(row.top1, 4))[:5] in capsys.readouterr().out


def test_it_writes_a_report(folder):
    assert "learned-6" in (folder / "out" / "report.html").read_text()


def test_a_second_call_runs_nothing(folder):
    before = contents(folder / "out" / "runs")
    assert run(*command(folder)) == 0
    assert contents(folder / "out" / "runs") == before


def test_a_dry_run_lists_the_trials_and_writes_nothing(folder, capsys):
    arms = "[{choose: learned, channels: [6]}, {choose: rgb_matched}]"
    assert run(*command(folder, "--dry-run", "--arms", arms, out="new")) == 0
    printed = capsys.readouterr()
    names = [line.split()[0] for line in printed.out.splitlines()]
    assert names == ["trial", "ranking-s0", "learned-6-s0", "rgb_matched-s0", "about"]
    measured = [line for line in printed.err.splitlines() if line.startswith("measuring")]
    assert measured[-1] == f"measuring rgb_matched-s0, {len(measured)} of {len(measured)} kinds …"
    assert not (folder / "new").exists()
    assert run(*command(folder, "--dry-run")) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()[1:3]] == ["done"] * 2


def test_a_dry_run_estimates_the_time_of_a_frozen_network(folder, capsys):
    weights = folder / "out/runs/learned-6-s0/version_0/last.ckpt"
    frozen = f"[{{choose: rgb_same_pixels, channels: [], model: {{freeze: backbone, weights: {weights}}}}}]"
    assert run(*command(folder, "--dry-run", "--arms", frozen, out="new")) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[0] == "rgb_same_pixels-s0"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--arms", "[{choose: sqare, channels: [6]}]"], ["sqare", "Did you mean 'square'?"]),
        (["--arms", "[{choose: square, chanels: [6]}]"], ["no option 'chanels'", "'channels'"]),
        (["--arms", "[{choose: energy, channels: [500]}]"], ["energy: 500 channels; give a number from 1 to 192"]),
        (["--arms", "[{choose: patchify, model: {lrr: 1}}]"], ["arms, patchify", "'lrr'", "Did you mean 'lr'?"]),
        (["--arms", "[{choose: patchify, data: {progresive: 1}}]"], ["arms, patchify", "Did you mean 'progressive'?"]),
        (["--ranking.model", "{gaet: static}"], ["arms, ranking", "'gaet'", "Did you mean 'gate'?"]),
        (["--ranking.mask", "nowhere.json"], ["nowhere.json", "cannot be read"]),
        (["--arms", "[]"], ["--arms is empty"]),
        (["--model.bakbone", "resnet50"], ["model.bakbone", "Did you mean 'model.backbone'?"]),
        (["--data.image_size", "64"], ["data.image_size 32, now 64; give another --out"]),
        (["--store", "nowhere"], ["nowhere/manifest.json: missing"]),
        (["--config", "nowhere.yaml"], ["nowhere.yaml"]),
        (["--jobs", "-1"], ["--jobs must be at least 0, got -1"]),
        (["--executor", "slrm"], ["--executor slrm", "local, ray, slurm", "Did you mean 'slurm'?"]),
        (["--executor", "ray"], ["--executor ray needs --address HOST:PORT"]),
        (["--address", "node:1"], ["--address node:1: of a Ray cluster, needs --executor ray"]),
        (["--executor", "slurm", "--address", "node:1"], ["--address node:1: of a Ray cluster, needs --executor ray"]),
        (["--slurm.partition", "gpu"], ["--slurm: resources of trainings on SLURM, needs --executor slurm"]),
        (["--executor", "slurm", "--slurm.gpus", "4"], ["--slurm.gpus must be 0 or 1", "got 4"]),
        (["--executor", "slurm", "--slurm.partitoin", "gpu"], ["Did you mean 'slurm.partition'?"]),
        (["--executor", "slurm", "--slurm.options", "{a: [1]}"], ["--slurm.options: a must be text", "got [1]"]),
        (["--executor", "slurm", "--slurm.options", "{a: false}"], ["--slurm.options: a must be text", "got False"]),
    ],
)
def test_an_invalid_option_is_one_line_and_nothing_is_written(folder, capsys, more, words):
    before = contents(folder / "out")
    line = fails(capsys, *command(folder, *more))
    for word in words:
        assert word in line
    assert contents(folder / "out") == before


def test_a_ray_cluster_that_does_not_answer_is_one_line_and_nothing_is_written(folder, capsys):
    pytest.importorskip("ray", reason="Ray is not installed")
    before = contents(folder / "out")
    line = fails(capsys, *command(folder, "--executor", "ray", "--address", "127.0.0.1:1"))
    assert "--address 127.0.0.1:1: no Ray cluster answers there" in line
    assert contents(folder / "out") == before


def test_damaged_rows_are_an_error_and_stay_unchanged(folder, capsys, tmp_path):
    rows = (folder / "out" / "rows.csv").read_bytes()
    damaged = rows.replace(b"learned-6,learned,6", b"learned-6,learned,six")
    assert damaged != rows
    (tmp_path / "rows.csv").write_bytes(damaged)
    line = fails(capsys, *command(folder, out=tmp_path))
    assert "channels must be a whole number, got 'six'" in line
    assert (tmp_path / "rows.csv").read_bytes() == damaged


def processes_of(folder):
    """Command lines of the processes that work in a folder."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            lines.append(path.read_bytes().decode())
    return [line for line in lines if str(folder) in line]


def send_when(number, condition):
    """Sends this process a signal as soon as a condition holds; the benchmark handles signals by then."""

    def wait_and_send():
        end = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=wait_and_send, daemon=True).start()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are looked up in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_to_the_group_of_two_trainings_saves_both_and_a_second_one_ends_them(folder, number):
    out = folder / f"group-{number.name}"
    arms = "[{choose: square, channels: [6]}, {choose: rgb_matched}]"
    more = ["--jobs", 2, "--arms", arms, "--trainer.max_epochs", 1000, "--data.num_workers", 1]
    call = [sys.executable, "-m", "dctnet", *map(str, command(folder, *more, out=out.name))]

    def start():
        before = set(out.glob("runs/*/version_*/last.ckpt"))
        process = subprocess.Popen(call, stderr=subprocess.PIPE, text=True, start_new_session=True)
        end = time.monotonic() + 120
        while sum(path not in before for path in out.glob("runs/*/version_*/last.ckpt")) < 2:
            assert time.monotonic() < end
            time.sleep(0.05)
        return process

    process = start()
    os.killpg(process.pid, number)
    assert (
        process.communicate(timeout=60)[1]
        .splitlines()[-1]
        .startswith(f"dctnet: stopped by {number.name} with 2 of 2 trials to go; to resume, repeat the same command")
    )
    assert process.returncode == 75
    logs = [path.read_text() for path in out.glob("runs/*/log.txt")]
    assert ["dctnet: stopped by " in log.splitlines()[-1] for log in logs] == [True] * 2
    process = start()  # resumes both
    os.killpg(process.pid, number)
    os.killpg(process.pid, next(other for other in (signal.SIGTERM, signal.SIGINT) if other != number))
    assert process.communicate(timeout=60)[1].splitlines()[-1].startswith("dctnet: ended by a second signal")
    assert process.returncode > 128
    assert not (out / "failures.csv").exists()
    end = time.monotonic() + 30
    while processes_of(out):
        assert time.monotonic() < end
        time.sleep(0.05)


def row_without_times(folder):
    (row,) = read_rows(folder / "rows.csv")
    return dataclasses.replace(row, seconds=0, images_per_second=0, finished="")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are looked up in /proc")
def test_a_benchmark_stopped_by_each_signal_ends_with_the_row_of_an_uninterrupted_one(folder, capsys):
    out = folder / "stopped"
    trial = out / "runs" / "rgb_matched-s0"
    options = "--arms", "[{choose: rgb_matched, channels: []}]", "--trainer.max_epochs", "100"
    signals = {
        signal.SIGTERM: lambda: processes_of(out),  # the fit imports torch and has no checkpoint yet
        signal.SIGUSR1: lambda: epochs_done(trial) >= 1,
        signal.SIGINT: lambda: any("accuracy.evaluate" in line for line in processes_of(out)),
    }
    handlers = [signal.getsignal(number) for number in signals]
    for number, condition in signals.items():
        send_when(number, condition)
        assert run(*command(folder, *options, out="stopped")) == 75
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith(f"dctnet: stopped by {number.name} with 1 of 1 trials to go; to resume, repeat the")
        assert not processes_of(out)
        if number == signal.SIGUSR1:
            assert "stopped by SIGUSR1 after step" in (trial / "log.txt").read_text()
            assert epochs_done(trial) < 100
    assert not {"rows.csv", "failures.csv"} & {path.name for path in out.iterdir()}
    assert run(*command(folder, *options, out="stopped")) == 0
    assert [signal.getsignal(number) for number in signals] == handlers
    assert run(*command(folder, *options, out="uninterrupted")) == 0
    assert row_without_times(out) == row_without_times(folder / "uninterrupted")
