"""Mask files are written atomically and read as untrusted input."""

import errno
import json
import os

import pytest

from dctnet.errors import UserError
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.maskfile import read_mask, resolve_channels, write_mask
from dctnet.frequency.selections import named_channels


@pytest.fixture
def mask(tmp_path):
    path = tmp_path / "mask.json"
    write_mask(path, ChannelSet("x", (0, 1, 64)), [i / 191 for i in range(192)], {"gate": "static", "image_size": 224})
    return path


def test_mask_is_read_as_written(mask):
    kept, probability = read_mask(mask)
    assert kept.indices == (0, 1, 64)
    assert probability == pytest.approx([i / 191 for i in range(192)], abs=1e-6)


def test_format_is_as_documented(mask):
    content = json.loads(mask.read_text())
    assert content["format"] == "dctnet-mask"
    assert content["version"] == 1
    assert content["index"] == "64*component + 8*v + u"
    assert content["components"] == ["Y", "Cb", "Cr"]
    assert content["block_size"] == 8


def test_missing_probability_is_null(tmp_path):
    write_mask(tmp_path / "m.json", named_channels("dc"))
    assert read_mask(tmp_path / "m.json")[1] is None


def changed(mask, **changes):
    content = json.loads(mask.read_text())
    for key, value in changes.items():
        if value is KeyError:
            del content[key]
        else:
            content[key] = value
    mask.write_text(json.dumps(content))
    return mask


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "'format' is 'other', must be 'dctnet-mask'"),
        ({"version": 2}, "'version' is 2, must be 1"),
        ({"version": True}, "'version' is True"),
        ({"block_size": 16}, "'block_size' is 16"),
        ({"components": ["R", "G", "B"]}, "'components'"),
        ({"channels": []}, "'channels' is"),
        ({"channels": list(range(193))}, "'channels' is"),
        ({"channels": "all"}, "'channels' is 'all'"),
        ({"channels": [0, 1.0]}, r"channels\[1\] is 1.0"),
        ({"channels": [True]}, r"channels\[0\] is True"),
        ({"channels": [0, 192]}, "index 192 at position 1 is outside"),
        ({"channels": [0, 10**400]}, "outside"),
        ({"channels": [-1]}, "index -1 at position 0"),
        ({"channels": [4, 4]}, "index 4 at position 1 is repeated"),
        ({"channels": [5, 4]}, "index 4 at position 1 is out of order"),
        ({"keep_probability": [0.5] * 191}, "list of 192"),
        ({"keep_probability": [0.5] * 191 + [1.5]}, r"keep_probability\[191\] is 1.5"),
        ({"keep_probability": [10**400] * 192}, r"keep_probability\[0\] is 1000.*, must be a number in 0…1"),
        ({"keep_probability": [float("nan")] * 192}, "NaN is not finite"),
        ({"keep_probability": [float("inf")] * 192}, "Infinity is not finite"),
        ({"keep_probability": ["1"] * 192}, r"keep_probability\[0\]"),
        ({"source": []}, "'source' is"),
        ({"source": {"a": {"b": 1}}}, "source"),
        ({"channels": KeyError}, "'channels' is missing"),
        ({"extra": 1}, "unknown key 'extra'"),
    ],
)
def test_error_names_the_broken_place_and_a_valid_value(mask, changes, message):
    with pytest.raises(match=message) as caught:
        read_mask(changed(mask, **changes))
    assert str(mask) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "raw", [b"", b"not json", b"[]", b"\xff\xfe\x00", b"[" * 100_000, b'{"format": 1, "format": 2}', b"9" * 5000]
)
def test_other_files_are_rejected_in_one_line(tmp_path, raw):
    path = tmp_path / "bad.json"
    path.write_bytes(raw)
    with pytest.raises(UserError) as caught:
        read_mask(path)
    assert "\n" not in str(caught.value)


def test_huge_file_is_not_parsed(tmp_path):
    path = tmp_path / "huge.json"
    path.write_bytes(b" " * (1 << 20))
    with pytest.raises(match="1,048,576 bytes; at most 262,144 are read"):
        read_mask(path)


def test_missing_file_and_folder_are_rejected(tmp_path):
    with pytest.raises(match="No such file"):
        read_mask(tmp_path / "none.json")
    with pytest.raises(match="directory"):
        read_mask(tmp_path)


def test_pipe_and_device_are_rejected_without_opening_them(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path / "pipe.json", "/dev/zero"):
        with pytest.raises(match="a pipe, socket or device, not a file"):
            read_mask(path)


def test_invalid_content_is_not_written(tmp_path):
    with pytest.raises(UserError):
        write_mask(tmp_path / "m.json", named_channels("dc"), [2.0] * 192)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_keeps_the_old_mask(mask, monkeypatch):
    before = mask.read_bytes()

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(match="mask.json: cannot be written: No space left on device") as caught:
        write_mask(mask, named_channels("dc"))
    assert "\n" not in str(caught.value)
    assert [(path.name, path.read_bytes()) for path in mask.parent.iterdir()] == [("mask.json", before)]


def test_folder_at_the_path_of_the_mask_is_an_error(tmp_path):
    (tmp_path / "m.json").mkdir()
    with pytest.raises(match="m.json: cannot be written: Is a directory"):
        write_mask(tmp_path / "m.json", named_channels("dc"))
    assert list(tmp_path.iterdir()) == [tmp_path / "m.json"]


def test_spec_is_a_name_a_file_or_a_list(mask):
    assert resolve_channels("square-24") == named_channels("square-24")
    assert resolve_channels(str(mask)).indices == (0, 1, 64)
    assert resolve_channels([1, 2]).indices == (1, 2)
    with pytest.raises(UserError, match="Did you mean"):
        resolve_channels("squar-24")
