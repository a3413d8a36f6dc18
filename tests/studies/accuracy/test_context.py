"""Channels, configuration and cost of the runs of a grid."""

import dataclasses
import shutil

import pytest
import torch

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.packed.writer import pack
from dctnet.errors import UserError
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.maskfile import write_mask
from dctnet.frequency.selections import named_channels
from dctnet.studies.accuracy.context import BenchmarkContext
from dctnet.studies.accuracy.costs import Costs
from dctnet.studies.accuracy.grid import Arms, Grid, Ranking, Run, plan
from dctnet.training.module import FrequencyClassifier
from tests.conftest import paint

WORTH = [1 / (1 + abs(i - 70)) for i in range(192)]  # 70 first, then its neighbours


def bench(photos, out, arms, **options):
    data = {"root": str(photos), "image_size": 64, "batch_size": 6, "num_workers": 0}
    trainer = {"max_epochs": 2, "accelerator": "cpu"}
    return BenchmarkContext(
        Grid(data, {"backbone": "resnet18"}, trainer, [Arms(**arm) for arm in arms], seeds=[0], **options), out
    )


def first(made):
    return plan(made.grid)[0]


def leave_mask(made, seed, worth):
    folder = made.out / "runs" / f"ranking-s{seed}" / "version_0"
    folder.mkdir(parents=True)
    write_mask(folder / "mask.json", ChannelSet("any", (0,)), worth)


def test_learned_channels_are_the_likeliest_kept_of_the_mean_over_gates(photos, tmp_path):
    made = bench(photos, tmp_path, [{"choose": "learned", "channels": [3]}], ranking=Ranking(seeds=[0, 1]))
    with pytest.raises(UserError, match="has not ended"):
        made.channels(first(made))
    leave_mask(made, 0, WORTH)
    leave_mask(made, 1, [0.0] * 100 + [1.0] + [0.0] * 91)
    assert made.channels(first(made)) == [69, 70, 100]  # 71 is worth as much as 69, and of higher frequency


def test_a_ranking_once_made_is_found_when_its_gated_runs_are_gone(photos, tmp_path):
    made = bench(photos, tmp_path, [{"choose": "learned", "channels": [3]}])
    leave_mask(made, 0, WORTH)
    chosen = made.channels(first(made))
    shutil.rmtree(tmp_path / "runs")
    assert bench(photos, tmp_path, [{"choose": "learned", "channels": [3]}]).channels(first(made)) == chosen


def test_learned_channels_come_from_a_mask_that_the_grid_names(photos, tmp_path):
    mask = tmp_path / "mask.json"
    write_mask(mask, ChannelSet("any", (0,)), WORTH)
    made = bench(photos, tmp_path, [{"choose": "learned", "channels": [5]}], ranking=Ranking(mask=str(mask)))
    assert made.channels(first(made)) == [68, 69, 70, 71, 72]


@pytest.mark.parametrize("content", [None, "no probabilities"])
def test_a_mask_that_ranks_nothing_is_refused_at_once(photos, tmp_path, content):
    mask = tmp_path / "mask.json"
    if content:
        write_mask(mask, ChannelSet("any", (0,)))
    with pytest.raises(UserError, match=str(mask)):
        bench(photos, tmp_path, [{"choose": "learned", "channels": [5]}], ranking=Ranking(mask=str(mask)))


def test_energy_takes_the_channels_of_largest_variance_in_the_training_data(photos, tmp_path):
    made = bench(photos, tmp_path, [{"choose": "energy", "channels": [7]}])
    std = FrequencyDataModule(str(photos), image_size=64, num_workers=0, batch_size=6).channel_statistics()[1]
    assert made.channels(first(made)) == sorted(std.argsort(descending=True)[:7].tolist())
    assert made.energies() == pytest.approx(std.square().tolist(), rel=1e-5)


def test_a_channel_that_never_varies_has_no_energy(tmp_path):
    for split in ("train", "val"):
        make_photos_in_grey(tmp_path / "grey" / split)
    energies = bench(tmp_path / "grey", tmp_path, [{"choose": "energy", "channels": [7]}]).energies()
    assert max(energies[64:]) < 1e-6 < min(energies[:8])


def make_photos_in_grey(folder):
    for name in ("a", "b", "c"):
        (folder / name).mkdir(parents=True)
        for number in range(4):
            paint((90, 120, 60), (64, 80), number).convert("L").save(folder / name / f"{number}.png")


@pytest.mark.parametrize("way", ["square", "triangle", "zigzag"])
def test_fixed_ways_are_the_named_selections(photos, tmp_path, way):
    made = bench(photos, tmp_path, [{"choose": way, "channels": [24]}])
    assert made.channels(first(made)) == list(named_channels(f"{way}-24").indices)


def test_draws_differ(photos, tmp_path):
    made = bench(photos, tmp_path, [{"choose": "random", "channels": [24], "draws": 3}])
    assert len({tuple(made.channels(run)) for run in plan(made.grid)}) == 3


