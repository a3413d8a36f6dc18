"""The recipes for GPUs: one fit a data set on few images, equal budgets for all arms, costs as in their headers."""

import json
import re
import shlex
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from dctnet.frequency.maskfile import read_mask, write_mask
from dctnet.frequency.selections import named_channels
from dctnet.training.module import FrequencyClassifier
from tests.commands import run
from tests.conftest import paint
from tests.small_backbones import small_backbones

CONFIGS = Path(__file__).parents[1] / "configs"
CLASSES = {"imagenette": 10, "imagenet100": 100, "imagenet": 1000}
STATIC = {"static24": 24, "static48": 48, "static64": 64}
ARMS = ("gate", *STATIC, "rgb")
# What a machine without GPUs needs, and what makes a fit small; all other options are the recipe's own.
SMALL = shlex.split("""--data.image_size 96 --data.batch_size 4 --data.num_workers 0 --trainer.accelerator cpu
    --trainer.devices 1 --trainer.strategy auto --trainer.max_epochs 1 --trainer.limit_train_batches 2
    --trainer.limit_val_batches 2 --trainer.enable_progress_bar false""")
# A checkpoint of ResNet-50 takes 200 MB.
UNSAVED = ["--trainer.logger", "false", "--trainer.enable_checkpointing", "false"]

each_recipe = pytest.mark.parametrize(("data", "arm"), [(data, arm) for data in CLASSES for arm in ARMS])
each_set = pytest.mark.parametrize("data", CLASSES)


def read(data: str, arm: str) -> dict[str, Any]:
    """A recipe's options."""
    return yaml.safe_load((CONFIGS / f"{data}_{arm}.yaml").read_text())


def header(data: str, arm: str) -> str:
    """A recipe's header without comment marks."""
    lines = (CONFIGS / f"{data}_{arm}.yaml").read_text().splitlines()
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines if line.startswith("#"))


def commands(data: str, arm: str) -> list[list[str]]:
    """The commands of a header, in order, without ``dctnet``."""
    return [
        shlex.split(line)[1:] for line in header(data, arm).replace("\\\n", " ").splitlines() if "  dctnet " in line
    ]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder has the recipes, an ImageNet of a hundred classes and Imagenette; nothing is downloaded."""
    (tmp_path / "configs").symlink_to(CONFIGS)
    subsets = json.loads(resources.files("dctnet.data").joinpath("imagenet_subsets.json").read_text())
    photo = tmp_path / "photo.jpg"
    paint((90, 120, 150), (40, 32), 0).save(photo)
    for root, names in (("imagenet", subsets["imagenet100"]), ("imagenette/imagenette2", subsets["imagenette"])):
        for folder in (tmp_path / "data" / root / split / name for split in ("train", "val") for name in names):
            folder.mkdir(parents=True)
            (folder / "0.jpg").hardlink_to(photo)

    def refuse(*args, **kwargs):
        raise AssertionError("imagenette would be downloaded")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", refuse)
    monkeypatch.chdir(tmp_path)


def test_a_static_recipe_trains_on_imagenet100(here):
    mask = Path(read("imagenet100", "static64")["data"]["channels"])
    mask.parent.mkdir(parents=True)
    write_mask(mask, named_channels("zigzag-64"))
    assert run(*commands("imagenet100", "static64")[-1], *SMALL, *UNSAVED) == 0


def test_the_rgb_recipe_trains_on_imagenet(here):
    assert run(*commands("imagenet", "rgb")[-1], *SMALL, *UNSAVED) == 0


def test_the_commands_lead_from_the_gate_by_its_mask_to_a_static_recipe(here, capsys):
    (fit_gate,) = commands("imagenette", "gate")
    export, fit_static = commands("imagenette", "static24")
    with small_backbones():
        assert run(*fit_gate, *SMALL) == 0
        assert run(*export) == 0
        capsys.readouterr()
        assert run(*fit_static, *SMALL) == 0
    assert "24 of 192" in capsys.readouterr().out
    for mask in (read("imagenette", "static24")["data"]["channels"], "checkpoints/imagenette_gate/version_0/mask.json"):
        assert len(read_mask(mask)[0]) == 24


@each_set
def test_data_sets_have_the_same_commands_with_other_names_and_numbers(data):
    for arm in ARMS:
        models = commands("imagenette", "static24" if arm in STATIC else arm)
        for command, model in zip(commands(data, arm), models, strict=True):
            renamed = " ".join(model).replace("imagenette", data).replace("24", str(STATIC.get(arm, 24)))
            assert " ".join(command) == renamed


@each_set
def test_static_recipes_differ_only_in_their_channels(data):
    recipes = [read(data, arm) for arm in STATIC]
    for recipe, arm in zip(recipes, STATIC, strict=True):
        assert recipe.pop("name") == f"{data}_{arm}"
        assert recipe["data"].pop("channels") == f"checkpoints/{data}_gate/mask{STATIC[arm]}.json"
    assert recipes[0] == recipes[1] == recipes[2]


@each_set
def test_arms_share_budget_optimiser_and_photographs(data):
    recipes = [read(data, arm) for arm in ARMS]
    # The options that define an arm; no other may differ.
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
def test_learning_rate_and_warmup_are_as_the_comments_say(data):
    recipe = read(data, "gate")
    images = recipe["data"]["batch_size"] * recipe["trainer"]["devices"]
    assert recipe["model"]["lr"] == pytest.approx(0.1 * images / 256)
    assert recipe["model"]["warmup"] * recipe["trainer"]["max_epochs"] == pytest.approx(5, abs=0.05)


@each_recipe
def test_the_cost_in_the_header_is_the_counted_one(data, arm):
    recipe = read(data, arm)
    channels = list(range({"gate": 192, "rgb": 3, **STATIC}[arm]))
    with torch.device("meta"):  # counting needs only shapes
        classes, size = [str(number) for number in range(CLASSES[data])], recipe["data"]["image_size"]
        cost = FrequencyClassifier(classes, channels, size, **recipe["model"]).network.cost()
    gmac, values = re.search(
        r"^Cost: ([\d.]+) GMAC and ([\d,]+) input values an image", header(data, arm), re.M
    ).groups()
    assert float(gmac) == pytest.approx(cost["gmac"], abs=0.005)
    assert int(values.replace(",", "")) == cost["values"]


@each_recipe
def test_the_header_says_that_the_recipe_has_not_been_run(data, arm):
    assert "Not run: " in header(data, arm)
    assert "Estimated, not measured" in " ".join(header(data, arm).split())
