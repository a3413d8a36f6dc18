"""Runs are made once, in the right order, side by side; what is wrong stops them before anything is written."""

import json
import os
import shutil
import signal
import threading
import time

import pytest
import yaml

from dctnet.errors import Stopped, UserError
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.maskfile import write_mask
from dctnet.studies.accuracy.grid import Ranking
from dctnet.studies.accuracy.runner import Runner
from dctnet.studies.execution.stopping import Stopping
from dctnet.studies.rows import read_rows
from tests.studies.accuracy.test_context import WORTH, bench

ARMS = [{"choose": "learned", "channels": [3]}, {"choose": "square", "channels": [6]}, {"choose": "patches"}]
RESULT = {
    "top1": 0.75, "top5": 1.0, "images": 4, "correct": "1101", "gmac": 0.1, "parameters": 5, "values": 6, "bytes": 6,
    "image_size": 64, "fed": "photographs", "versions": "", "device": "",
}  # fmt: skip


class Pretended(Runner):
    """A runner whose processes only leave what real ones would; ``spoil`` says what goes wrong in a run's fit."""

    def __init__(self, made, jobs=1, spoil=None):
        super().__init__(made, jobs)
        self.spoil, self.calls, self.active, self.most = spoil or {}, [], 0, 0
        self.count = threading.Lock()
        self.workers.process = self.pretend

    def pretend(self, command, log, slot):
        folder = log.parent
        with self.count:
            verb = command[1] if command[0] == "dctnet" else "evaluate"
            self.calls.append((folder.name, verb, "--ckpt_path" in command))
            self.active += 1
            self.most = max(self.most, self.active)
        time.sleep(0.05)
        if command[1] == "fit":
            self.spoil.get(folder.name, lambda: None)()
            version = folder / f"version_{len(list(folder.glob('version_*')))}"
            version.mkdir()
            (version / "metrics.csv").write_text("epoch,images_per_second,seconds\n0,10,1\n1,12,2.5\n")
            (version / "last.ckpt").write_text("")
            if folder.name.startswith("ranking"):
                write_mask(version / "mask.json", ChannelSet("any", (0,)), WORTH)
        elif command[1] == "export-mask":
            write_mask(command[command.index("--out") + 1], ChannelSet("any", (0,)), WORTH)
        else:
            channels = yaml.safe_load((folder / "fit.yaml").read_text())["data"].get("channels", [])
            indices = " ".join(map(str, channels))
            (folder / "result.json").write_text(json.dumps({**RESULT, "indices": indices}))
        with self.count:
            self.active -= 1


def fits(runner):
    return [name for name, what, _ in runner.calls if what == "fit"]


def fail():
    raise RuntimeError("killed by SIGKILL: out of memory")


def test_each_run_leaves_a_row_and_is_not_made_again(photos, tmp_path):
    first = Pretended(bench(photos, tmp_path, ARMS))
    assert first.run() == []
    assert sorted(fits(first)) == ["learned-3-s0", "patches-s0", "ranking-s0", "square-6-s0"]
    rows = {row.name: row for row in read_rows(tmp_path / "rows.csv")}
    assert sorted(rows) == ["learned-3-s0", "patches-s0", "square-6-s0"]
    assert (rows["patches-s0"].seconds, rows["patches-s0"].epochs, rows["patches-s0"].images_per_second) == (2.5, 2, 11)
    before = (tmp_path / "rows.csv").read_bytes()
    again = Pretended(bench(photos, tmp_path, ARMS))
    assert again.run() == []
    assert again.calls == []
    assert (tmp_path / "rows.csv").read_bytes() == before


def test_an_arm_or_a_seed_may_be_added(photos, tmp_path):
    Pretended(bench(photos, tmp_path, ARMS[1:2])).run()
    more = bench(photos, tmp_path, ARMS[1:])
    more.grid.seeds = [0, 7]
    runner = Pretended(more)
    runner.run()
    assert fits(runner) == ["patches-s0", "square-6-s7", "patches-s7"]