def test_rgb_at_matched_compute_costs_no_less_than_all_channels_and_the_next_smaller_less(photos, tmp_path):
    made = bench(photos, tmp_path, [{"choose": "rgb_matched"}, {"choose": "zigzag", "channels": [192]}])
    rgb, channels = (made.costs.of(run)["gmac"] for run in plan(made.grid))
    side = made.fit_options(first(made))["data"]["image_size"]
    smaller = FrequencyClassifier(["a", "b", "c"], [], side - 8, input="rgb").cost()["gmac"]
    assert smaller < channels <= rgb


@pytest.mark.parametrize(("stride", "side"), [(2, 224), (1, 408)])
def test_matched_size_of_the_papers_setting(stride, side):
    run = Run("rgb_matched", "rgb_matched", 0, 0, "", 0, {"layer2_stride": stride}, {})
    costs = Costs({"backbone": "resnet50"}, ["a"] * 10, 448)
    assert costs.size(run) == side
    assert costs.options(run)["layer2_stride"] == 2  # of its own network


def test_cost_without_building_is_the_cost_of_the_network(photos, tmp_path):
    arms = [{"choose": way} for way in ("rgb_matched", "rgb_same_pixels", "patches", "patches_dct")]
    arms.append({"choose": "zigzag", "channels": [24], "model": {"layer2_stride": 1}})
    made = bench(photos, tmp_path, arms)
    for run in plan(made.grid):
        options = made.fit_options(run)
        data = FrequencyDataModule(**options["data"], input=options["model"].get("input", "channels"))
        model = FrequencyClassifier(data.class_names, list(range(run.count)), data.size, **options["model"])
        assert made.costs.of(run) == pytest.approx(model.cost())
        assert all(p.device == torch.device("cpu") for p in model.parameters())


def test_rgb_runs_beside_channels_at_stride_1(photos, tmp_path):
    made = bench(photos, tmp_path, [{"choose": "rgb_same_pixels"}, {"choose": "patches"}])
    made.grid.model["layer2_stride"] = 1
    rgb, patches = (made.fit_options(run)["model"]["layer2_stride"] for run in plan(made.grid))
    assert (rgb, patches) == (2, 1)
    assert made.costs.of(plan(made.grid)[0])["gmac"] > 0


def test_a_packed_store_feeds_the_arms_whose_channels_it_holds(photos, tmp_path):
    pack(str(photos), str(tmp_path / "store"), channels="zigzag-24", image_size=64)
    arms = [{"choose": "zigzag", "channels": [12, 48]}, {"choose": "rgb_matched"}]
    made = bench(photos, tmp_path / "out", arms, store=str(tmp_path / "store"))
    few, many, rgb = (made.fit_options(run)["data"] for run in plan(made.grid))
    assert few["root"] == str(tmp_path / "store")
    assert many["root"] == rgb["root"] == str(photos)
    assert FrequencyDataModule(**few).size == 64
    with pytest.raises(UserError, match="is a packed store, which has no RGB for the baselines"):
        bench(tmp_path / "store", tmp_path / "out", arms)


@pytest.mark.parametrize(
    ("packed", "of", "said"),
    [
        ({"image_size": 32}, "", "has image_size 32, the photographs 64"),
        ({"image_size": 64, "crop_fraction": 0.5}, "", r"has crop_fraction 0.5, the photographs 0.875"),
        ({"image_size": 64}, "val/{}/00003.jpg", r"evaluated it has val/.*, .* has val/"),
        ({"image_size": 64}, "train/{}/00003.jpg", r"holds 35 training images, .* has 36"),
    ],
)
def test_a_store_of_other_data_is_refused(photos, tmp_path, packed, of, said):
    other = tmp_path / "other"
    shutil.copytree(photos, other)
    if of:
        split, _, _ = of.split("/")
        next((other / split).rglob("*.*")).unlink()
    pack(str(other), str(tmp_path / "store"), channels="zigzag-24", **packed)
    with pytest.raises(UserError, match=said):
        bench(photos, tmp_path / "out", [{"choose": "patches"}], store=str(tmp_path / "store"))


@pytest.mark.parametrize(
    ("arm", "options", "said"),
    [
        ({"choose": "patches"}, {"trainer": {"max_epochs": None}}, "--trainer.max_epochs must be .* patches has None"),
        (
            {"choose": "patches", "trainer": {"max_epochs": None}},
            {},
            "--trainer.max_epochs must be .* patches has None",
        ),
        ({"choose": "patches"}, {"trainer": {"max_epochs": 2.5}}, "--trainer.max_epochs must be .* patches has 2.5"),
        ({"choose": "patches", "model": {"gate": "static"}}, {}, "patches: .*gate"),
        (
            {"choose": "zigzag", "channels": [6], "model": {"backbone": "mobilenet_v2", "layer2_stride": 1}},
            {},
            "zigzag-6: --model.layer2_stride 1 is for ResNets",
        ),
    ],
)
def test_options_that_cannot_be_are_found_before_training(photos, tmp_path, arm, options, said):
    grid = Grid({"root": str(photos)}, {}, {"max_epochs": 2}, [Arms(**arm)])
    with pytest.raises(UserError, match=said):
        BenchmarkContext(dataclasses.replace(grid, **options), tmp_path)


def test_a_split_to_evaluate_that_is_not_there_is_found_before_training(photos, tmp_path):
    with pytest.raises(UserError, match=r"no folder test/ in it"):
        bench(photos, tmp_path, [{"choose": "patches"}], evaluate=["val", "test"])
