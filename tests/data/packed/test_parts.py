"""Parts of a packing: several processes write one store, the same bytes as one process, also if some are killed."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from dctnet.data.packed import locks, shard, sizes
from dctnet.data.packed.manifest import is_store
from dctnet.errors import UserError
from tests.data.packed.conftest import SMALL, contents, pack_small

pytest.importorskip("fcntl")
FORK = multiprocessing.get_context("fork")  # processes of their own, without the seconds that importing torch takes


def pack_and_die(photos, out, part, kill_at):
    """Packs a part; kills its process between the coefficients and the index of its n-th shard."""
    real, calls = shard.dump_json, []

    def killing(content):
        calls.append(content)
        if len(calls) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.02)  # so that the processes take turns on one core
        return real(content)

    shard.dump_json = killing
    pack_small(photos, out, part=part)


def start(photos, out, part, kill_at=None):
    process = FORK.Process(target=pack_and_die, args=(photos, out, part, kill_at))
    process.start()
    return process


def status(process):
    process.join(60)
    return process.exitcode


def test_three_parts_at_once_with_kills_are_the_store_of_one_process(photos, store, tmp_path):
    out, parts = tmp_path / "out", ["1/3", "2/3", "3/3"]
    running = [start(photos, out, part, kill_at) for part, kill_at in zip(parts, (2, 1, 3), strict=True)]
    assert [status(each) for each in running] == [-signal.SIGKILL] * 3
    assert any(name.startswith(".train") for name in contents(out))
    running = [start(photos, out, part, kill_at) for part, kill_at in zip(parts, (1, 2, None), strict=True)]
    assert [status(each) for each in running] == [-signal.SIGKILL, -signal.SIGKILL, 0]
    with pytest.raises(UserError, match="incomplete"):
        is_store(out)
    running = [start(photos, out, part) for part in parts]
    assert [status(each) for each in running] == [0, 0, 0]
    assert contents(out) == contents(store)


def test_parts_one_after_the_other_say_what_is_missing(photos, store, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    for part in ("2/3", "1/3"):
        pack_small(photos, out, part=part)
        assert f"part {part} is complete; " in capsys.readouterr().out
    # The headers of files that have kept their size are not read by each part again.
    monkeypatch.setattr(sizes, "image_size", None)
    pack_small(photos, out, part="3/3")
    assert "part 3/3 is complete, and so is the store: 51 images" in capsys.readouterr().out
    assert contents(out) == contents(store)
    monkeypatch.undo()
    for part in ("1/3", "1/1", "7/99"):
        pack_small(photos, out, part=part)
        assert f"part {part} is complete, and so is the store\n" in capsys.readouterr().out
    assert contents(out) == contents(store)


def test_parts_of_other_numbers_and_one_process_finish_what_a_part_began(photos, store, tmp_path):
    for last in ({"part": "1/1"}, {}):
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        pack_small(photos, out, part="2/3")
        assert contents(pack_small(photos, out, **last)) == contents(store)


def test_a_part_waits_for_a_claimed_shard_and_writes_it_when_its_writer_is_killed(photos, store, tmp_path):
    out, (reader, writer) = tmp_path / "out", FORK.Pipe(duplex=False)

    def hang(content):
        writer.send("claimed")
        time.sleep(60)

    def hanging():
        shard.dump_json = hang
        pack_small(photos, out, part="1/1")

    first = FORK.Process(target=hanging)
    first.start()
    assert reader.poll(30)
    second = start(photos, out, "1/1")
    second.join(1)
    assert second.is_alive()
    assert not list(out.glob("train-*.json"))
    first.kill()
    assert status(second) == 0
    assert contents(out) == contents(store)


def test_a_part_and_a_packing_of_the_whole_store_exclude_each_other(photos, own_store, tmp_path):
    (own_store / "manifest.json").unlink()
    before = contents(own_store)
    with locks.lock_folder(own_store), pytest.raises(UserError, match="another packing is running there"):
        pack_small(photos, own_store, part="1/2")
    assert contents(own_store) == before
    with locks.lock_part(own_store), pytest.raises(UserError, match="another packing is running there"):
        pack_small(photos, own_store)


@pytest.mark.parametrize("options", [{"channels": "square-12"}, {"image_size": 40}, {"dtype": "int16"}])
def test_a_part_of_another_plan_is_refused_and_nothing_is_overwritten(photos, tmp_path, options):
    out = tmp_path / "out"
    pack_small(photos, out, part="1/2")
    before = contents(out)
    with pytest.raises(UserError, match="packed with other options or files.*; choose another folder") as caught:
        pack_small(photos, out, **{"part": "2/2", **options})
    assert "\n" not in str(caught.value)
    assert contents(out) == before


def test_two_plans_in_one_folder_at_once_end_with_one_store(photos, store, tmp_path):
    out = tmp_path / "out"
    first, second = start(photos, out, "1/1"), FORK.Process(
        target=pack_small, args=(photos, out), kwargs={"part": "1/1", "channels": "square-12"}
    )  # fmt: skip
    second.start()
    assert sorted([status(first), status(second)]) == [0, 1]
    assert contents(out) == contents(
        store if first.exitcode == 0 else pack_small(photos, tmp_path / "other", channels="square-12")
    )


def test_a_part_of_changed_photographs_is_refused(own_photos, tmp_path):
    pack_small(own_photos, tmp_path / "out", part="1/2")
    (own_photos / "train/red/2.jpg").write_bytes((own_photos / "train/red/0.jpg").read_bytes())
    with pytest.raises(UserError, match="packed with other options or files, the photographs, scales or shards"):
        pack_small(own_photos, tmp_path / "out", part="2/2")


def test_a_damaged_shard_of_a_complete_store_is_repaired_by_the_whole_packing(photos, store, own_store):
    (own_store / "train-00001.json").unlink()
    with pytest.raises(UserError, match="train-00001 is damaged; run the same dctnet pack without --part to repair"):
        pack_small(photos, own_store, part="1/1")
    assert contents(pack_small(photos, own_store)) == contents(store)


@pytest.mark.parametrize("content", ["{}", "[]", '{"splits": {"train": 3}}', '{"splits": {"train": {"scales": [32]}}}'])
def test_a_plan_of_something_else_is_refused(photos, tmp_path, content):
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(UserError, match="packed with other options|has other files|not written by"):
        pack_small(photos, tmp_path, part="1/2")
    assert (tmp_path / "plan.json").read_text() == content


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(
            ({"part": part}, r"--part \S*: must be i/n, such as 1/4")
            for part in ("0/3", "4/3", "1/0", "2", "a/b", "-1/2")
        ),
        ({"executor": "ray"}, "--executor ray needs --address HOST:PORT"),
        ({"address": "h:1"}, "--address h:1: of a Ray cluster, needs --executor ray"),
        ({"executor": "ray", "address": "h:1", "part": "1/2", "workers": None}, "without --workers and --part"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_written(photos, tmp_path, options, message):
    with pytest.raises(UserError, match=message) as caught:
        pack_small(photos, tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_file_system_without_locks_is_named(photos, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks.fcntl, "lockf", refuse)
    with pytest.raises(UserError, match="cannot lock a file there, which --part needs: OSError: .*No locks available"):
        pack_small(photos, tmp_path / "out", part="1/2")


def test_nothing_remains_of_a_part_that_could_not_begin(own_photos, tmp_path):
    (own_photos / "train/red/0.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"0\.jpg"):
        pack_small(own_photos, tmp_path / "out", part="1/2")
    assert not (tmp_path / "out").exists()


def test_nothing_is_left_in_a_folder_of_something_else(photos, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="choose another folder"):
        pack_small(photos, tmp_path, part="1/2")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_part_that_waited_while_the_last_one_removed_the_claims_takes_new_ones(tmp_path, monkeypatch):
    fcntl, lock_byte, removals = locks.fcntl, locks._lock_byte, iter([True])

    def lock(file, folder, how):
        lock_byte(file, folder, how)
        if how == fcntl.LOCK_SH and next(removals, False):
            (folder / locks.CLAIMS).unlink()

    monkeypatch.setattr(locks, "_lock_byte", lock)
    with locks.lock_part(tmp_path), open(tmp_path / locks.CLAIMS, "r+b") as other:
        assert locks._claims[tmp_path].fileno() != other.fileno()
        assert os.path.samestat(os.fstat(locks._claims[tmp_path].fileno()), os.fstat(other.fileno()))


@pytest.mark.slow
def test_commands_killed_at_random_moments_end_with_the_same_store(photos, store, tmp_path):
    rng, out = random.Random(0), tmp_path / "out"
    names = {"workers": "--workers", "shard_bytes": "--shard_bytes"}
    options = [f"{names.get(name, f'--data.{name}')}={value}" for name, value in SMALL.items()]
    command = [sys.executable, "-m", "dctnet", "pack", str(photos), str(out), *options]
    options[options.index("--workers=1")] = "--workers=2"
    for last in (False, False, True):
        running = [subprocess.Popen([*command, "--part", f"{i}/3"], stderr=subprocess.DEVNULL) for i in (1, 2, 3)]
        for process in running if not last else ():
            time.sleep(rng.random())
            while process.poll() is None and not list(out.glob("*.bin" if process is running[0] else "plan.json")):
                time.sleep(0.01)
            process.kill()
        statuses = [process.wait(120) for process in running]
    assert statuses == [0, 0, 0]
    assert contents(out) == contents(store)
