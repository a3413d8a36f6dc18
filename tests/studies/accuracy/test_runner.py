"""Trials run once, in the right order and side by side; errors stop a benchmark before anything is written."""

import fcntl
import json
import os
import shutil
import signal
import threading
import time

import pytest
import torch
import yaml

from dctnet.errors import Stopped, UserError
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.maskfile import write_mask
from dctnet.studies.accuracy.grid import Ranking
from dctnet.studies.accuracy.runner import Runner
from dctnet.studies.execution.job import Interrupted, StopSignals
from dctnet.studies.rows import read_rows
from tests.studies.accuracy.test_context import SCORES, make_context

ARMS = [{"choose": "learned", "channels": [3]}, {"choose": "square", "channels": [6]}, {"choose": "patchify"}]
PATCHIFY = ARMS[2:]
RESULT = {
    "top1": 0.75, "top5": 1.0, "images": 4, "correct": "1101", "gmac": 0.1, "parameters": 5, "values": 6, "bytes": 6,
    "image_size": 64, "fed": "photographs", "versions": "", "device": "",
}  # fmt: skip


class StubExecutor:
    """Writes the files that real jobs would write; ``effects`` are functions to call in the fit of a trial."""

    threads = 1

    def __init__(self, jobs=1, effects=None):
        self.jobs, self.effects = jobs, effects or {}
        self.calls, self.active, self.most_active = [], 0, 0
        self._lock = threading.Lock()

    def run(self, job):
        folder, verb = job.log.parent, job.command[1] if job.command[0] == "dctnet" else "evaluate"
        with self._lock:
            self.calls.append((folder.name, verb, "--ckpt_path" in job.command))
            self.active += 1
            self.most_active = max(self.most_active, self.active)
        time.sleep(0.05)
        try:
            getattr(self, verb.replace("-", "_"))(folder, job.command)
        finally:
            with self._lock:
                self.active -= 1

    def fit(self, folder, command):
        self.effects.get(folder.name, lambda: None)()
        leave_version(folder, "0,10,1\n1,12,2.5\n")
        if folder.name.startswith("ranking"):
            write_mask(max(folder.glob("version_*")) / "mask.json", ChannelSet("any", (0,)), SCORES)

    def export_mask(self, folder, command):
        write_mask(command[command.index("--out") + 1], ChannelSet("any", (0,)), SCORES)

    def evaluate(self, folder, command):
        channels = yaml.safe_load((folder / "fit.yaml").read_text())["data"].get("channels", [])
        (folder / "result.json").write_text(json.dumps({**RESULT, "indices": " ".join(map(str, channels))}))

    def stop(self, number=None):
        pass

    kill = stop

    @property
    def fits(self):
        return [name for name, verb, _ in self.calls if verb == "fit"]


def leave_version(folder, metrics):
    """Writes a version of a trial: its checkpoint, and its metrics as lines of epoch, images per second, seconds."""
    version = folder / f"version_{len(list(folder.glob('version_*')))}"
    version.mkdir(parents=True)
    (version / "metrics.csv").write_text(f"epoch,images_per_second,seconds\n{metrics}")
    torch.save({"global_step": 10 * sum(1 for _ in folder.glob("version_*"))}, version / "last.ckpt")


def run(photos, out, arms, signals=None, jobs=1, effects=None, **options):
    """Runs a benchmark; returns the executor and the names of the trials that failed."""
    executor = StubExecutor(jobs, effects)
    return executor, Runner(make_context(photos, out, arms, **options), executor, signals).run()


