"""Every input pipeline reads the same photographs, and the report has its throughput and bytes per image."""

import importlib.util
import json

import pytest
import torch

from dctnet.data.images import turbojpeg
from dctnet.errors import UserError
from dctnet.frequency.maskfile import write_mask
from dctnet.frequency.selections import named_channels
from dctnet.studies.throughput.pipelines import make_pipelines
from dctnet.studies.throughput.study import throughput

NAMES = {"rgb_torchvision", "rgb_pillow", "pixels", "pixels_device_dct", "packed_cold", "packed_warm", "packed_ram"}
NAMES |= {"rgb_store", "rgb_store_float", "packed_float"}
NAMES |= {"webdataset_jpeg", "webdataset_raw"} if importlib.util.find_spec("webdataset") else set()
NAMES |= {"packed_device"} if torch.cuda.is_available() else set()
NAMES |= {"coefficients"} if turbojpeg.describe() else set()


def test_the_report_has_every_pipeline(photos, tmp_path, capsys):
    throughput(str(photos / "train"), "zigzag-6", str(tmp_path / "out"), images=5, rounds=2, image_size=64)
    report = json.loads((tmp_path / "out" / "throughput.json").read_text())
    assert report["paths"].keys() == NAMES
    assert report["images"] == 5
    assert {"torch", "torchvision", "dctnet"} <= report["versions"].keys()
    assert report["machine"]
    assert report["paths"]["rgb_torchvision"]["ratio"] == 1
    assert all(row["images_per_second"] > 0 for row in report["paths"].values())
    printed = capsys.readouterr().out
    assert all(name in printed for name in NAMES)
    assert (tmp_path / "out" / "throughput.png").read_bytes().startswith(b"\x89PNG")


def test_control_characters_in_names_are_escaped(photos, tmp_path, capsys):
    root, mask = tmp_path / "a\n\x1b[31m$x_{", tmp_path / "m\n.json"
    root.symlink_to(photos / "train")
    write_mask(mask, named_channels("dc"))
    capsys.readouterr()
    throughput(str(root), str(mask), str(tmp_path / "out\n"), images=1, rounds=1, image_size=64)
    printed = capsys.readouterr().out
    assert all(line.isprintable() for line in printed.splitlines())
    assert f"1 photographs of {tmp_path}/a\\n\\x1b[31m$x_{{, mean" in printed
    assert f"\n{tmp_path}/m\\n.json at 64 px" in printed
    assert printed.endswith(f"{tmp_path}/out\\n/throughput.png\n")


def test_bytes_per_image_are_those_of_the_tensors(photos, tmp_path):
    files = sorted(map(str, (photos / "train" / "blue").iterdir()))[:4]
    pipelines = make_pipelines(files, named_channels("zigzag-6"), 64, tmp_path)
    assert pipelines["rgb_torchvision"](0) == 4 * 3 * 224 * 224 * 4
    assert pipelines["rgb_pillow"](0) == 4 * 3 * 224 * 224
    assert pipelines["rgb_store"](0) == 4 * 3 * 224 * 224 + 4
    assert pipelines["rgb_store_float"](0) == 4 * 3 * 224 * 224 * 4
    assert pipelines["packed_float"](0) == 4 * 6 * 8 * 8 * 4
    assert pipelines["pixels"](0) == 4 * 6 * 8 * 8 * 4
    flips = 4  # one byte per image
    assert pipelines["packed_ram"](0) == pipelines["packed_warm"](0) == 4 * 6 * 8 * 8 + flips


def test_without_libjpeg_turbo_the_other_pipelines_are_measured(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(turbojpeg, "describe", lambda: None)
    files = sorted(map(str, (photos / "train" / "blue").iterdir()))[:2]
    assert make_pipelines(files, named_channels("dc"), 64, tmp_path).keys() == NAMES - {"coefficients"}
    assert "dctnet doctor" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 0}, "at least 1"),
        ({"image_size": 100}, "multiple of 8"),
        ({"root": "nowhere"}, "no such folder"),
        ({"channels": "squire-24"}, "square-24"),
    ],
)
def test_an_invalid_option_is_an_error(photos, options, message):
    with pytest.raises(UserError, match=message):
        throughput(**{"root": str(photos), **options})


def test_a_folder_without_readable_photographs_is_an_error(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"not a JPEG file")
    with pytest.raises(UserError, match="no readable JPEG file"):
        throughput(str(tmp_path))
