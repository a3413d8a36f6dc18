"""The calibrated set: equal energy and equal single-band accuracy, in the files as a network reads them."""

import json

import numpy as np
import pytest
import torch

from dctnet.data.folders import list_classes
from dctnet.data.planes import read_planes
from dctnet.data.planted import make_planted
from dctnet.data.planted_bands import BANDS, CODES, RMS, SIDE, decode, synthesize
from dctnet.errors import UserError
from dctnet.frequency.bands import band_mask, project

CLASSES = len(CODES)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return make_planted(tmp_path_factory.mktemp("bands") / "set", train_per_class=40, val_per_class=40, design="bands")


@pytest.fixture(scope="module")
def splits(planted):
    """Luma and targets of each split."""
    found = {}
    for split in ("train", "val"):
        files = list_classes(planted / split, [f"class{target}" for target in range(CLASSES)])
        luma = read_planes(files.paths, "channels", SIDE, 1.0)[:, 0] - 128
        found[split] = luma, np.array(files.targets)
    return found


def test_all_bands_have_the_same_energy(splits):
    for luma, _ in splits.values():
        rms = torch.stack([project(luma, band_mask(band, SIDE)).square().mean((-2, -1)).sqrt() for band in BANDS])
        torch.testing.assert_close(rms, torch.full_like(rms, RMS), rtol=0.03, atol=0)


def accuracies(splits):
    """Share of right answers of a nearest-centroid classifier on each band alone, and of the images it is from."""
    (train, targets), (val, truth) = splits["train"], splits["val"]
    found = []
    for band in BANDS:
        centroids = np.stack([decode(train.numpy(), band)[targets == target].mean(0) for target in range(CLASSES)])
        distances = ((decode(val.numpy(), band)[:, None] - centroids) ** 2).sum(-1)
        found.append((distances.argmin(1) == truth).mean())
    return np.array(found), len(truth)


def test_each_band_alone_classifies_equally_well(splits):
    found, images = accuracies(splits)
    error = np.sqrt(found.mean() * (1 - found.mean()) / images)
    assert found.min() > 3 / CLASSES
    # The range of independent estimates of one accuracy is above four standard errors in 2 of 100 draws.
    assert np.ptp(found) < 4 * error


def test_all_bands_together_classify_better_than_one(splits):
    (train, targets), (val, truth) = splits["train"], splits["val"]
    code = [np.concatenate([decode(part.numpy(), band) for band in BANDS], 1) for part in (train, val)]
    centroids = np.stack([code[0][targets == target].mean(0) for target in range(CLASSES)])
    together = (((code[1][:, None] - centroids) ** 2).sum(-1).argmin(1) == truth).mean()
    assert together > accuracies(splits)[0].max() + 0.1


def test_a_flip_keeps_the_code():
    image = synthesize(1, np.random.default_rng(0))[None].astype(float)
    for band in BANDS:
        np.testing.assert_allclose(decode(image[..., ::-1], band), decode(image, band), atol=1e-9)


def test_the_folder_knows_its_design(planted, tmp_path):
    settings = json.loads((planted / "planted.json").read_text())
    assert settings["design"] == "bands"
    assert not (planted / "truth.json").exists()
    assert make_planted(planted, train_per_class=40, val_per_class=40, design="bands") == planted
    with pytest.raises(UserError, match="was made with"):
        make_planted(planted, train_per_class=40, val_per_class=40)
