"""Channels, configuration and cost of the trials of a grid, and the checks before any training."""

import shutil

import pytest
import torch
import yaml

from dctnet.cli import benchmark
from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.packed.writer import pack
from dctnet.errors import UserError
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.maskfile import write_mask
from dctnet.frequency.selections import named_channels
from dctnet.studies.accuracy.context import BenchmarkContext
from dctnet.studies.accuracy.costs import Costs
from dctnet.studies.accuracy.grid import Arms, Grid, Ranking, Trial, plan
from dctnet.studies.accuracy.provenance import shared_options, variants
from dctnet.training.module import FrequencyClassifier
from tests.conftest import paint
from tests.small_backbones import ROOT

# Keep probabilities: channel 70 has the highest, then its neighbours.
SCORES = [1 / (1 + abs(i - 70)) for i in range(192)]


def make_context(photos, out, arms, data=None, seeds=(0,), **options):
    data = {"root": str(photos), "image_size": 64, "batch_size": 6, "num_workers": 0, **(data or {})}
    trainer = {"max_epochs": 2, "accelerator": "cpu"}
    grid = Grid(data, {"backbone": "resnet18"}, trainer, [Arms(**arm) for arm in arms], list(seeds), **options)
    return BenchmarkContext(grid, out)


def first_trial(context):
    return plan(context.grid)[0]


def leave_mask(context, seed, scores):
    """Writes the mask of a gated trial."""
    folder = context.out / "runs" / f"ranking-s{seed}" / "version_0"
    folder.mkdir(parents=True)
    write_mask(folder / "mask.json", ChannelSet("any", (0,)), scores)


def test_learned_channels_have_the_highest_mean_probability_over_gated_trials(photos, tmp_path):
    context = make_context(photos, tmp_path, [{"choose": "learned", "channels": [3]}], ranking=Ranking(seeds=[0, 1]))
    with pytest.raises(UserError, match="has not finished"):
        context.channels(first_trial(context))
    leave_mask(context, 0, SCORES)
    leave_mask(context, 1, [0.0] * 100 + [1.0] + [0.0] * 91)
    assert context.channels(first_trial(context)) == [69, 70, 100]  # 71 has the score of 69 and a higher frequency


def test_each_seed_of_a_learned_arm_can_have_its_own_gate(photos, tmp_path):
    arms = [{"choose": "learned", "channels": [3]}]
    context = make_context(photos, tmp_path, arms, seeds=[0, 2], ranking=Ranking(seeds="own"))
    leave_mask(context, 0, SCORES)
    first, second = plan(context.grid)
    assert context.channels(first) == [69, 70, 71]
    with pytest.raises(UserError, match="has not finished"):
        context.channels(second)
    leave_mask(context, 2, [0.0] * 100 + [1.0] + [0.0] * 91)
    assert 100 in context.channels(second)
    assert context.channels(first) == [69, 70, 71]
    assert sorted(path.name for path in tmp_path.glob("ranking*")) == ["ranking-s0.json", "ranking-s2.json"]


def test_an_arm_can_have_the_channels_of_a_given_mask(photos, tmp_path):
    mask = tmp_path / "other.json"
    write_mask(mask, ChannelSet("any", (3, 66, 130)))
    arms = [{"choose": "mask", "mask": str(mask), "label": "other"}]
    arms.append({"choose": "mask", "mask": "learned-24", "label": "published"})
    context = make_context(photos, tmp_path, arms)
    other, published = plan(context.grid)
    assert (other.arm, context.channels(other)) == ("mask-3+other", [3, 66, 130])
    assert (published.arm, context.channels(published)) == (
        "mask-24+published",
        list(named_channels("learned-24").indices),
    )


def test_a_ranking_is_kept_when_its_gated_trials_are_deleted(photos, tmp_path):
    context = make_context(photos, tmp_path, [{"choose": "learned", "channels": [3]}])
    leave_mask(context, 0, SCORES)
    channels = context.channels(first_trial(context))
    shutil.rmtree(tmp_path / "runs")
    again = make_context(photos, tmp_path, [{"choose": "learned", "channels": [3]}])
    assert again.channels(first_trial(again)) == channels


def test_learned_channels_come_from_the_mask_of_the_grid(photos, tmp_path):
    mask = tmp_path / "mask.json"
    write_mask(mask, ChannelSet("any", (0,)), SCORES)
    arms = [{"choose": "learned", "channels": [5]}]
    context = make_context(photos, tmp_path, arms, ranking=Ranking(mask=str(mask)))
    assert context.channels(first_trial(context)) == [68, 69, 70, 71, 72]


