"""Runs a grid: each trial is a fit and an evaluation; finished trials are skipped, interrupted ones resume."""

import csv
import datetime
import fcntl
import json
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dctnet.data.ignored import mark_as_own
from dctnet.errors import UserError, printable
from dctnet.studies.accuracy.context import BenchmarkContext
from dctnet.studies.accuracy.grid import Trial, plan
from dctnet.studies.accuracy.provenance import (
    CONFIG,
    FAILURES,
    GRID,
    IMAGES,
    check_unchanged,
    config_hash,
    epochs_done,
    newest,
    read_yaml,
    record_images,
    shared_options,
    steps_done,
    training_metrics,
    variants,
    write_yaml,
)
from dctnet.studies.execution.job import Executor, Job, StopSignals
from dctnet.studies.execution.node import lock_log
from dctnet.studies.execution.pool import Pool, retry
from dctnet.studies.execution.slurm import stop_left_behind
from dctnet.studies.rows import ROWS, Row, read_rows, write_rows

_LOG = "log.txt"  # in the folder of each trial


class Runner:
    """Runs the trials of a benchmark that have no row yet, as jobs of an executor.

    Raises:
        UserError: The folder belongs to another grid or has damaged rows. Nothing has been written then.
    """

    def __init__(self, context: BenchmarkContext, executor: Executor, signals: StopSignals | None = None) -> None:
        self.context, self.out, self.executor = context, context.out, executor
        self.signals = signals or StopSignals()
        self._read_folder()
        self._failed: list[str] = []
        self._keep_open: tuple[int, ...] = ()

    def _read_folder(self) -> None:
        """Reads rows and options of the folder. Arms and seeds may be added or left out, shared options not changed."""
        self.rows = read_rows(self.out / ROWS)
        path, self.variants = self.out / GRID, variants(plan(self.context.grid))
        if path.exists():
            before = read_yaml(path)
            self.variants = {**before.pop("variants", {}), **self.variants}
            check_unchanged(self.out, before, shared_options(self.context.grid))
        elif self.rows:
            raise UserError(f"{self.out}: rows.csv without {GRID}, which has its options; give another --out")

    def finished(self, trial: Trial) -> bool:
        """Whether a trial has its row; for a gated trial, whether its mask or the ranking exists."""
        if trial.choose == "gate":
            return self.context.ranked(trial)
        return any(row.name == trial.name for row in self.rows)

    def run(self) -> list[str]:
        """Runs all trials that are not finished.

        Returns:
            Names of the trials that failed.

        Raises:
            Stopped: A signal stopped the benchmark; running trials have saved a checkpoint.
        """
        if not self.out.exists():
            self.out.mkdir(parents=True)
            mark_as_own(self.out)
        # Jobs inherit the lock: those that survive a killed benchmark still write to the folder.
        with open(self.out / ".lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UserError(f"{self.out}: in use by another benchmark, or by a job that one left behind") from error
            self._keep_open = (lock.fileno(),)
            self._read_folder()  # another benchmark may have written to it since
            record_images(self.out / IMAGES, self.context.images)
            write_yaml(self.out / GRID, {**shared_options(self.context.grid), "variants": self.variants})
            trials = self._plan()
            stop_left_behind(self.out)
            return self._run_trials(trials)

    def _plan(self) -> list[Trial]:
        """The trials to run, after a check that existing ones have the same configuration."""
        trials = plan(self.context.grid)
        todo = [trial for trial in trials if not self.finished(trial)]
        for trial in trials:
            if trial.choose != "learned" or not self._unranked(trial):
                self._check_config(trial)
        queue: list[Trial] = []
        for trial in todo:  # gated trials before the first arm that needs them
            needed = self._unranked(trial) if trial.choose == "learned" else []
            queue += [*(gated for gated in needed if gated not in queue), trial]
        return queue

    def _unranked(self, trial: Trial) -> list[Trial]:
        """The gated trials of a learned trial that have not finished."""
        return [gated for gated in self.context.gated_trials(trial.seed) if not self.finished(gated)]

    def _check_config(self, trial: Trial) -> None:
        """Checks that a trial to resume or to skip has the same configuration as before."""
        options, folder = self.context.fit_options(trial), self.context.folder(trial)
        if (folder / CONFIG).exists():
            check_unchanged(folder, read_yaml(folder / CONFIG), options)
        if any(row.name == trial.name and row.config != config_hash(options) for row in self.rows):
            raise UserError(
                f"{self.out / ROWS}: trial {trial.name} has another configuration; give another --out or label"
            )

    def _run_trials(self, trials: list[Trial]) -> list[str]:
        pool = self._pool = Pool(self.executor, self.signals, trials)
        with tqdm(total=sum(map(self.context.epochs, trials)), unit="epoch", disable=None) as bar:
            pool.run(
                self._run_trial,
                lambda trial, future: self._collect(trial, future, bar),
                lambda: self._show_progress(bar, trials),
                self._has_ranking,
            )
        if pool.waiting:
            raise self.signals.stopped(f"with {len(pool.waiting)} of {len(trials)} trials to go")
        return self._failed

    def _has_ranking(self, trial: Trial) -> bool:
        """Whether the gated trials that choose the channels of a trial have ended."""
        unfinished = {each.name for each in [*self._pool.waiting, *self._pool.running]}
        gates = self.context.gated_trials(trial.seed) if trial.choose == "learned" else []
        return unfinished.isdisjoint(gate.name for gate in gates)

    def _collect(self, trial: Trial, future: Future, bar: tqdm) -> None:
        """Records the row or the failure of a trial that has ended, and prints it as one line."""
        if (error := future.exception()) is not None:
            self._failed.append(trial.name)
            with open(self.out / FAILURES, "a", newline="", encoding="utf-8", errors="backslashreplace") as file:
                csv.writer(file).writerow([trial.name, _now(), str(error)])
            result = f"FAILED: {error}"
        elif (columns := future.result()) is None:
            result = "ranked the channels"
        else:
            row = Row(trial.arm, trial.choose, trial.count, trial.draw, trial.label, trial.seed, **columns)
            self.rows.append(row)
            write_rows(self.out / ROWS, self.rows)
            result = f"top-1 {100 * row.top1:.1f} %, {row.gmac:.3f} GMAC, {row.seconds / 60:.1f} min"
        bar.write(printable(f"{trial.name:<28} {result}"))

    def _show_progress(self, bar: tqdm, trials: list[Trial]) -> None:
        epochs, waiting, running = self.context.epochs, self._pool.waiting, self._pool.running
        bar.set_description(f"{len(trials) - len(waiting) - len(running)} of {len(trials)} trials")
        remaining = sum(epochs(trial) - epochs_done(self.context.folder(trial)) for trial in running)
        bar.n = sum(map(epochs, trials)) - sum(map(epochs, waiting)) - remaining
        bar.refresh()

    def _run_trial(self, trial: Trial, slot: int) -> dict[str, Any] | None:
        """Runs a trial and, each time that it is interrupted, what is left of it; returns as :meth:`_attempt`."""
        return retry(partial(self._attempt, trial, slot), lambda: steps_done(self.context.folder(trial)))

    def _attempt(self, trial: Trial, slot: int) -> dict[str, Any] | None:
        """Trains and evaluates a trial; returns the columns of its row, or None for a gated trial."""
        self._check_config(trial)
        folder, options = self.context.folder(trial), self.context.fit_options(trial)
        folder.mkdir(parents=True, exist_ok=True)
        write_yaml(folder / CONFIG, options)
        with open(folder / _LOG, "a") as log:  # a job that was left behind saves before it ends
            lock_log(log, lambda: self.signals.received is not None)
        checkpoint = str(self._fit(trial, slot))
        if trial.choose == "gate":
            if newest(folder, "mask.json") is None:  # the fit was interrupted, or no channel was likely enough
                mask = str(Path(checkpoint).with_name("mask.json"))
                keep = str(self.context.ranked_channels)
                self._run_job(folder, slot, "dctnet", "export-mask", checkpoint, "--out", mask, "--keep", keep)
            return None
        paths = checkpoint, str(folder / CONFIG), str(folder / "result.json"), str(self.out / IMAGES)
        self._run_job(folder, slot, "dctnet.studies.accuracy.evaluate", *paths, *self.context.grid.evaluate)
        result = json.loads((folder / "result.json").read_text())
        return {**result, **training_metrics(folder), "config": config_hash(options), "finished": _now()}

    def _fit(self, trial: Trial, slot: int) -> Path:
        """Trains a trial, or resumes it from its last checkpoint; returns the checkpoint of the last epoch."""
        folder, epochs = self.context.folder(trial), self.context.epochs(trial)
        last = newest(folder, "last.ckpt")
        if last is None or epochs_done(folder) < epochs:
            resume = ["--ckpt_path", str(last)] if last else []
            self._run_job(folder, slot, "dctnet", "fit", "--config", str(folder / CONFIG), *resume)
            last = newest(folder, "last.ckpt")
        if last is None or epochs_done(folder) < epochs:
            raise RuntimeError(f"ended after {epochs_done(folder)} of {epochs} epochs ({folder / _LOG})")
        return last

    def _run_job(self, folder: Path, slot: int, *command: str) -> None:
        self.executor.run(Job(list(command), folder / _LOG, slot, self._keep_open))


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
