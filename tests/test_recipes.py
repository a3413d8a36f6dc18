"""The recipes for GPUs run in small on a CPU, compare like with like, and cost what their headers say."""

import json
import re
import shlex
import shutil
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from dctnet.cli import main
from dctnet.frequency.maskfile import read_mask, write_mask
from dctnet.frequency.selections import named_channels
from dctnet.training.module import FrequencyClassifier
from tests.conftest import paint

CONFIGS = Path(__file__).parents[1] / "configs"
CLASSES = {"imagenette": 10, "imagenet100": 100, "imagenet": 1000}
STATIC = {"static24": 24, "static48": 48, "static64": 64}
ARMS = ("gate", *STATIC, "rgb")
# What must be changed on a machine without GPUs, and what makes it small; all else is the recipe's own.
SMALL = """--data.image_size 96 --data.batch_size 4 --data.num_workers 0 --trainer.accelerator cpu --trainer.devices 1
    --trainer.strategy auto --trainer.max_epochs 1 --trainer.limit_train_batches 1 --trainer.limit_val_batches 1
    --trainer.enable_progress_bar false"""
# A checkpoint of ResNet-50 takes 200 MB; only the gate's is read again.
UNSAVED = "--trainer.logger false --trainer.enable_checkpointing false"

each_recipe = pytest.mark.parametrize(("data", "arm"), [(data, arm) for data in CLASSES for arm in ARMS])
each_set = pytest.mark.parametrize("data", CLASSES)


def read(data: str, arm: str) -> dict[str, Any]:
    """A recipe's options."""
    return yaml.safe_load((CONFIGS / f"{data}_{arm}.yaml").read_text())


def header(data: str, arm: str) -> str:
    """A recipe's header, without the marks of a comment."""
    lines = (CONFIGS / f"{data}_{arm}.yaml").read_text().splitlines()
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines if line.startswith("#"))


def commands(data: str, arm: str) -> list[list[str]]:
    """The commands of a header, in order, without ``dctnet``."""
    return [
        shlex.split(line)[1:] for line in header(data, arm).replace("\\\n", " ").splitlines() if "  dctnet " in line
    ]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folder of somebody who has recipes, an ImageNet of a hundred classes, and has fetched imagenette."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(CONFIGS, folder / "configs")
    subsets = json.loads(resources.files("dctnet.data").joinpath("imagenet_subsets.json").read_text())
    for root, names in (("imagenet", subsets["imagenet100"]), ("imagenette/imagenette2", subsets["imagenette"])):
        for split in ("train", "val"):
            for seed, name in enumerate(names):
                (folder / "data" / root / split / name).mkdir(parents=True)
                paint((90, 120, 150), (40, 32), seed).save(folder / "data" / root / split / name / "0.jpg")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def here(place, monkeypatch):
    """The same as the current folder, out of reach of the network."""

    def refuse(*args, **kwargs):
        raise AssertionError("imagenette would be downloaded")

    monkeypatch.setattr("dctnet.data.download.download_url", refuse)
    monkeypatch.setattr(sys, "argv", ["dctnet"])
    monkeypatch.chdir(place)
    return place


@each_recipe
def test_recipe_runs_in_small(data, arm, here, tmp_path):
    for count in STATIC.values():
        mask = here / "checkpoints" / f"{data}_gate" / f"mask{count}.json"
        mask.parent.mkdir(parents=True, exist_ok=True)
        write_mask(mask, named_channels(f"zigzag-{count}"))
    unsaved = [*shlex.split(UNSAVED), "--trainer.default_root_dir", str(tmp_path)]
    assert main([*commands(data, arm)[-1], *shlex.split(SMALL), *unsaved]) == 0


