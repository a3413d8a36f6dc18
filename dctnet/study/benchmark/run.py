"""Runs a grid: each run two processes of its own, fit and evaluation; what is finished is skipped, the rest resumes."""

import concurrent.futures
import csv
import datetime
import fcntl
import json
from typing import Any

from tqdm import tqdm

from dctnet.errors import UserError
from dctnet.study.benchmark.bench import Bench
from dctnet.study.benchmark.grid import Run, plan, ranking_runs
from dctnet.study.benchmark.progress import epochs_done, newest, training_record
from dctnet.study.benchmark.record import (
    CONFIG,
    FAILURES,
    GRID,
    IMAGES,
    config_hash,
    read_yaml,
    refuse_difference,
    shared_options,
    write_yaml,
)
from dctnet.study.benchmark.rows import ROWS, Row, read_rows, write_rows
from dctnet.study.benchmark.workers import Workers

_POLL = 2.0


class Runner:
    """Runs what a benchmark has not finished yet.

    Args:
        bench: The grid, its data and its folder.
        jobs: Runs at a time; 0 for one on each GPU, or on a machine without, one on each core up to four.

    Raises:
        UserError: The folder holds what another grid made, damaged rows, or another benchmark at work; or there is no
            GPU where one is asked for. Nothing has been written then.
    """

    def __init__(self, bench: Bench, jobs: int = 0) -> None:
        self.bench, self.out = bench, bench.out
        self.workers = Workers(jobs, bench.grid.trainer.get("accelerator", "auto"))
        self.rows = read_rows(self.out / ROWS)
        self._check_grid()

    def _check_grid(self) -> None:
        """Refuses a folder that another grid has written to. Arms and seeds may be added or left out."""
        path, wanted = self.out / GRID, shared_options(self.bench.grid)
        if not path.exists():
            if self.rows:
                raise UserError(f"{self.out}: rows.csv, but no {GRID} that says of what; give another --out")
            return
        refuse_difference(self.out, read_yaml(path), wanted)

    def ranked(self, run: Run) -> bool:
        """Whether a gated run has left its mask, which a fit does at its end."""
        return run.choose == "gate" and newest(self.bench.folder(run), "mask.json") is not None

    def run(self) -> list[str]:
        """Runs all that is missing.

        Returns:
            Names of the runs that failed.
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
            write_yaml(self.out / GRID, shared_options(self.bench.grid))
            return self._run_all()

    def _run_all(self) -> list[str]:
        todo = plan(self.bench.grid)
        rankings = [run for run in ranking_runs(self.bench.grid) if not self.ranked(run)]
        for run in todo:
            if run.choose != "learned" or not rankings:
                self._check_config(run)
        done = {row.name for row in self.rows}
        if any(run.choose == "energy" and run.name not in done for run in todo):
            self.bench.energies()
        return self._work_through(rankings + [run for run in todo if run.name not in done])

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
        count, total, failed = len(waiting), sum(map(self.bench.epochs, waiting)), list[str]()
        active: dict[concurrent.futures.Future, tuple[Run, int]] = {}
        free = list(range(self.workers.jobs))
        with (
            concurrent.futures.ThreadPoolExecutor(self.workers.jobs) as pool,
            tqdm(total=total, unit="epoch", disable=None) as bar,
        ):
            try:
                while waiting or active:
                    unranked = any(run.choose == "gate" for run in [*waiting, *(run for run, _ in active.values())])
                    while free and (run := next((r for r in waiting if r.choose != "learned" or not unranked), None)):
                        waiting.remove(run)
                        slot = free.pop()
                        active[pool.submit(self._fit_and_evaluate, run, slot)] = run, slot
                    ended = concurrent.futures.wait(active, _POLL, concurrent.futures.FIRST_COMPLETED).done
                    for future in ended:
                        run, slot = active.pop(future)
                        free.append(slot)
                        bar.write(self._finish(run, future, failed))
                    bar.set_description(f"{count - len(waiting) - len(active)} of {count} runs")
                    ended_epochs = total - sum(
                        self.bench.epochs(r) for r in [*waiting, *(r for r, _ in active.values())]
                    )
                    bar.n = ended_epochs + sum(epochs_done(self.bench.folder(run)) for run, _ in active.values())
                    bar.refresh()
            except BaseException:
                self.workers.stop()
                raise
        return failed

    def _finish(self, run: Run, future: concurrent.futures.Future, failed: list[str]) -> str:
        """Notes what became of a run; one line for the reader."""
        if future.exception() is not None:
            failed.append(run.name)
            reason = str(future.exception())
            with open(self.out / FAILURES, "a", newline="", encoding="utf-8") as file:
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
        resume = ["--ckpt_path", str(last)] if last else []
        if not (last and epochs_done(folder) >= self.bench.epochs(run) and run.choose != "gate"):
            self.workers.process(["dctnet", "fit", "--config", str(folder / CONFIG), *resume], folder / "log.txt", slot)
        if (done := epochs_done(folder)) < self.bench.epochs(run):  # Lightning takes SIGTERM for success
            raise RuntimeError(f"ended after {done} of {self.bench.epochs(run)} epochs ({folder / 'log.txt'})")
        if run.choose == "gate":
            if not self.ranked(run):
                raise RuntimeError(f"left no mask: no channel is likelier kept than not, or it was cut off ({folder})")
            return None
        ckpt, precision = newest(folder, "last.ckpt"), str(options["trainer"].get("precision") or "32-true")
        arguments = [
            str(ckpt),
            str(folder / "result.json"),
            str(self.out / IMAGES),
            precision,
            *self.bench.grid.evaluate,
        ]
        self.workers.process(["dctnet.study.benchmark.evaluate", *arguments], folder / "log.txt", slot)
        found = json.loads((folder / "result.json").read_text())
        return {**found, **training_record(folder), "config": config_hash(options), "finished": _now()}


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
