"""Lists the trials of a benchmark with their cost and an estimate of their time, without running them."""

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator

import pytorch_lightning as pl
import torch

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.studies.accuracy.context import BenchmarkContext
from dctnet.studies.accuracy.grid import PIXEL_NETWORKS, Trial, plan, ranking_trials
from dctnet.studies.accuracy.runner import Runner
from dctnet.studies.execution.job import Executor
from dctnet.training.module import FrequencyClassifier

_BATCHES = 6


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Silences what Lightning says about a training of a few batches."""
    log = logging.getLogger("pytorch_lightning")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        log.setLevel(level)


@_quietly()
def dry_run(context: BenchmarkContext, executor: Executor) -> None:
    """Prints each trial with its cost and estimated training time, and to standard error what it measures.

    The estimate comes from a few training batches with the first channels, for each kind of network and, for channels,
    once for up to 64 and once for more. It excludes validation and startup.
    """
    runner = Runner(context, executor)
    images = len(context.data.files("train"))
    torch.set_num_threads(executor.threads)
    rates: dict[tuple, float] = {}
    total = 0.0
    print(f"{'trial':<30}{'channels':>9}{'GMAC':>8}{'native px':>11}{'values':>9}{'minutes':>9}")
    trials = [*ranking_trials(context.grid), *plan(context.grid)]
    waiting = {trial.name for trial in trials if not runner.finished(trial)}
    kinds = len({_kind(trial) for trial in trials if trial.name in waiting})
    for trial in trials:
        minutes = "done"
        if trial.name in waiting:
            if (kind := _kind(trial)) not in rates:
                print(f"measuring {trial.name}, {len(rates) + 1} of {kinds} kinds …", file=sys.stderr, flush=True)
                rates[kind] = _images_per_second(context, trial)
            seconds = images * context.epochs(trial) / rates[kind]
            total, minutes = total + seconds, f"{seconds / 60:.1f}"
        cost = context.costs.of(trial)
        channels = trial.count or "-"
        native, values = context.costs.native_size(trial), f"{cost['values']:,}"
        print(f"{trial.name:<30}{channels:>9}{cost['gmac']:>8.3f}{native:>11}{values:>9}{minutes:>9}", flush=True)
    at_a_time = max(1, min(executor.jobs, len(waiting)))
    hours = total / at_a_time / 3600
    print(f"about {hours:.1f} hours, {at_a_time} at a time with {executor.threads} threads each")


def _kind(trial: Trial) -> tuple:
    """What the speed of a training depends on."""
    return trial.choose if trial.choose in PIXEL_NETWORKS else trial.count > 64, str((trial.model, trial.data))


def _images_per_second(context: BenchmarkContext, trial: Trial) -> float:
    """Training throughput over a few batches, with the first channels instead of the selected ones."""
    channels = list(range(trial.count))
    options = context.fit_options(trial, channels)
    inputs = options["model"].get("input", "channels")
    sized = {"norm_images": 64, "input": inputs, "progressive": None}  # at full size: an upper bound
    data = FrequencyDataModule(**{**options["data"], **sized})
    model = FrequencyClassifier(data.class_names, channels, data.size, **{**options["model"], "weights": None})
    model.weights_loaded = True  # the time is that of any weights
    trainer_options = {k: options["trainer"][k] for k in ("accelerator", "precision") if k in options["trainer"]}
    trainer = pl.Trainer(
        **trainer_options, devices=1, max_epochs=1, limit_train_batches=_BATCHES, limit_val_batches=0, logger=False,
        enable_checkpointing=False, enable_model_summary=False, enable_progress_bar=False,
    )  # fmt: skip
    trainer.fit(model, data)
    return float(trainer.callback_metrics["images_per_second"])