def test_learned_arms_wait_for_the_ranking_while_others_go_ahead(photos, tmp_path):
    runner = Pretended(bench(photos, tmp_path, ARMS, ranking=Ranking(seeds=[0, 1])), jobs=2)
    runner.run()
    order = fits(runner)
    assert set(order[:2]) == {"ranking-s0", "ranking-s1"}
    assert runner.most == 2
    slow = Pretended(bench(photos, tmp_path / "slow", ARMS), jobs=2, spoil={"ranking-s0": lambda: time.sleep(0.5)})
    slow.run()
    assert fits(slow)[-1] == "learned-3-s0"


def test_a_failed_run_is_recorded_and_the_rest_goes_on(photos, tmp_path):
    runner = Pretended(bench(photos, tmp_path, ARMS), spoil={"square-6-s0": fail})
    assert runner.run() == ["square-6-s0"]
    assert {row.arm for row in read_rows(tmp_path / "rows.csv")} == {"learned-3", "patches"}
    assert "square-6-s0" in (tmp_path / "failures.csv").read_text()
    assert "out of memory" in (tmp_path / "failures.csv").read_text()
    again = Pretended(bench(photos, tmp_path, ARMS))
    assert again.run() == []
    assert fits(again) == ["square-6-s0"]


def test_without_a_ranking_only_the_learned_arms_fail(photos, tmp_path):
    runner = Pretended(bench(photos, tmp_path, ARMS), spoil={"ranking-s0": fail})
    assert runner.run() == ["ranking-s0", "learned-3-s0"]
    assert {row.arm for row in read_rows(tmp_path / "rows.csv")} == {"square-6", "patches"}


def test_an_interrupted_run_resumes_from_its_last_checkpoint(photos, tmp_path):
    version = tmp_path / "runs" / "patches-s0" / "version_0"
    version.mkdir(parents=True)
    (version / "last.ckpt").write_text("")
    (version / "metrics.csv").write_text("epoch,images_per_second,seconds\n0,10,4\n")
    runner = Pretended(bench(photos, tmp_path, ARMS[2:]))
    runner.run()
    assert runner.calls == [("patches-s0", "fit", True), ("patches-s0", "evaluate", False)]
    assert read_rows(tmp_path / "rows.csv")[0].seconds == 6.5  # both versions


def test_a_fit_that_ends_early_without_saying_so_is_a_failure(photos, tmp_path):
    made = bench(photos, tmp_path, ARMS[2:])
    made.grid.trainer["max_epochs"] = 3
    runner = Pretended(made)
    assert runner.run() == ["patches-s0"]
    assert "ended after 2 of 3 epochs" in (tmp_path / "failures.csv").read_text()


def test_a_folder_of_another_grid_is_refused_and_left_as_it_is(photos, tmp_path):
    Pretended(bench(photos, tmp_path, ARMS[2:])).run()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    other = bench(photos, tmp_path, ARMS[2:])
    other.grid.data["image_size"] = 96
    with pytest.raises(UserError, match="was made with data.image_size 64, now asked for 96; give another --out"):
        Pretended(other)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_arm_with_other_options_is_refused(photos, tmp_path):
    Pretended(bench(photos, tmp_path, ARMS[2:])).run()
    with pytest.raises(UserError, match=r"patches-s0 was made with model.lr None, now asked for 0.3"):
        Pretended(bench(photos, tmp_path, [{"choose": "patches", "model": {"lr": 0.3}}])).run()


def test_rows_of_another_configuration_are_refused_where_the_run_is_gone(photos, tmp_path):
    Pretended(bench(photos, tmp_path, ARMS[2:])).run()
    (tmp_path / "runs" / "patches-s0" / "fit.yaml").unlink()
    with pytest.raises(UserError, match="run patches-s0 was made with another configuration"):
        Pretended(bench(photos, tmp_path, [{"choose": "patches", "model": {"lr": 0.3}}])).run()


def test_rows_without_their_grid_are_refused(photos, tmp_path):
    Pretended(bench(photos, tmp_path, ARMS[2:])).run()
    (tmp_path / "grid.yaml").unlink()
    with pytest.raises(UserError, match=r"rows.csv, but no grid.yaml that says of what"):
        Pretended(bench(photos, tmp_path, ARMS[2:]))