@pytest.mark.parametrize("content", [None, "no probabilities"])
def test_a_mask_without_probabilities_is_an_error(photos, tmp_path, content):
    mask = tmp_path / "mask.json"
    if content:
        write_mask(mask, ChannelSet("any", (0,)))
    with pytest.raises(UserError, match=str(mask)):
        make_context(photos, tmp_path, [{"choose": "learned", "channels": [5]}], ranking=Ranking(mask=str(mask)))


def test_energy_selects_the_channels_with_the_largest_variance(photos, tmp_path):
    context = make_context(photos, tmp_path, [{"choose": "energy", "channels": [7]}])
    std = FrequencyDataModule(str(photos), image_size=64, num_workers=0, batch_size=6).channel_statistics()[1]
    assert context.channels(first_trial(context)) == sorted(std.argsort(descending=True)[:7].tolist())
    assert context.energies() == pytest.approx(std.square().tolist(), rel=1e-5)


def test_a_constant_channel_has_no_energy(tmp_path):
    for split in ("train", "val"):
        for name in ("a", "b", "c"):
            folder = tmp_path / "grey" / split / name
            folder.mkdir(parents=True)
            for number in range(4):
                paint((90, 120, 60), (64, 80), number).convert("L").save(folder / f"{number}.png")
    energies = make_context(tmp_path / "grey", tmp_path, [{"choose": "energy", "channels": [7]}]).energies()
    assert max(energies[64:]) < 1e-6 < min(energies[:8])


@pytest.mark.parametrize("method", ["square", "triangle", "zigzag"])
def test_fixed_methods_are_the_named_selections(photos, tmp_path, method):
    context = make_context(photos, tmp_path, [{"choose": method, "channels": [24]}])
    assert context.channels(first_trial(context)) == list(named_channels(f"{method}-24").indices)


def test_an_option_that_is_newer_than_a_benchmark_does_not_change_its_configurations(photos, tmp_path):
    context = make_context(photos, tmp_path, [{"choose": "square", "channels": [6]}])
    before = context.fit_options(first_trial(context))
    context.grid.model["freeze"] = None
    assert context.fit_options(first_trial(context)) == before
    context.grid.model["freeze"] = "backbone"
    assert context.fit_options(first_trial(context))["model"]["freeze"] == "backbone"


def test_random_draws_differ(photos, tmp_path):
    context = make_context(photos, tmp_path, [{"choose": "random", "channels": [24], "draws": 3}])
    assert len({tuple(context.channels(trial)) for trial in plan(context.grid)}) == 3


def rgb_matched(**model):
    return Trial("rgb_matched", "rgb_matched", 0, 0, "", 0, model, {})


@pytest.mark.parametrize(("backbone", "side"), [("resnet18", 64), ("resnet50", 96), ("mobilenet_v2", 224)])
def test_matched_size_is_the_smallest_with_at_least_the_cost_of_all_channels(backbone, side):
    costs = Costs({"backbone": backbone}, ["a"] * 10, side)
    with torch.device("meta"):
        target = FrequencyClassifier(["a"] * 10, list(range(192)), side, backbone=backbone).network.cost()["gmac"]
        scan = (
            size
            for size in range(8, 4 * side, 8)
            if FrequencyClassifier(["a"] * 10, [], size, "rgb", backbone=backbone).network.cost()["gmac"] >= target
        )
        assert costs.size(rgb_matched()) == next(scan)


@pytest.mark.parametrize(("stride", "side"), [(2, 224), (1, 408)])
def test_matched_size_in_the_setting_of_the_paper(stride, side):
    costs = Costs({"backbone": "resnet50"}, ["a"] * 10, 448)
    trial = rgb_matched(layer2_stride=stride)
    assert costs.size(trial) == side
    assert costs.options(trial)["layer2_stride"] == 2  # torchvision's network


def test_cost_on_the_meta_device_is_the_cost_of_the_network(photos, tmp_path):
    arms = [{"choose": network} for network in ("rgb_matched", "rgb_same_pixels", "patchify", "patchify_dct")]
    arms.append({"choose": "zigzag", "channels": [24], "model": {"layer2_stride": 1}})
    context = make_context(photos, tmp_path, arms)
    for trial in plan(context.grid):
        options = context.fit_options(trial)
        data = FrequencyDataModule(**options["data"], input=options["model"].get("input", "channels"))
        model = FrequencyClassifier(data.class_names, list(range(trial.count)), data.size, **options["model"])
        assert context.costs.of(trial) == pytest.approx(model.network.cost())
        assert all(p.device == torch.device("cpu") for p in model.parameters())


