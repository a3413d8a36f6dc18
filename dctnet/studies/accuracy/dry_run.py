"""What a benchmark would run, what each run costs and about how long it takes here."""

import logging
import warnings

import pytorch_lightning as pl
import torch

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.studies.accuracy.context import BenchmarkContext
from dctnet.studies.accuracy.grid import PIXELS, Run, plan, ranking_runs
from dctnet.studies.accuracy.runner import Runner
from dctnet.training.module import FrequencyClassifier

_BATCHES = 6


def dry_run(bench: BenchmarkContext, jobs: int) -> None:
    """Prints every run with its cost and an estimate of its time; leaves nothing behind.

    The estimate is from a few batches of a training with random channels, one for each kind of network and once for
    few channels and once for many; validation and start are not in it.

    Args:
        bench: The benchmark.
        jobs: As for the runner.
    """
    runner = Runner(bench, jobs)
    workers = runner.workers
    done = {row.name for row in runner.rows}
    images = len(bench.data.files("train"))
    torch.set_num_threads(workers.threads)
    rates: dict[tuple, float] = {}
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)  # of a few batches nobody wants to read
    warnings.simplefilter("ignore")
    total = 0.0
    print(f"{'run':<30}{'channels':>9}{'GMAC':>8}{'values':>9}{'minutes':>9}")
    for run in [*ranking_runs(bench.grid), *plan(bench.grid)]:
        kind = (run.choose if run.choose in PIXELS else run.count > 64, str(run.model))
        minutes = "done"
        if not (run.name in done or runner.ranked(run)):
            if kind not in rates:
                rates[kind] = _images_per_second(bench, run)
            seconds = images * bench.epochs(run) / rates[kind]
            total, minutes = total + seconds, f"{seconds / 60:.1f}"
        cost = bench.costs.of(run)
        print(f"{run.name:<30}{run.count or '-':>9}{cost['gmac']:>8.3f}{cost['values']:>9,}{minutes:>9}", flush=True)
    print(
        f"about {total / workers.jobs / 3600:.1f} hours, {workers.jobs} at a time with {workers.threads} threads each"
    )


def _images_per_second(bench: BenchmarkContext, run: Run) -> float:
    channels = list(range(run.count))
    options = bench.fit_options(run, channels)
    data = FrequencyDataModule(
        **{**options["data"], "norm_images": 64}, input=options["model"].get("input", "channels")
    )
    model = FrequencyClassifier(data.class_names, channels, data.size, **{**options["model"], "weights": None})
    chosen = {key: options["trainer"][key] for key in ("accelerator", "precision") if key in options["trainer"]}
    trainer = pl.Trainer(
        **chosen, devices=1, max_epochs=1, limit_train_batches=_BATCHES, limit_val_batches=0, logger=False,
        enable_checkpointing=False, enable_model_summary=False, enable_progress_bar=False,
    )  # fmt: skip
    trainer.fit(model, data)
    return float(trainer.callback_metrics["images_per_second"])