@pytest.mark.parametrize("content", ["{", "a list", "\xff\xfe"])
def test_a_damaged_grid_file_is_named(photos, tmp_path, content):
    Pretended(bench(photos, tmp_path, ARMS[2:])).run()
    (tmp_path / "grid.yaml").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"grid.yaml"):
        Pretended(bench(photos, tmp_path, ARMS[2:]))


def test_two_benchmarks_do_not_share_a_folder(photos, tmp_path):
    first = Pretended(bench(photos, tmp_path, ARMS[2:]), spoil={"patches-s0": lambda: time.sleep(1)})
    thread = threading.Thread(target=first.run)
    thread.start()
    while not first.calls:
        time.sleep(0.01)
    with pytest.raises(UserError, match="another benchmark, or a run that one left behind, is at work there"):
        Pretended(bench(photos, tmp_path, ARMS[2:])).run()
    thread.join()
    assert len(read_rows(tmp_path / "rows.csv")) == 1


def test_after_a_signal_none_is_begun_and_what_comes_to_its_end_leaves_its_row(photos, tmp_path):
    signalled = {"square-6-s0": lambda: os.kill(os.getpid(), signal.SIGUSR1)}
    runner = Pretended(bench(photos, tmp_path, ARMS[1:]), spoil=signalled)
    with Stopping() as runner.stopping, pytest.raises(Stopped, match="stopped by SIGUSR1 with 1 of 2 runs to go"):
        runner.run()
    assert fits(runner) == ["square-6-s0"]
    assert [row.name for row in read_rows(tmp_path / "rows.csv")] == ["square-6-s0"]
    alone = Pretended(bench(photos, tmp_path, ARMS[1:]), spoil={"patches-s0": signalled["square-6-s0"]})
    with Stopping() as alone.stopping:
        assert alone.run() == []  # the last one: nothing is left to go on with


def test_a_mask_that_a_fit_did_not_leave_is_made_from_its_checkpoint(photos, tmp_path):
    version = tmp_path / "runs" / "ranking-s0" / "version_0"
    version.mkdir(parents=True)
    (version / "last.ckpt").write_text("")
    (version / "metrics.csv").write_text("epoch,images_per_second,seconds\n0,10,1\n1,10,2\n")
    runner = Pretended(bench(photos, tmp_path, ARMS[:1]))
    assert runner.run() == []
    assert [call[:2] for call in runner.calls[:2]] == [("ranking-s0", "export-mask"), ("learned-3-s0", "fit")]


def test_gates_are_not_trained_for_arms_that_have_ended(photos, tmp_path):
    Pretended(bench(photos, tmp_path, ARMS[:1])).run()
    shutil.rmtree(tmp_path / "runs")
    (tmp_path / "ranking.json").unlink()
    again = Pretended(bench(photos, tmp_path, ARMS))
    assert again.run() == []
    assert sorted(fits(again)) == ["patches-s0", "square-6-s0"]


def test_what_variants_have_of_their_own_is_recorded(photos, tmp_path):
    Pretended(bench(photos, tmp_path, [{"choose": "patches", "label": "slow", "model": {"lr": 0.01}}])).run()
    Pretended(bench(photos, tmp_path, [{"choose": "patches", "label": "brief", "trainer": {"max_epochs": 1}}])).run()
    found = yaml.safe_load((tmp_path / "grid.yaml").read_text())["variants"]
    assert found == {
        "patches+slow": {"model": {"lr": 0.01}, "trainer": {}},
        "patches+brief": {"model": {}, "trainer": {"max_epochs": 1}},
    }


def test_other_evaluation_images_are_found_before_training(photos, tmp_path):
    Pretended(bench(photos, tmp_path, ARMS[2:])).run()
    listed = (tmp_path / "images.csv").read_text().splitlines(keepends=True)
    (tmp_path / "images.csv").write_text("".join(listed[:-1]))
    more = Pretended(bench(photos, tmp_path, ARMS[1:]))
    with pytest.raises(UserError, match=rf"the evaluation images changed, first at line {len(listed)}"):
        more.run()
    assert more.calls == []
