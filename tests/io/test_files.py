"""Only regular files of an accepted size are read."""

import hashlib
import os

import pytest

from dctnet.io.files import file_sha256, open_regular


def test_sha256_is_that_of_the_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert file_sha256(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_pipe_device_folder_and_large_file_are_refused_with_a_reason(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(11))
    for path, reason in (
        (tmp_path / "pipe", "a pipe, socket or device, not a file"),
        ("/dev/zero", "a pipe, socket or device, not a file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "large", "11 bytes; at most 10 are read"),
        (tmp_path / "none", "No such file or directory"),
    ):
        with pytest.raises(OSError, match=reason) as caught, open_regular(path, 10):
            pass
        assert caught.value.strerror == reason
        assert caught.value.filename == str(path)
    with open_regular(tmp_path / "large", 11) as file:
        assert file.read() == bytes(11)
