"""Small photographs, small networks, a trained run; and which skips are allowed."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from dctnet.cli import main
from dctnet.data.images import turbojpeg
from tests.small_backbones import small_backbones

needs_turbojpeg = pytest.mark.skipif(turbojpeg.describe() is None, reason="libjpeg-turbo is not found")
DECODERS = ["pillow", "turbojpeg"][: 1 if turbojpeg.describe() is None else 2]  # those of this machine
# pytest-xdist runs several workers; more threads would only wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start
os.environ["JSONARGPARSE_DEPRECATION_WARNINGS"] = "off"  # they are about Lightning's calls
torch.set_num_threads(1)

COLOURS = {"blue": (60, 90, 200), "green": (70, 170, 80), "red": (200, 70, 60)}


def paint(colour: tuple[int, int, int], size: tuple[int, int], seed: int) -> Image.Image:
    """A colour with a slope and some noise, as RGB."""
    width, height = size
    draw = np.random.default_rng(seed)
    slope = np.linspace(-30, 30, width)[None, :, None] * draw.uniform(0.5, 1.5)
    noise = draw.normal(0, 6, (height, width, 1))
    return Image.fromarray(np.clip(np.array(colour) + slope + noise, 0, 255).astype(np.uint8))


def make_photos(root: Path, train: int, val: int) -> Path:
    """Class folders of JPEG files under train/ and val/."""
    for split, count in (("train", train), ("val", val)):
        for target, (name, colour) in enumerate(COLOURS.items()):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                size = ((80, 64), (64, 96), (72, 72))[number % 3]
                seed = 1000 * target + 100 * (split == "val") + number
                paint(colour, size, seed).save(folder / f"{number}.jpg", quality=92)
    return root


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Three easy classes: 12 training and 5 validation images each. Not to be changed; see ``own_photos``."""
    return make_photos(tmp_path_factory.mktemp("photos"), 12, 5)


@pytest.fixture
def own_photos(tmp_path):
    """The same, smaller, for tests that damage files."""
    return make_photos(tmp_path / "photos", 6, 3)


@pytest.fixture(autouse=True)
def plain_arguments(monkeypatch):
    """LightningCLI warns when it is given arguments while the process has some of its own."""
    monkeypatch.setattr(sys, "argv", ["dctnet"])


@pytest.fixture(scope="module", name="small_backbones")
def small_backbones_fixture():
    """Replaces torchvision's ResNets by one small network, for a module's tests and the processes that they start."""
    with small_backbones():
        yield


GATED = {
    "seed_everything": 0,
    "name": "tiny",
    "data": {"channels": "square-24", "image_size": 64, "batch_size": 6, "num_workers": 0},
    "model": {"gate": "static", "keep": 6, "gate_lr": 0.3, "lr": 0.05},
    "trainer": {"max_epochs": 8, "accelerator": "cpu", "enable_progress_bar": False, "log_every_n_steps": 5},
}


@pytest.fixture(scope="session")
def gated_run(tmp_path_factory):
    """A folder with ``photos``, the recipe ``tiny.yaml`` and ``out/tiny/version_0`` of a gated fit; not to be changed.

    The network is a small one: tests that load the checkpoint need the fixture ``small_backbones``.
    """
    folder = tmp_path_factory.mktemp("gated")
    make_photos(folder / "photos", 12, 5)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(GATED))
    fit = ["fit", "--config", folder / "tiny.yaml", "--data.root", folder / "photos", "--out_dir", folder / "out"]
    with small_backbones(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["dctnet"])
        assert main([str(each) for each in fit]) == 0
    return folder


def pytest_addoption(parser):
    parser.addoption("--allow-skip", action="append", metavar="REASON", help="fail on a skip for any other reason")


def pytest_sessionfinish(session):
    """Fails a run that has more than 40 skips, or one whose reason contains no REASON of --allow-skip."""
    allowed = session.config.getoption("allow_skip")
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if allowed is None or reporter is None:  # xdist's workers have no reporter
        return
    reasons = [report.longrepr[2] for report in reporter.stats.get("skipped", [])]
    unexpected = {reason for reason in reasons if not any(each in reason for each in allowed)}
    if unexpected or len(reasons) > 40:
        reporter.write_line(
            f"\n{len(reasons)} skips, not allowed: {'; '.join(sorted(unexpected)) or 'more than 40'}", red=True
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