def fail():
    raise RuntimeError("killed by SIGKILL: out of memory")


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_trial_has_a_row_and_runs_once(photos, tmp_path):
    executor, failed = run(photos, tmp_path, ARMS)
    assert failed == []
    assert sorted(executor.fits) == ["learned-3-s0", "patchify-s0", "ranking-s0", "square-6-s0"]
    rows = {row.name: row for row in read_rows(tmp_path / "rows.csv")}
    assert sorted(rows) == ["learned-3-s0", "patchify-s0", "square-6-s0"]
    patchify = rows["patchify-s0"]
    assert (patchify.seconds, patchify.epochs, patchify.images_per_second) == (2.5, 2, 11)
    before = (tmp_path / "rows.csv").read_bytes()
    again, failed = run(photos, tmp_path, ARMS)
    assert (again.calls, failed) == ([], [])
    assert (tmp_path / "rows.csv").read_bytes() == before


def test_an_arm_and_a_seed_can_be_added(photos, tmp_path):
    run(photos, tmp_path, ARMS[1:2])
    context = make_context(photos, tmp_path, ARMS[1:])
    context.grid.seeds = [0, 7]
    executor = StubExecutor()
    Runner(context, executor).run()
    assert executor.fits == ["patchify-s0", "square-6-s7", "patchify-s7"]


def test_learned_arms_wait_for_the_ranking_while_others_run(photos, tmp_path):
    executor, _ = run(photos, tmp_path, ARMS, jobs=2, ranking=Ranking(seeds=[0, 1]))
    assert set(executor.fits[:2]) == {"ranking-s0", "ranking-s1"}
    assert executor.most_active == 2
    slow, _ = run(photos, tmp_path / "slow", ARMS, jobs=2, effects={"ranking-s0": lambda: time.sleep(0.5)})
    assert slow.fits[-1] == "learned-3-s0"


def test_a_learned_arm_waits_only_for_the_gate_of_its_own_seed(photos, tmp_path):
    options = {"seeds": [0, 1], "ranking": Ranking(seeds="own")}
    executor, failed = run(photos, tmp_path, [ARMS[1], ARMS[0]], effects={"ranking-s1": fail}, **options)
    assert executor.fits == ["square-6-s0", "ranking-s0", "learned-3-s0", "square-6-s1", "ranking-s1"]
    assert failed == ["ranking-s1", "learned-3-s1"]


def test_a_failed_trial_is_recorded_and_the_others_run(photos, tmp_path):
    _, failed = run(photos, tmp_path, ARMS, effects={"square-6-s0": fail})
    assert failed == ["square-6-s0"]
    assert {row.arm for row in read_rows(tmp_path / "rows.csv")} == {"learned-3", "patchify"}
    (line,) = (tmp_path / "failures.csv").read_text().splitlines()
    assert line.startswith("square-6-s0,")
    assert "out of memory" in line
    again, failed = run(photos, tmp_path, ARMS)
    assert (again.fits, failed) == (["square-6-s0"], [])


def test_without_a_ranking_only_the_learned_arms_fail(photos, tmp_path):
    _, failed = run(photos, tmp_path, ARMS, effects={"ranking-s0": fail})
    assert failed == ["ranking-s0", "learned-3-s0"]
    assert {row.arm for row in read_rows(tmp_path / "rows.csv")} == {"square-6", "patchify"}


def test_an_interrupted_trial_resumes_from_its_last_checkpoint(photos, tmp_path):
    leave_version(tmp_path / "runs" / "patchify-s0", "0,10,4\n")
    executor, _ = run(photos, tmp_path, PATCHIFY)
    assert executor.calls == [("patchify-s0", "fit", True), ("patchify-s0", "evaluate", False)]
    assert read_rows(tmp_path / "rows.csv")[0].seconds == 6.5  # of both versions


def test_a_trial_whose_node_is_lost_resumes_from_its_last_checkpoint(photos, tmp_path):
    def lose_the_node():
        if not (folder := tmp_path / "runs" / "patchify-s0" / "version_0").exists():
            leave_version(folder.parent, "0,10,4\n")
            raise Interrupted("lost its node")

    executor, failed = run(photos, tmp_path, PATCHIFY, effects={"patchify-s0": lose_the_node})
    assert failed == []
    assert [call[1:] for call in executor.calls] == [("fit", False), ("fit", True), ("evaluate", False)]
    assert read_rows(tmp_path / "rows.csv")[0].seconds == 6.5


