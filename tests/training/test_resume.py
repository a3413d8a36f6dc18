"""A fit that is stopped by a signal and resumed ends as if it had not been stopped: same samples, weights, metrics."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dctnet.training.preemption import StopOnSignal
from tests import commands
from tests.commands import read_csv
from tests.conftest import make_photos
from tests.stress.stop_resume import outcome, same

pytestmark = pytest.mark.usefixtures("small_backbones")
# 12 images in batches of 4: three steps an epoch and, after every second one, three batches of validation.
CONFIG = {
    "data": {"image_size": 32, "batch_size": 4, "num_workers": 0},
    "model": {"lr": 0.01},
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
    "augmented": (*GATED, "--data.augment", "randaugment,erasing", "--data.mixup", "0.5", "--data.cutmix", "1"),
    "sampler": ("--data.root", "unbalanced", "--data.sampler", "balanced", *GATED),
    "class weights": ("--data.root", "unbalanced", "--data.class_weights", "balanced", *GATED),
    "accumulated": (*GATED, "--trainer.accumulate_grad_batches", "2"),
    "progressive": (*GATED, "--data.num_workers", "2", "--data.progressive", "0.25,0.5,0.75,1"),
    "progressive RGB": ("--model.input", "rgb", "--data.num_workers", "1", "--data.progressive", "0.5,1"),
    "progressive store": ("--data.root", "store", *GATED, "--data.progressive", "0.25,0.5,0.75,1"),
    "averaged": (*GATED, "--model.ema", "0.9"),
    "lamb": (*GATED, "--model.optimizer", "lamb", "--model.layer_decay", "0.8"),
    "bf16": (*GATED, "--trainer.precision", "bf16-mixed"),
    "validated by steps": (*GATED, "--trainer.check_val_every_n_epoch", "null", "--trainer.val_check_interval", "5"),
}
EVERY_STOP = [("loader", "train", number) for number in range(12)] + [("loader", "validation", n) for n in range(6)]
EVERY_STOP += [(feed, *at) for feed in list(FEEDS)[1:] for at in (("train", 3), ("train", 7), ("validation", 1))]
# Within an epoch, at its end, and within a validation; the others are slow.
STOPS = {("loader", "train", 5), ("loader", "validation", 4), *((feed, "train", 7) for feed in FEEDS)}
STOPS |= {("averaged", "validation", 1)}


class Watch:
    """Records the samples of each training batch, and sends this process a signal in a certain batch."""

    def __init__(self, at, number):
        self.at, self.number, self.seen, self.count = at, number, [], {"train": 0, "validation": 0}

    def install(self, monkeypatch):
        """Adds hooks to the callback that every fit has."""
        for hook in ("on_train_epoch_start", "on_train_batch_start", "on_validation_batch_start"):
            method = getattr(self, hook)
            monkeypatch.setattr(StopOnSignal, hook, lambda _, *args, method=method: method(*args))

    def _count(self, what):
        if self.at == (what, self.count[what]):
            os.kill(os.getpid(), self.number)
        self.count[what] += 1

    def on_train_epoch_start(self, trainer, pl_module):
        last = Path(trainer.log_dir, "last.ckpt")
        if trainer.current_epoch == 2 and last.exists():
            shutil.copy(last, last.with_name("epoch.ckpt"))

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen.append(batch["index"].tolist())
        self._count("train")

    def on_validation_batch_start(self, *_):
        self._count("validation")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Has photographs, a packed store of them, and a recipe."""
    folder = tmp_path_factory.mktemp("resume")
    make_photos(folder / "photos", 4, 4)
    make_photos(folder / "unbalanced", 5, 4)
    for number in range(3):
        (folder / f"unbalanced/train/red/{number}.jpg").unlink()
    content = {**CONFIG, "data": {**CONFIG["data"], "root": str(folder / "photos")}}
    (folder / "c.yaml").write_text(yaml.safe_dump(content))
    assert commands.run("pack", folder / "photos", folder / "store", "--data.image_size", 32, "--workers", 1) == 0
    return folder


@pytest.fixture
def fit(folder, monkeypatch):
    """Runs a fit under a name; returns its status and what was watched."""

    def run(name, *options, at=None, number=signal.SIGTERM):
        watch = Watch(at, number)
        watch.install(monkeypatch)
        options = [folder / each if each in ("store", "unbalanced") else each for each in options]
        status = commands.run("fit", "--config", folder / "c.yaml", "--out_dir", folder, "--name", name, *options)
        return status, watch

    return run


