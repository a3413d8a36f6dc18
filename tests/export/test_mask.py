"""Selection of a mask's channels, and the heat map."""

import os

import numpy as np
import pytest
from PIL import Image

from dctnet.errors import UserError
from dctnet.export.heatmap import draw_heat_map
from dctnet.export.mask import choose_kept, export_mask
from dctnet.frequency.channels import ChannelSet

PROBABILITY = [0.9 if i in (3, 70, 150) else 0.6 if i == 5 else 0.01 for i in range(192)]


def test_without_a_budget_probabilities_above_one_half_are_kept():
    assert choose_kept(PROBABILITY, range(192), None).indices == (3, 5, 70, 150)


def test_keep_takes_the_most_probable_channels():
    assert choose_kept(PROBABILITY, range(192), 3).indices == (3, 70, 150)
    assert choose_kept(PROBABILITY, range(64), 2).indices == (3, 5)
    assert len(choose_kept(PROBABILITY, range(192), 192)) == 192


@pytest.mark.parametrize("keep", [0, -1, 65])
def test_keep_out_of_range_is_refused(keep):
    with pytest.raises(UserError, match=f"1…64.*got {keep}"):
        choose_kept(PROBABILITY, range(64), keep)


def test_gate_that_keeps_nothing_is_refused():
    with pytest.raises(UserError, match="--keep K"):
        choose_kept([0.1] * 192, range(192), None)


def test_heat_map_outlines_the_kept_channels_only(tmp_path):
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
def test_invalid_out_is_refused_before_the_checkpoint_is_read(tmp_path, out, message):
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "device.json").symlink_to("/dev/null")
    for name in ("folder", "taken.png"):
        (tmp_path / name).mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=message):
        export_mask(str(tmp_path / "none.ckpt"), str(tmp_path / out) if out else "")
    assert sorted(tmp_path.iterdir()) == before