def test_a_trial_that_is_interrupted_again_and_again_fails(photos, tmp_path):
    def interrupt():
        raise Interrupted("lost its node")

    executor, failed = run(photos, tmp_path, ARMS[1:], effects={"square-6-s0": interrupt})
    assert failed == ["square-6-s0"]
    assert executor.fits.count("square-6-s0") == 10
    message = "interrupted 10 times without progress; the last: lost its node"
    assert message in (tmp_path / "failures.csv").read_text()


def test_a_trial_that_goes_on_at_each_attempt_is_not_given_up(photos, tmp_path):
    folder, numbers = tmp_path / "runs" / "patchify-s0", iter(range(30))

    def interrupt():
        if (number := next(numbers)) < 24:
            if number % 6 == 5:  # five attempts without progress, and one with a step more
                leave_version(folder, "")
            raise Interrupted("time limit")

    executor, failed = run(photos, tmp_path, PATCHIFY, effects={"patchify-s0": interrupt})
    assert failed == []
    assert executor.fits.count("patchify-s0") == 25


def test_a_trial_resumes_from_what_a_job_that_was_left_behind_saved(photos, tmp_path):
    folder = tmp_path / "runs" / "patchify-s0"
    folder.mkdir(parents=True)
    with open(folder / "log.txt", "a") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        executor = StubExecutor()
        thread = threading.Thread(target=Runner(make_context(photos, tmp_path, PATCHIFY), executor).run)
        thread.start()
        while not (folder / "fit.yaml").exists():
            time.sleep(0.01)
        time.sleep(0.3)
        leave_version(folder, "0,10,4\n")
    thread.join()
    assert executor.calls == [("patchify-s0", "fit", True), ("patchify-s0", "evaluate", False)]


def test_slurm_jobs_of_a_killed_run_are_stopped_before_the_first_trial_of_any_executor(photos, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/scancel").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    (tmp_path / "bin/scancel").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    out = tmp_path / "out"
    (out / "slurm").mkdir(parents=True)
    for name in ("7_submitted.pkl", "8_submitted.pkl", "8_0_log.out"):
        (out / "slurm" / name).touch()
    before_fit = []
    run(photos, out, PATCHIFY, effects={"patchify-s0": lambda: before_fit.extend((tmp_path / "calls").open())})
    assert sorted(before_fit) == ["--signal=TERM 8\n", "7\n"]  # job 7 has not started
    assert not list(out.glob("slurm/*_submitted.pkl"))


def test_a_fit_with_too_few_epochs_is_a_failure(photos, tmp_path):
    context = make_context(photos, tmp_path, PATCHIFY)
    context.grid.trainer["max_epochs"] = 3
    assert Runner(context, StubExecutor()).run() == ["patchify-s0"]
    assert "ended after 2 of 3 epochs" in (tmp_path / "failures.csv").read_text()


def test_a_folder_of_another_grid_is_refused_unchanged(photos, tmp_path):
    run(photos, tmp_path, PATCHIFY)
    before = contents(tmp_path)
    with pytest.raises(UserError, match="was created with data.image_size 64, now 96; give another --out"):
        run(photos, tmp_path, PATCHIFY, data={"image_size": 96})
    assert contents(tmp_path) == before


def test_an_arm_with_other_options_is_refused(photos, tmp_path):
    run(photos, tmp_path, PATCHIFY)
    other = [{"choose": "patchify", "model": {"lr": 0.3}}]
    with pytest.raises(UserError, match=r"patchify-s0 was created with model.lr None, now 0.3"):
        run(photos, tmp_path, other)
    (tmp_path / "runs" / "patchify-s0" / "fit.yaml").unlink()
    with pytest.raises(UserError, match="trial patchify-s0 has another configuration"):
        run(photos, tmp_path, other)


def test_rows_without_their_grid_are_refused(photos, tmp_path):
    run(photos, tmp_path, PATCHIFY)
    (tmp_path / "grid.yaml").unlink()
    with pytest.raises(UserError, match=r"rows.csv without grid.yaml"):
        run(photos, tmp_path, PATCHIFY)


@pytest.mark.parametrize("content", ["{", "a list", "\xff\xfe"])
def test_a_damaged_grid_file_is_an_error(photos, tmp_path, content):
    (tmp_path / "grid.yaml").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"grid.yaml"):
        run(photos, tmp_path, PATCHIFY)


