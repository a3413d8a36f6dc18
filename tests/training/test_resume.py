"""A training that is stopped and resumed is the training that was not: the same samples, weights and measures."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dctnet.cli import main
from dctnet.training.preemption import StopOnSignal
from tests.conftest import make_photos
from tests.stress.stop_resume import outcome, same

# 12 images in batches of 4: three steps an epoch and, after every second one, three batches of validation.
CONFIG = {
    "data": {"image_size": 32, "batch_size": 4, "num_workers": 0},
    "model": {"backbone": "mobilenet_v2", "lr": 0.02},  # it has dropout, which draws as well
    "trainer": {
        "max_epochs": 4, "accelerator": "cpu", "enable_progress_bar": False, "log_every_n_steps": 1,
        "check_val_every_n_epoch": 2, "num_sanity_val_steps": 0,
    },
}  # fmt: skip
GATED = ("--data.channels", "zigzag-6", "--model.gate", "dynamic", "--model.keep", "3")
FEEDS = {
    "loader": GATED,
    "workers": (*GATED, "--data.num_workers", "2"),
    "rgb": ("--model.input", "rgb", "--data.num_workers", "1"),
    "packed": ("--data.root", "store", *GATED),
    "accumulated": (*GATED, "--trainer.accumulate_grad_batches", "2", "--model.lr", "0.002"),
    "validated by steps": (*GATED, "--trainer.check_val_every_n_epoch", "null", "--trainer.val_check_interval", "5"),
}
EVERYWHERE = [("loader", "train", n) for n in range(12)] + [("loader", "validation", n) for n in range(6)]
ELSEWHERE = [(feed, what, n) for feed in list(FEEDS)[1:] for what, n in (("train", 3), ("train", 7), ("validation", 1))]


class Watched(StopOnSignal):
    """Notes the samples that are trained on, and sends itself a signal in a certain batch."""

    def __init__(self, signals, at=None, number=signal.SIGTERM):
        super().__init__(signals)
        self.at, self.number, self.seen, self.count = at, number, [], {"train": 0, "validation": 0}

    def _pass(self, what):
        if self.at == (what, self.count[what]):
            os.kill(os.getpid(), self.number)
        self.count[what] += 1

    def on_train_epoch_start(self, trainer, pl_module):
        last = Path(trainer.log_dir, "last.ckpt")
        if trainer.current_epoch == 2 and last.exists():
            shutil.copy(last, last.with_name("epoch.ckpt"))

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen.append(batch["index"].tolist())
        self._pass("train")

    def on_validation_batch_start(self, *_, **__):
        self._pass("validation")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    make_photos(folder / "photos", 4, 4)
    content = {**CONFIG, "data": {**CONFIG["data"], "root": str(folder / "photos")}}
    (folder / "c.yaml").write_text(yaml.safe_dump(content))
    assert main(["pack", str(folder / "photos"), str(folder / "store"), "--data.image_size", "32"]) == 0
    return folder


@pytest.fixture
def fit(folder, monkeypatch):
    """Runs a fit under a name; returns its status and what was watched."""

    def run(name, *more, at=None, number=signal.SIGTERM):
        made = []

        def watch(signals):
            made.append(Watched(signals, at, number))
            return made[-1]

        monkeypatch.setattr("dctnet.cli.fit.StopOnSignal", watch)
        more = [folder / each if each == "store" else each for each in more]
        arguments = ("fit", "--config", folder / "c.yaml", "--out_dir", folder, "--name", name, *more)
        return main([str(each) for each in arguments]), made[-1]

    return run


@pytest.fixture(scope="module")
def seen():
    """The samples of the trainings that were not stopped, by feed."""
    return {}


@pytest.fixture
def whole(fit, seen):
    """The samples that a training that is not stopped sees, by its feed; it is run once."""

    def run(feed):
        if feed not in seen:
            status, watched = fit(feed, *FEEDS[feed])
            assert (status, watched.count["train"]) == (0, 12)
            seen[feed] = watched.seen
        return seen[feed]

    return run


@pytest.mark.parametrize(("feed", "what", "number"), EVERYWHERE + ELSEWHERE)
def test_stopped_anywhere_and_resumed_it_ends_with_the_same_bits(folder, fit, whole, feed, what, number, capsys):
    samples = whole(feed)
    name = f"{feed}-{what}-{number}"
    status, first = fit(name, *FEEDS[feed], at=(what, number))
    last = folder / name / "version_0" / "last.ckpt"
    assert status == 75
    assert f"to go on: --ckpt_path {last}" in capsys.readouterr().err
    status, second = fit(name, *FEEDS[feed], "--ckpt_path", last)
    assert status == 0
    assert first.seen + second.seen == samples
    assert same(outcome(folder / name), outcome(folder / feed))


@pytest.mark.parametrize("feed", ["loader", "workers", "packed"])
def test_resumed_between_two_epochs_it_ends_with_the_same_bits(folder, fit, whole, feed):
    samples = whole(feed)
    status, watched = fit(f"{feed}-epoch", *FEEDS[feed], "--ckpt_path", folder / feed / "version_0" / "epoch.ckpt")
    assert (status, watched.seen) == (0, samples[6:])
    *learned, validations = outcome(folder / f"{feed}-epoch")
    *learned_whole, validations_whole = outcome(folder / feed)
    assert same(learned, learned_whole)
    assert validations == validations_whole[1:]


def test_files_left_out_before_a_stop_are_remembered_behind_it(fit, folder, tmp_path):
    shutil.copytree(folder / "photos", tmp_path / "photos")
    bad = tmp_path / "photos" / "train" / "red" / "1.jpg"
    bad.write_bytes(b"no image")
    options = (*GATED, "--data.root", tmp_path / "photos", "--data.norm_images", 1, "--model.backbone", "resnet18")
    options += ("--data.on_error", "skip", "--data.max_bad_fraction", "null")
    assert fit("bad", *options, at=("train", 1))[0] == 75
    assert fit("bad", *options, "--ckpt_path", folder / "bad" / "version_0" / "last.ckpt")[0] == 0
    for table in (folder / "bad").glob("version_*/skipped.csv"):
        assert table.read_text().splitlines()[1].startswith(f"{bad},")
    assert len(list((folder / "bad").glob("version_*/skipped.csv"))) == len(list((folder / "bad").iterdir()))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
def test_other_verbs_end_on_a_signal_as_programs_do(fit, folder, number, status):
    assert fit("other", *GATED, "--trainer.max_epochs", "1", "--model.lr", "0.002")[0] == 0
    program = f"""
import os, signal, sys
from dctnet.cli import main
from dctnet.training.callbacks import SkippedFiles
signal.signal(signal.SIGINT, signal.default_int_handler)
SkippedFiles.on_validation_batch_start = lambda *_: os.kill(os.getpid(), {number:d})
sys.exit(main(["validate", "--ckpt_path", {str(folder / "other" / "version_0" / "last.ckpt")!r}]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == status, done.stderr[-500:]


def test_second_signal_ends_at_once():
    program = """
import os, signal, time
from dctnet.training.preemption import Signals
with Signals() as signals:
    for number in (signal.SIGUSR1, signal.SIGTERM):
        print(signals.came, flush=True)
        os.kill(os.getpid(), number)
    time.sleep(60)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, f"None\n{signal.SIGUSR1:d}\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_other_signals_stop_too(fit, number, capsys):
    before = signal.getsignal(number)
    assert fit(number.name, at=("train", 4), number=number)[0] == 75
    assert f"dctnet: stopped by {number.name} after step 5; " in capsys.readouterr().err
    assert signal.getsignal(number) == before
