"""One trial of each stress test."""

import json
import signal
import subprocess
import sys

import pytest

from dctnet.data.images.photo import ImageError
from dctnet.data.planted import make_planted
from tests.conftest import make_photos, needs_turbojpeg
from tests.stress import backbones, dead_helpers, flip_bits, fuzz_jpeg, kill_saving, large_store, thin_files
from tests.stress.bad_files import damage, trial
from tests.stress.kill_pack import campaign

pytestmark = pytest.mark.usefixtures("small_backbones")


def test_a_killed_packing_continues_to_the_same_store(tmp_path):
    counts = campaign(1, seed=1, folder=tmp_path, train=6, val=2, shard_bytes=50_000, workers=1)
    assert counts["identical"] == 1
    assert not any(counts[fault] for fault in ("different", "orphans", "lost", "refused"))


def test_the_start_of_a_training_on_a_large_store_is_measured(tmp_path, capsys):
    large_store.make_store(tmp_path / "store", 6400, shard_bytes=50 << 20)
    large_store.measure(tmp_path / "store")
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["images"] == 6400
    assert [name for name, *_ in found["rows"]][-2:] == ["start", "first batch"]


def test_bad_files_are_listed_and_counted_exactly(tmp_path):
    make_planted(tmp_path / "photos", train_per_class=10, val_per_class=5)
    data = damage(tmp_path / "photos", 12, seed=1)
    assert all(data.bad.values())
    trial(data, tmp_path / "run", workers=3, ranks=1)


def test_a_training_ends_when_a_worker_is_killed_and_leaves_no_process(tmp_path, capfd):
    make_photos(tmp_path / "photos", 20, 4)
    assert dead_helpers.kill_many(tmp_path, "a worker", 1)
    assert "status 2; " in capfd.readouterr().out
    log = (tmp_path / "a-worker-0.log").read_text()
    # A thread of multiprocessing may report the lost connection with a traceback; the main thread must not.
    assert "__main__" not in log
    assert any(line.startswith("dctnet: a DataLoader worker has died: ") for line in log.splitlines()), log


def test_kills_within_saves_leave_whole_checkpoints(tmp_path):
    assert kill_saving.kills("dctnet", 6, tmp_path, elsewhere=True) == {"whole": 6}


def test_a_flipped_bit_in_any_file_is_found(own_photos, tmp_path, capsys):
    assert flip_bits.campaign(own_photos, tmp_path, seed=0) == 0
    assert "sha256sum --check finds 27 of 27 files" in capsys.readouterr().out


@needs_turbojpeg
def test_no_mutant_crashes_a_reader(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fuzz", "--mutants", "90", "--state", str(tmp_path / "state")])
    assert fuzz_jpeg.main() == 0
    assert "coefficients: 90 mutants: 0 crash, 0 hang, 0 wrong; refused " in capsys.readouterr().out


def test_mutants_differ_from_their_seeds_and_are_reproducible():
    for number in range(60):
        data, seed = fuzz_jpeg.mutate(number)
        assert data != fuzz_jpeg.make_seeds()[seed][0]
        assert fuzz_jpeg.mutate(number) == (data, seed)


def change_table(data: bytes) -> bytes:
    place = data.index(b"\xff\xdb") + 6
    return data[:place] + bytes((data[place] ^ 8,)) + data[place + 1 :]


@pytest.mark.parametrize("reader", ["pillow", *(pytest.param(r, marks=needs_turbojpeg) for r in fuzz_jpeg.READERS[1:])])
def test_outcomes_of_mutants(tmp_path, monkeypatch, reader):
    changes = {
        "appended": (lambda data: data + b"more", "unchanged"),
        "truncated": (lambda data: data[:-60], "refused"),
        "another table": (change_table, "undetected"),
        "zeros in front of the end": (lambda data: data[:-2] + bytes(20) + data[-2:], "unchanged"),
    }
    comparison = fuzz_jpeg.Comparison(tmp_path)
    for name, (change, outcome) in changes.items():
        monkeypatch.setattr(
            fuzz_jpeg, "mutate", lambda number, change=change: (change(fuzz_jpeg.make_seeds()[0][0]), 0)
        )
        assert comparison.outcome(0, reader) == outcome, name


@pytest.mark.parametrize(
    ("error", "outcome"), [(ImageError("a", "b\nc"), "several lines"), (KeyError("x"), "KeyError")]
)
def test_other_exceptions_and_reasons_of_several_lines_are_wrong(tmp_path, monkeypatch, error, outcome):
    comparison = fuzz_jpeg.Comparison(tmp_path)
    comparison.original(fuzz_jpeg.mutate(0)[1], "pillow", "pillow")

    def fail(*_):
        raise error

    monkeypatch.setattr(fuzz_jpeg, "read", fail)
    assert comparison.outcome(0, "pillow").startswith("wrong")
    assert outcome in comparison.outcome(0, "pillow")


@pytest.mark.parametrize(("status", "outcome"), [(-signal.SIGSEGV, "crash"), (-signal.SIGPROF, "hang")])
def test_a_process_that_dies_costs_only_its_current_trial(monkeypatch, status, outcome):
    printed = '0\n"undetected"\n1\n'
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], status, printed, ""))
    assert fuzz_jpeg.run_piece(0, 9) == ["undetected", outcome]


def test_fuzzing_continues_after_a_crash_and_after_an_interruption(tmp_path, monkeypatch, capsys):
    begun = []

    def piece(start, stop):
        begun.append((start, stop))
        return ["refused", "crash"] if start == 0 else ["refused"] * (stop - start)

    monkeypatch.setattr(fuzz_jpeg, "run_piece", piece)
    for mutants, status in ((2, 1), (4, 1)):
        monkeypatch.setattr(sys, "argv", ["fuzz", "--mutants", str(mutants), "--state", str(tmp_path / "state")])
        assert fuzz_jpeg.main() == status
    assert begun == [(0, 6), (2, 6), (6, 12)]
    assert sum(json.loads((tmp_path / "state").read_text())["counts"].values()) == 12
    assert "turbojpeg: 4 mutants: 1 crash, 0 hang, 0 wrong; refused 75.00 %" in capsys.readouterr().out


@needs_turbojpeg
def test_thin_files_are_smaller_with_fewer_channels(tmp_path):
    make_planted(tmp_path / "photos", train_per_class=2, val_per_class=1)
    files = thin_files.choose(tmp_path / "photos", 6)
    sizes = [sum(map(len, thin_files.thinned(files, count))) for count in (3, 24, 192)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1] / 2
    assert any("24 channels" in row for row in thin_files.speeds(files[:2], rounds=1))


def test_the_table_of_backbones_has_a_row_for_each_network():
    cells = backbones.row("test_convnext", batch=2, rounds=1).strip("| ").split(" | ")
    assert cells[0] == "test_convnext"
    assert [cells[2], cells[4], cells[7]] == ["160", "320", "160"]  # native sizes
    assert cells[-3:] == ["not measured yet"] * 3
