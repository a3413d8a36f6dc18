"""Files and folders appear complete or not at all."""

import errno
import os

import pytest

from dctnet.errors import UserError
from dctnet.io.atomic import atomic_folder, atomic_open, atomic_write


def fail_with_full_disk(_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_file_is_replaced_at_the_end_of_the_block(tmp_path):
    path = tmp_path / "a.csv"
    atomic_write(path, b"old")
    with atomic_open(path, "w", encoding="utf-8", newline="") as file:
        file.write("new, μ\r\n")
        file.flush()
        assert path.read_bytes() == b"old"
        assert (tmp_path / f".a.csv.{os.getpid()}").exists()
    assert path.read_bytes() == "new, μ\r\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_exception_in_the_block_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a"
    atomic_write(path, b"old")
    with pytest.raises(ZeroDivisionError), atomic_open(path) as file:
        file.write(b"%d" % (1 // 0))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a"
    atomic_write(path, b"old")
    monkeypatch.setattr(os, "fsync", fail_with_full_disk)
    with pytest.raises(OSError, match="No space left") as caught:
        atomic_write(path, b"new")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_error_names_the_final_path_and_errors_of_other_files_keep_theirs(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        atomic_write(tmp_path / "no" / "a", b"")
    assert caught.value.filename == str(tmp_path / "no" / "a")
    with pytest.raises(FileNotFoundError) as caught, atomic_open(tmp_path / "a"):
        open(tmp_path / "other")
    assert caught.value.filename == str(tmp_path / "other")


def test_file_and_folder_are_synced_before_and_after_the_rename(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append((os.path.isdir(fd), (tmp_path / "a").exists())))
    atomic_write(tmp_path / "a", b"x")
    assert synced == [(False, False), (True, True)]


def test_fixed_suffix_replaces_what_a_killed_process_left(tmp_path):
    (tmp_path / ".a.partial").write_bytes(b"left behind by another process")
    with atomic_open(tmp_path / "a", suffix="partial") as file:
        file.write(b"x")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"a": b"x"}


def test_folder_appears_when_the_block_ends(tmp_path):
    with atomic_folder(tmp_path / "a" / "b") as folder:
        (folder / "file").write_bytes(b"x")
        assert not (tmp_path / "a" / "b").exists()
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"x"
    with pytest.raises(KeyError), atomic_folder(tmp_path / "c"):
        raise KeyError
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a", "b", "file"]


def test_first_of_two_folders_wins(tmp_path):
    with atomic_folder(tmp_path / "a") as folder:
        (folder / "slow").write_bytes(b"")
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "fast").write_bytes(b"")
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["fast"]
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_errors_of_folders_name_the_final_path(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match=r"file/a: cannot be created"), atomic_folder(tmp_path / "file" / "a"):
        pass
    with pytest.raises(OSError, match="No space left") as caught, atomic_folder(tmp_path / "a"):
        fail_with_full_disk(None)
    assert caught.value.filename == str(tmp_path / "a")