@pytest.fixture(scope="module")
def samples_of():
    """The samples that a fit sees which is not stopped, by feed."""
    return {}


@pytest.fixture
def whole(fit, samples_of):
    """Runs a fit that is not stopped, once for each feed; returns the samples."""

    def run(feed):
        if feed not in samples_of:
            status, watch = fit(feed, *FEEDS[feed])
            assert (status, watch.count["train"]) == (0, 12)
            samples_of[feed] = watch.seen
        return samples_of[feed]

    return run


@pytest.mark.parametrize(
    ("feed", "what", "number"),
    [stop if stop in STOPS else pytest.param(*stop, marks=pytest.mark.slow) for stop in EVERY_STOP],
)
def test_stopped_anywhere_and_resumed_a_fit_ends_with_the_same_bits(folder, fit, whole, feed, what, number, capsys):
    samples = whole(feed)
    name = f"{feed}-{what}-{number}"
    status, first = fit(name, *FEEDS[feed], at=(what, number))
    last = folder / name / "version_0" / "last.ckpt"
    assert status == 75
    assert f"--ckpt_path {last}" in capsys.readouterr().err
    status, second = fit(name, *FEEDS[feed], "--ckpt_path", last)
    assert status == 0
    assert first.seen + second.seen == samples
    assert same(outcome(folder / name), outcome(folder / feed))


@pytest.mark.parametrize("feed", ["loader", "workers", "packed"])
def test_resumed_between_two_epochs_a_fit_ends_with_the_same_bits(folder, fit, whole, feed):
    samples = whole(feed)
    status, watch = fit(f"{feed}-epoch", *FEEDS[feed], "--ckpt_path", folder / feed / "version_0" / "epoch.ckpt")
    assert (status, watch.seen) == (0, samples[6:])
    *learned, validations = outcome(folder / f"{feed}-epoch")
    *learned_whole, validations_whole = outcome(folder / feed)
    assert same(learned, learned_whole)
    assert validations == validations_whole[1:]


def test_bad_files_found_before_a_stop_are_listed_after_it(fit, folder, tmp_path):
    shutil.copytree(folder / "photos", tmp_path / "photos")
    bad = tmp_path / "photos" / "train" / "red" / "1.jpg"
    bad.write_bytes(b"no image")
    options = (*GATED, "--data.root", tmp_path / "photos", "--data.norm_images", 1)
    options += ("--data.on_error", "skip", "--data.max_bad_fraction", "null")
    assert fit("bad", *options, at=("train", 1))[0] == 75
    assert fit("bad", *options, "--ckpt_path", folder / "bad" / "version_0" / "last.ckpt")[0] == 0
    for number in range(2):
        assert [row["path"] for row in read_csv(folder / f"bad/version_{number}/skipped.csv")] == [str(bad)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_sigint_and_sigusr1_stop_a_fit_too(fit, number, capsys):
    before = signal.getsignal(number)
    assert fit(number.name, at=("train", 4), number=number)[0] == 75
    assert f"dctnet: stopped by {number.name} after step 5; " in capsys.readouterr().err
    assert signal.getsignal(number) == before


def python(program):
    """Runs a program in a process of its own."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
def test_other_verbs_end_on_a_signal_as_programs_do(gated_run, number, status):
    done = python(f"""
import os, signal, sys
import pytorch_lightning as pl
from dctnet.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
pl.LightningModule.on_validation_batch_start = lambda *_: os.kill(os.getpid(), {number:d})
sys.exit(main(["validate", "--ckpt_path", {str(gated_run / commands.CKPT)!r}]))
""")
    assert done.returncode == status, done.stderr[-500:]


def test_a_second_signal_ends_at_once():
    done = python("""
import os, signal, time
from dctnet.signals import SignalRecorder
with SignalRecorder() as signals:
    for number in (signal.SIGUSR1, signal.SIGTERM):
        print(signals.received, flush=True)
        os.kill(os.getpid(), number)
    time.sleep(60)
""")
    assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, f"None\n{signal.SIGUSR1:d}\n")
