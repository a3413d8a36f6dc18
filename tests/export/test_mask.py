"""Which channels a mask holds, its heat map, and the verb export-mask."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from dctnet.errors import UserError
from dctnet.export.heatmap import draw_heat_map
from dctnet.export.mask import choose_kept, export_mask
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.maskfile import read_mask
from tests.commands import CKPT, fails, run
from tests.conftest import make_photos

pytestmark = pytest.mark.usefixtures("small_backbones")

PROBABILITY = [0.9 if i in (3, 70, 150) else 0.6 if i == 5 else 0.01 for i in range(192)]


def test_a_mask_holds_the_channels_with_a_keep_probability_above_one_half():
    assert choose_kept(PROBABILITY, range(192), None).indices == (3, 5, 70, 150)


def test_keep_takes_the_most_probable_of_the_offered_channels():
    assert choose_kept(PROBABILITY, range(192), 3).indices == (3, 70, 150)
    assert choose_kept(PROBABILITY, range(64), 2).indices == (3, 5)
    assert len(choose_kept(PROBABILITY, range(192), 192)) == 192


@pytest.mark.parametrize("keep", [0, -1, 65])
def test_keep_out_of_range_is_refused(keep):
    with pytest.raises(UserError, match=f"1…64.*got {keep}"):
        choose_kept(PROBABILITY, range(64), keep)


def test_a_gate_that_keeps_no_channel_is_refused():
    with pytest.raises(UserError, match="--keep K"):
        choose_kept([0.1] * 192, range(192), None)


def test_the_heat_map_outlines_only_the_kept_channels(tmp_path):
    orange = (213, 94, 0)
    counts = []
    for kept in ((3,), (3, 70, 150)):
        draw_heat_map(tmp_path / "m.png", PROBABILITY, ChannelSet("m", kept), range(192))
        pixels = np.asarray(Image.open(tmp_path / "m.png").convert("RGB"))
        counts.append(int((pixels == orange).all(-1).sum()))
    assert counts[0] > 300
    assert counts[1] == pytest.approx(3 * counts[0], rel=0.05)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("pipe.json", "pipe.json: exists and is no regular file"),
        ("folder", "folder: exists and is no regular file"),
        ("device.json", "device.json: exists and is no regular file"),
        ("taken.json", "taken.png: exists and is no regular file"),
        ("none/m.json", "the folder .*none does not exist"),
        ("m.png", "m.png: this is the name of the heat map"),
        ("", "exists and is no regular file"),
    ],
)
def test_an_output_that_is_not_a_new_or_regular_file_is_refused_before_the_checkpoint_is_read(tmp_path, out, message):
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "device.json").symlink_to("/dev/null")
    for name in ("folder", "taken.png"):
        (tmp_path / name).mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=message):
        export_mask(str(tmp_path / "none.ckpt"), str(tmp_path / out) if out else "")
    assert sorted(tmp_path.iterdir()) == before


def test_export_counts_again_and_keeps_k_channels(gated_run, tmp_path):
    out = tmp_path / "m.json"
    assert run("export-mask", gated_run / CKPT, "--out", out, "--keep", 3) == 0
    three, probability = read_mask(out)
    six, fitted = read_mask(gated_run / "out/tiny/version_0/mask.json")
    assert set(three.indices) < set(six.indices)
    assert probability == pytest.approx(fitted, abs=1e-5)
    assert out.with_suffix(".png").is_file()


def test_export_without_a_number_keeps_the_budget_of_the_fit(gated_run, tmp_path):
    assert run("export-mask", gated_run / CKPT, "--out", tmp_path / "m.json") == 0
    expected = read_mask(gated_run / "out/tiny/version_0/mask.json")[0].indices
    assert read_mask(tmp_path / "m.json")[0].indices == expected


def test_export_reads_another_data_set_and_refuses_a_bad_file(gated_run, tmp_path, capsys):
    photos = make_photos(tmp_path / "photos", 1, 1)
    export = ["export-mask", gated_run / CKPT, "--out", tmp_path / "m.json", "--data.root", photos]
    assert run(*export) == 0
    assert json.loads((tmp_path / "m.json").read_text())["source"]["images"] == 3
    (photos / "val/red/0.jpg").write_bytes(b"")
    assert str(photos / "val/red/0.jpg") in fails(capsys, *export)