def test_rgb_with_its_stem_ignores_the_stride_of_channels(photos, tmp_path):
    context = make_context(photos, tmp_path, [{"choose": "rgb_same_pixels"}, {"choose": "patchify"}])
    context.grid.model["layer2_stride"] = 1
    rgb, patchify = (context.fit_options(trial)["model"]["layer2_stride"] for trial in plan(context.grid))
    assert (rgb, patchify) == (2, 1)
    assert context.costs.of(first_trial(context))["gmac"] > 0


@pytest.fixture(scope="module")
def store(photos, tmp_path_factory):
    """The photographs packed with 24 channels for crops of 64 px."""
    folder = tmp_path_factory.mktemp("packed") / "store"
    pack(str(photos), str(folder), channels="zigzag-24", image_size=64, workers=1)
    return folder


def test_a_packed_store_feeds_the_arms_whose_channels_it_holds(photos, store, tmp_path):
    arms = [{"choose": "zigzag", "channels": [12, 48]}, {"choose": "rgb_matched"}]
    context = make_context(photos, tmp_path, arms, store=str(store))
    few, many, rgb = (context.fit_options(trial)["data"] for trial in plan(context.grid))
    assert few["root"] == str(store)
    assert many["root"] == rgb["root"] == str(photos)
    assert FrequencyDataModule(**few).size == 64
    with pytest.raises(UserError, match="is a packed store, which has no RGB for the baselines"):
        make_context(store, tmp_path, arms)


@pytest.mark.parametrize("name", ["sampler", "class_weights"])
def test_arms_are_balanced_alike_whatever_they_read(photos, store, tmp_path, name):
    arms = [{"choose": "zigzag", "channels": [12]}, {"choose": "rgb_matched"}]
    context = make_context(photos, tmp_path, arms, {name: "balanced"}, store=str(store))
    stored, rgb = (context.fit_options(trial)["data"] for trial in plan(context.grid))
    assert (stored["root"], rgb["root"]) == (str(store), str(photos))
    assert stored[name] == rgb[name] == "balanced"


def test_an_arm_reads_photographs_if_the_store_lacks_channels_that_its_augmentation_mixes(photos, store, tmp_path):
    arms = [{"choose": "zigzag", "channels": [24]}]
    for augment, root in (("basic", store), ("turn", photos)):
        context = make_context(photos, tmp_path, arms, {"augment": augment}, store=str(store))
        assert context.fit_options(first_trial(context))["data"]["root"] == str(root)


@pytest.mark.parametrize(
    ("data", "deleted", "message"),
    [
        ({"image_size": 32}, "", "has image_size 64, the photographs 32"),
        ({"crop_fraction": 0.5}, "", "has crop_fraction 0.875, the photographs 0.5"),
        ({}, "val", "was packed from other images: evaluation image 1 is val/blue/0.jpg, in .* val/blue/1.jpg"),
        ({}, "train", "was packed from 36 training images, .* has 35"),
    ],
)
def test_a_store_of_other_data_is_an_error(photos, store, tmp_path, data, deleted, message):
    root = photos
    if deleted:
        root = shutil.copytree(photos, tmp_path / "photos")
        (root / deleted / "blue" / "0.jpg").unlink()
    with pytest.raises(UserError, match=message):
        make_context(root, tmp_path / "out", [{"choose": "patchify"}], data, store=str(store))


@pytest.mark.parametrize(
    ("arm", "trainer", "message"),
    [
        ({"choose": "patchify"}, {}, "--trainer.max_epochs must be .* patchify has None"),
        ({"choose": "patchify", "trainer": {"max_epochs": None}}, {"max_epochs": 2}, "patchify has None"),
        ({"choose": "patchify"}, {"max_epochs": 2.5}, "patchify has 2.5"),
        ({"choose": "patchify", "model": {"gate": "static"}}, {"max_epochs": 2}, "patchify: .*gate"),
        (
            {"choose": "zigzag", "channels": [6], "model": {"backbone": "mobilenet_v2", "layer2_stride": 1}},
            {"max_epochs": 2},
            "zigzag-6: --model.layer2_stride 1 is for ResNets",
        ),
    ],
)
def test_invalid_options_are_an_error_before_any_training(photos, tmp_path, arm, trainer, message):
    grid = Grid({"root": str(photos)}, {}, trainer, [Arms(**arm)])
    with pytest.raises(UserError, match=message):
        BenchmarkContext(grid, tmp_path)


def test_a_missing_split_is_an_error_before_any_training(photos, tmp_path):
    with pytest.raises(UserError, match=r"no folder test/ in it"):
        make_context(photos, tmp_path, [{"choose": "patchify"}], evaluate=["val", "test"])


