"""Runs a grid: each run two processes of its own, fit and evaluation; what is finished is skipped, the rest resumes."""

import concurrent.futures
import csv
import datetime
import fcntl
import json
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dctnet.errors import Stopped, UserError, printable
from dctnet.studies.accuracy.context import BenchmarkContext
from dctnet.studies.accuracy.grid import Run, plan, ranking_runs
from dctnet.studies.accuracy.images import IMAGES, same_images
from dctnet.studies.accuracy.progress import epochs_done, newest, training_record
from dctnet.studies.accuracy.provenance import (
    CONFIG,
    FAILURES,
    GRID,
    RANKING,
    config_hash,
    read_yaml,
    refuse_difference,
    shared_options,
    variants,
    write_yaml,
)
from dctnet.studies.execution.local import Workers
from dctnet.studies.execution.stopping import Stopping
from dctnet.studies.rows import ROWS, Row, read_rows, write_rows

_POLL = 2.0


class Runner:
    """Runs what a benchmark has not finished yet.

    Args:
        bench: The grid, its data and its folder.
        jobs: Runs at a time; 0 for one on each GPU, or on a machine without, one on each core up to four.
        stopping: What asks it to stop; nothing does where there is none.

    Raises:
        UserError: The folder holds what another grid made, damaged rows, or another benchmark at work; or there is no
            GPU where one is asked for. Nothing has been written then.
    """

    def __init__(self, bench: BenchmarkContext, jobs: int = 0, stopping: Stopping | None = None) -> None:
        self.bench, self.out = bench, bench.out
        self.stopping = stopping or Stopping()
        self.workers = Workers(jobs, bench.grid.trainer.get("accelerator", "auto"))
        self._look()

    def _look(self) -> None:
        """Reads the folder; refuses one that another grid has written to. Arms and seeds may be added or left out."""
        self.rows = read_rows(self.out / ROWS)
        path, self.variants = self.out / GRID, variants(plan(self.bench.grid))
        if path.exists():
            before = read_yaml(path)
            self.variants = {**before.pop("variants", {}), **self.variants}
            refuse_difference(self.out, before, shared_options(self.bench.grid))
        elif self.rows:
            raise UserError(f"{self.out}: rows.csv, but no {GRID} that says of what; give another --out")

    def ranked(self, run: Run) -> bool:
        """Whether a gated run is not needed any more: it has left its mask, or the ranking was made from it before."""
        masks = (newest(self.bench.folder(run), "mask.json"), self.out / RANKING)
        return run.choose == "gate" and any(mask is not None and mask.exists() for mask in masks)

    def run(self) -> list[str]:
        """Runs all that is missing.

        Returns:
            Names of the runs that failed.

        Raises:
            Stopped: It was asked to stop before all had ended; what was at work has saved and ended.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        # Held by the children too: what a killed benchmark leaves behind is still at work.
        with open(self.out / ".lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UserError(
                    f"{self.out}: another benchmark, or a run that one left behind, is at work there"
                ) from error
            self.workers.inherit = (lock.fileno(),)
            self._look()  # another one may have been at work since
            same_images(self.out / IMAGES, self.bench.images)
            write_yaml(self.out / GRID, {**shared_options(self.bench.grid), "variants": self.variants})
            return self._run_all()

    def _run_all(self) -> list[str]:
        runs, done = plan(self.bench.grid), {row.name for row in self.rows}
        todo = [run for run in runs if run.name not in done]
        rankings = [run for run in self.unranked() if any(run.choose == "learned" for run in todo)]
        for run in runs:
            if run.choose != "learned" or not self.unranked():
                self._check_config(run)
        if any(run.choose == "energy" for run in todo):
            self.bench.energies()
        return self._work_through(rankings + todo)

    def unranked(self) -> list[Run]:
        """The gated runs that have to end before the learned arms have channels."""
        return [run for run in ranking_runs(self.bench.grid) if not self.ranked(run)]

    def _check_config(self, run: Run) -> None:
        """Refuses to continue or to skip what was configured in another way."""
        wanted, folder = self.bench.fit_options(run), self.bench.folder(run)
        if (folder / CONFIG).exists():
            refuse_difference(folder, read_yaml(folder / CONFIG), wanted)
        row = next((row for row in self.rows if row.name == run.name), None)
        if row is not None and row.config != config_hash(wanted):
            raise UserError(
                f"{self.out / ROWS}: run {run.name} was made with another configuration; give another --out or label"
            )

    def _work_through(self, waiting: list[Run]) -> list[str]:
        total, failed = list(waiting), list[str]()
        active: dict[concurrent.futures.Future, tuple[Run, int]] = {}
        free = list(range(self.workers.jobs))
        self.stopping.leads(self.workers)
        with (
            concurrent.futures.ThreadPoolExecutor(self.workers.jobs) as pool,
            tqdm(total=sum(map(self.bench.epochs, total)), unit="epoch", disable=None) as bar,
        ):
            try:
                # After a signal none is begun, and those told to stop are waited for: one may come to its end.
                while active or (waiting and self.stopping.received is None):
                    unranked = any(run.choose == "gate" for run in [*waiting, *(run for run, _ in active.values())])
                    ready = [r for r in waiting if r.choose != "learned" or not unranked]
                    while free and ready and self.stopping.received is None:
                        waiting.remove(run := ready.pop(0))
                        slot = free.pop()
                        active[pool.submit(self._fit_and_evaluate, run, slot)] = run, slot
                    for future in concurrent.futures.wait(active, _POLL, concurrent.futures.FIRST_COMPLETED).done:
                        run, slot = active.pop(future)
                        free.append(slot)
                        if isinstance(future.exception(), Stopped):
                            waiting.append(run)
                        else:
                            bar.write(printable(self._finish(run, future, failed)))
                    self._show(bar, total, waiting, [run for run, _ in active.values()])
            except BaseException:
                self.workers.stop()
                raise
        if waiting:
            raise self.stopping.stopped(f"with {len(waiting)} of {len(total)} runs to go")
        return failed

    def _show(self, bar: tqdm, total: list[Run], waiting: list[Run], active: list[Run]) -> None:
        epochs = self.bench.epochs
        bar.set_description(f"{len(total) - len(waiting) - len(active)} of {len(total)} runs")
        to_come = sum(epochs(run) - epochs_done(self.bench.folder(run)) for run in active)
        bar.n = sum(map(epochs, total)) - sum(map(epochs, waiting)) - to_come
        bar.refresh()

    def _finish(self, run: Run, future: concurrent.futures.Future, failed: list[str]) -> str:
        """Notes what became of a run; one line for the reader."""
        if future.exception() is not None:
            failed.append(run.name)
            reason = str(future.exception())
            with open(self.out / FAILURES, "a", newline="", encoding="utf-8", errors="backslashreplace") as file:
                csv.writer(file).writerow([run.name, _now(), reason])
            return f"{run.name:<28} FAILED: {reason}"
        found = future.result()
        if found is None:
            return f"{run.name:<28} ranked the channels"
        row = Row(run.arm, run.choose, run.count, run.draw, run.label, run.seed, **found)
        self.rows.append(row)
        write_rows(self.out / ROWS, self.rows)
        return f"{run.name:<28} top-1 {100 * row.top1:.1f} %, {row.gmac:.3f} GMAC, {row.seconds / 60:.1f} min"

    def _fit_and_evaluate(self, run: Run, slot: int) -> dict[str, Any] | None:
        self._check_config(run)
        folder, options = self.bench.folder(run), self.bench.fit_options(run)
        folder.mkdir(parents=True, exist_ok=True)
        write_yaml(folder / CONFIG, options)
        last = newest(folder, "last.ckpt")
        if last is None or epochs_done(folder) < self.bench.epochs(run):
            resume = ["--ckpt_path", str(last)] if last else []
            self.workers.process(["dctnet", "fit", "--config", str(folder / CONFIG), *resume], folder / "log.txt", slot)
        if (done := epochs_done(folder)) < self.bench.epochs(run):
            raise RuntimeError(f"ended after {done} of {self.bench.epochs(run)} epochs ({folder / 'log.txt'})")
        ckpt = newest(folder, "last.ckpt")
        assert ckpt is not None
        if run.choose == "gate":
            self._export_mask(run, ckpt, slot)
            return None
        arguments = [ckpt, folder / CONFIG, folder / "result.json", self.out / IMAGES, *self.bench.grid.evaluate]
        self.workers.process(["dctnet.studies.accuracy.evaluate", *map(str, arguments)], folder / "log.txt", slot)
        found = json.loads((folder / "result.json").read_text())
        return {**found, **training_record(folder), "config": config_hash(options), "finished": _now()}

    def _export_mask(self, run: Run, ckpt: Path, slot: int) -> None:
        """Makes the mask that a fit leaves at its end, where it was cut off before or no channel is likely enough."""
        if newest(folder := self.bench.folder(run), "mask.json") is None:
            arguments = [str(ckpt), "--out", str(ckpt.with_name("mask.json")), "--keep", str(self.bench.ranked_for)]
            self.workers.process(["dctnet", "export-mask", *arguments], folder / "log.txt", slot)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