def test_a_folder_in_use_is_refused(photos, tmp_path):
    executor = StubExecutor(effects={"patchify-s0": lambda: time.sleep(1)})
    thread = threading.Thread(target=Runner(make_context(photos, tmp_path, PATCHIFY), executor).run)
    thread.start()
    while not executor.calls:
        time.sleep(0.01)
    with pytest.raises(UserError, match="in use by another benchmark, or by a job that one left behind"):
        run(photos, tmp_path, PATCHIFY)
    thread.join()
    assert len(read_rows(tmp_path / "rows.csv")) == 1


def test_after_a_signal_no_trial_starts_and_one_that_completes_has_its_row(photos, tmp_path):
    def send_signal():
        os.kill(os.getpid(), signal.SIGUSR1)

    with (
        StopSignals() as signals,
        pytest.raises(Stopped, match="stopped by SIGUSR1 with 1 of 2 trials to go; to resume, repeat"),
    ):
        run(photos, tmp_path, ARMS[1:], signals, effects={"square-6-s0": send_signal})
    assert [row.name for row in read_rows(tmp_path / "rows.csv")] == ["square-6-s0"]
    with StopSignals() as signals:  # in the last trial: nothing is left to resume
        _, failed = run(photos, tmp_path, ARMS[1:], signals, effects={"patchify-s0": send_signal})
    assert failed == []


def test_a_missing_mask_of_a_finished_fit_is_exported(photos, tmp_path):
    leave_version(tmp_path / "runs" / "ranking-s0", "0,10,1\n1,10,2\n")
    executor, failed = run(photos, tmp_path, ARMS[:1])
    assert failed == []
    assert [call[:2] for call in executor.calls[:2]] == [("ranking-s0", "export-mask"), ("learned-3-s0", "fit")]


def test_gated_trials_do_not_run_for_finished_arms(photos, tmp_path):
    run(photos, tmp_path, ARMS[:1])
    shutil.rmtree(tmp_path / "runs")
    (tmp_path / "ranking.json").unlink()
    executor, failed = run(photos, tmp_path, ARMS)
    assert failed == []
    assert sorted(executor.fits) == ["patchify-s0", "square-6-s0"]


def test_options_of_variants_are_recorded(photos, tmp_path):
    run(photos, tmp_path, [{"choose": "patchify", "label": "slow", "model": {"lr": 0.01}}])
    run(photos, tmp_path, [{"choose": "patchify", "label": "brief", "trainer": {"max_epochs": 1}}])
    assert yaml.safe_load((tmp_path / "grid.yaml").read_text())["variants"] == {
        "patchify+slow": {"model": {"lr": 0.01}, "trainer": {}},
        "patchify+brief": {"model": {}, "trainer": {"max_epochs": 1}},
    }


def test_changed_evaluation_images_are_an_error_before_training(photos, tmp_path):
    run(photos, tmp_path, PATCHIFY)
    listed = (tmp_path / "images.csv").read_text().splitlines(keepends=True)
    (tmp_path / "images.csv").write_text("".join(listed[:-1]))
    executor = StubExecutor()
    with pytest.raises(UserError, match=rf"the evaluation images changed, first at line {len(listed)}"):
        Runner(make_context(photos, tmp_path, ARMS[1:]), executor).run()
    assert executor.calls == []