def test_an_arm_can_have_its_own_data_options(photos, tmp_path):
    arms = [{"choose": kind, "label": "more", "data": {"augment": "basic"}} for kind in ("rgb_matched", "square")]
    arms[1]["channels"] = [24]
    context = make_context(photos, tmp_path, [*arms, {"choose": "square", "channels": [24]}])
    more, also, plain = plan(context.grid)
    assert context.fit_options(more)["data"]["augment"] == context.fit_options(also)["data"]["augment"] == "basic"
    assert "augment" not in context.fit_options(plain)["data"]
    assert set(variants(plan(context.grid))) == {"rgb_matched+more", "square-24+more"}


def test_options_of_earlier_versions_keep_their_configuration(photos, tmp_path):
    arms = [{"choose": "square", "channels": [24], "data": {"mixup": 0.0}}]
    context = make_context(photos, tmp_path, arms, {"augment": "none", "cutmix": 0.0})
    earlier = make_context(photos, tmp_path, [{"choose": "square", "channels": [24]}])
    assert context.fit_options(first_trial(context)) == earlier.fit_options(first_trial(earlier))
    assert shared_options(context.grid)["data"] == shared_options(earlier.grid)["data"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"crop_fraction": 0.5}, "square: data.crop_fraction is the same for all arms"),
        ({"augment": "solarize"}, "square-24: --data.augment: solarize needs all samples"),
    ],
)
def test_invalid_data_options_of_an_arm_are_errors(photos, tmp_path, data, message):
    with pytest.raises(UserError, match=message):
        make_context(photos, tmp_path, [{"choose": "square", "channels": [24], "data": data}])


def test_options_that_are_new_since_a_published_benchmark_do_not_change_its_grid(photos, tmp_path):
    published = yaml.safe_load((ROOT / "docs" / "benchmark" / "imagenette" / "grid.yaml").read_text())
    config = benchmark._parser().parse_args([f"--data.root={photos}", "--data.image_size=64", "--trainer.max_epochs=1"])
    shared = {part: config[part].as_dict() for part in ("data", "model", "trainer")}
    grid = Grid(**shared, arms=[Arms("square", [24])], seeds=[0])
    now = shared_options(BenchmarkContext(grid, tmp_path).grid)
    for part in ("data", "model"):
        assert now[part].keys() <= published[part].keys()


def test_an_arm_can_have_its_own_sizes(photos, tmp_path):
    sized = {"data": {"progressive": [0.5, 1.0]}}
    arms = [
        {"choose": "square", "channels": [24]},
        {"choose": "square", "channels": [24], "label": "progressive", **sized},
        {"choose": "rgb_matched", "label": "progressive", "data": {"progressive": [0.75, 1.0]}},
        {"choose": "square", "channels": [24], "label": "small", "data": {"image_size": 48}},
        {"choose": "rgb_matched", "label": "small", "data": {"image_size": 48}},
    ]
    context = make_context(photos, tmp_path, arms, data={"progressive": None})
    plain, progressive, rgb, small, rgb_small = (context.fit_options(t)["data"] for t in plan(context.grid))
    assert "progressive" not in plain  # the configuration of earlier benchmarks
    assert progressive == {**plain, **sized["data"]}
    assert (small["image_size"], rgb["progressive"]) == (48, [0.75, 1.0])
    assert rgb_small["image_size"] < rgb["image_size"] == 32 < small["image_size"]


def test_data_options_of_an_arm_are_checked_at_its_own_size(photos, tmp_path):
    with pytest.raises(UserError, match=r"rgb_matched\+p: --data.progressive 0.625 of --data.image_size 32 is 20 px"):
        make_context(photos, tmp_path, [{"choose": "rgb_matched", "label": "p", "data": {"progressive": [0.625, 1.0]}}])


def test_more_sizes_than_epochs_are_an_error_before_any_training(photos, tmp_path):
    arm = {"choose": "patchify", "data": {"progressive": [0.25, 0.5, 1.0]}}
    with pytest.raises(UserError, match="patchify: --data.progressive: 3 sizes need at least 3 epochs, got 2"):
        make_context(photos, tmp_path, [arm])


def test_options_later_than_the_first_benchmarks_do_not_change_a_configuration(photos, tmp_path):
    data, model = {"progressive": None}, {"freeze": None, "layer_decay": None, "ema": None}
    before = make_context(photos, tmp_path, [{"choose": "patchify"}])
    now = make_context(photos, tmp_path, [{"choose": "patchify"}], data)
    now.grid.model |= model
    assert now.fit_options(first_trial(now)) == before.fit_options(first_trial(before))
    now.grid.model["ema"] = 0.99
    assert now.fit_options(first_trial(now))["model"]["ema"] == 0.99