def test_commands_lead_from_the_gate_by_its_mask_to_a_static_recipe(here, tmp_path, capsys):
    shutil.rmtree(here / "checkpoints", ignore_errors=True)
    (fit,) = commands("imagenette", "gate")
    assert main([*fit, *shlex.split(SMALL)]) == 0
    export, fit = commands("imagenette", "static24")
    assert main(export) == 0
    for mask in (read("imagenette", "static24")["data"]["channels"], "checkpoints/imagenette_gate/version_0/mask.json"):
        assert len(read_mask(here / mask)[0]) == 24
    capsys.readouterr()
    unsaved = [*shlex.split(UNSAVED), "--trainer.default_root_dir", str(tmp_path)]
    assert main([*fit, *shlex.split(SMALL), *unsaved]) == 0
    assert "24 of 192" in capsys.readouterr().out


@each_set
def test_other_commands_are_those_with_other_names_and_numbers(data):
    for arm in ARMS:
        models = commands("imagenette", "static24" if arm in STATIC else arm)
        for command, model in zip(commands(data, arm), models, strict=True):
            renamed = " ".join(model).replace("imagenette", data).replace("24", str(STATIC.get(arm, 24)))
            assert " ".join(command) == renamed


def test_readme_gives_the_same_commands():
    readme = " ".join((CONFIGS.parent / "README.md").read_text().split())
    for arm in ("gate", "static24", "rgb"):
        for command in commands("imagenette", arm):
            assert f"`dctnet {' '.join(command)}`" in readme


@each_set
def test_static_recipes_differ_in_their_channels_alone(data):
    recipes = [read(data, arm) for arm in STATIC]
    for recipe, arm in zip(recipes, STATIC, strict=True):
        assert recipe.pop("name") == f"{data}_{arm}"
        assert recipe["data"].pop("channels") == f"checkpoints/{data}_gate/mask{STATIC[arm]}.json"
    assert recipes[0] == recipes[1] == recipes[2]


@each_set
def test_arms_share_budget_optimiser_and_photographs(data):
    recipes = [read(data, arm) for arm in ARMS]
    # What makes an arm; anything else that differed would be compared along with it.
    own = {"data": {"channels", "image_size", "dct"}, "model": {"input", "gate", "keep", "gate_lr"}}
    for recipe in recipes:
        del recipe["name"]
        for part, names in own.items():
            recipe[part] = {key: value for key, value in recipe[part].items() if key not in names}
    assert all(recipe == recipes[0] for recipe in recipes[1:])
    assert {"optimizer", "lr", "momentum", "weight_decay", "warmup", "label_smoothing"} <= recipes[0]["model"].keys()
    assert {"batch_size", "min_scale", "crop_fraction"} <= recipes[0]["data"].keys()
    assert recipes[0]["trainer"]["strategy"] == "ddp"
    assert recipes[0]["trainer"]["precision"] == "bf16-mixed"


@each_set
def test_learning_rate_and_warmup_are_those_that_the_comments_claim(data):
    recipe = read(data, "gate")
    images = recipe["data"]["batch_size"] * recipe["trainer"]["devices"]
    assert recipe["model"]["lr"] == pytest.approx(0.1 * images / 256)
    assert recipe["model"]["warmup"] * recipe["trainer"]["max_epochs"] == pytest.approx(5, abs=0.05)


@each_recipe
def test_header_gives_the_cost_that_is_counted(data, arm):
    recipe = read(data, arm)
    channels = list(range({"gate": 192, "rgb": 3, **STATIC}[arm]))
    with torch.device("meta"):  # shapes alone are counted
        classes, size = [str(number) for number in range(CLASSES[data])], recipe["data"]["image_size"]
        cost = FrequencyClassifier(classes, channels, size, **recipe["model"]).cost()
    gmac, values = re.search(
        r"^Cost: ([\d.]+) GMAC and ([\d,]+) input values an image", header(data, arm), re.M
    ).groups()
    assert float(gmac) == pytest.approx(cost["gmac"], abs=0.005)
    assert int(values.replace(",", "")) == cost["values"]


@each_recipe
def test_header_says_that_it_has_not_been_run(data, arm):
    assert "Not run: " in header(data, arm)
    assert "Estimated, not measured" in " ".join(header(data, arm).split())
