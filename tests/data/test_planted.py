"""The generated data set: its files, the channels that depend on the class, and its seed."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from dctnet.data.images.photo import Photo
from dctnet.data.pixels import ChannelReader
from dctnet.data.planted import DISTRACTORS, NUM_CLASSES, TRUTH, _synthesize, class_signs, make_planted
from dctnet.data.transforms import CenterCrop
from dctnet.errors import UserError
from dctnet.frequency.channels import PlanesToChannels
from dctnet.frequency.maskfile import read_mask
from dctnet.frequency.selections import named_channels


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return make_planted(tmp_path_factory.mktemp("planted") / "set", train_per_class=12, val_per_class=1)


def files(root):
    return sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file())


def test_truth_is_a_mask_file(planted):
    kept, probability = read_mask(planted / "truth.json")
    assert kept.indices == TRUTH.indices
    assert [i for i, p in enumerate(probability) if p == 1] == list(TRUTH.indices)
    assert not set(TRUTH.indices) & set(DISTRACTORS)


def test_files_vary_in_size_mode_quality_and_orientation(planted):
    images = [Image.open(p) for p in (planted / "train").rglob("*.jpg")]
    assert {i.format for i in images} == {"JPEG"}
    assert len({i.size for i in images}) == 3
    assert {i.mode for i in images} == {"RGB", "L"}
    assert sum(i.getexif().get(274) == 6 for i in images) == 8
    assert len({tuple(i.quantization[0]) for i in images}) == 4


def test_rotated_file_is_read_upright(planted):
    path = planted / "train" / "class0" / "00000.jpg"
    photo = Photo(path)
    luma = ChannelReader(CenterCrop(1.0), 96, named_channels("luma"))
    energy = luma.to_device(luma.collate([luma.sample(photo, np.random.default_rng(0))])).square().mean((2, 3))[0]
    # Not rotated back, a texture would be in the transposed channel (v and u swapped).
    textures = [i for i in (*TRUTH.indices, *DISTRACTORS) if i < 64]
    asymmetric = [i for i in textures if i % 8 * 8 + i // 8 not in textures]
    assert sum(energy[i] > energy[i % 8 * 8 + i // 8] for i in asymmetric) > 0.8 * len(asymmetric)


def test_files_depend_on_the_seed_only(planted, tmp_path):
    again = make_planted(tmp_path / "again", train_per_class=12, val_per_class=1)
    other = make_planted(tmp_path / "other", seed=1, train_per_class=12, val_per_class=1)
    assert files(planted) == files(again) == files(other)
    one = files(planted)[5]
    assert (planted / one).read_bytes() == (again / one).read_bytes() != (other / one).read_bytes()


def test_only_the_channels_of_the_truth_depend_on_the_class():
    signs, rng = class_signs(NUM_CLASSES, len(TRUTH)), np.random.default_rng(0)
    planes = torch.from_numpy(np.stack([_synthesize(row, rng) for row in signs for _ in range(40)]))
    channels = PlanesToChannels(named_channels("all"))(planes)
    energy = channels.square().mean((2, 3)).log().unflatten(0, (len(signs), 40))
    # F statistic of each channel: variance of the class means over the variance expected by chance.
    ratio = energy.mean(1).var(0) / (energy.var(1).mean(0) / 40)
    assert ratio[list(TRUTH.indices)].min() > 10
    others = [i for i in range(192) if i not in TRUTH.indices]
    assert ratio[others].max() < 6


def test_finished_folder_is_not_changed(planted):
    before = (planted / "planted.json").stat().st_mtime_ns
    assert make_planted(planted, train_per_class=12, val_per_class=1) == planted
    assert (planted / "planted.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("content", [{"seed": 5}, None])
def test_folder_with_other_files_is_not_changed(tmp_path, content):
    (tmp_path / ("planted.json" if content else "letter.txt")).write_text(json.dumps(content))
    with pytest.raises(UserError, match="cannot make the planted data set there"):
        make_planted(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_interruption_leaves_no_folder(tmp_path, monkeypatch):
    calls = []

    def stop(*args, rotated):
        calls.append(args)
        if len(calls) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr("dctnet.data.planted._save", stop)
    with pytest.raises(KeyboardInterrupt):
        make_planted(tmp_path / "set", train_per_class=2, val_per_class=1)
    assert list(tmp_path.iterdir()) == []


def test_counts_below_one_are_an_error(tmp_path):
    with pytest.raises(UserError, match="at least 1"):
        make_planted(tmp_path / "set", train_per_class=0)
