"""The trials of a grid, their order, and errors for invalid grids."""

import pytest

from dctnet.errors import UserError
from dctnet.studies.accuracy.grid import Arms, Grid, Ranking, plan, ranking_trials


def grid(*arms, **options):
    return Grid({}, {}, {}, [Arms(**arm) for arm in arms], **options)


def names(*arms, **options):
    return [trial.name for trial in plan(grid(*arms, **{"seeds": [0], **options}))]


def test_each_number_of_channels_and_each_draw_is_an_arm():
    assert names({"choose": "learned", "channels": [6, 12]}, {"choose": "random", "channels": [24], "draws": 2}) == [
        "learned-6-s0", "learned-12-s0", "random-24-0-s0", "random-24-1-s0",
    ]  # fmt: skip


def test_all_arms_run_with_the_first_seed_before_any_with_the_second():
    arms = {"choose": "square", "channels": [24]}, {"choose": "patchify"}
    assert names(*arms, seeds=[3, 1]) == ["square-24-s3", "patchify-s3", "square-24-s1", "patchify-s1"]


def test_an_arm_can_have_seeds_of_its_own():
    arms = {"choose": "patchify", "seeds": [0, 5]}, {"choose": "learned", "channels": [3]}
    assert names(*arms, seeds=[1, 0]) == ["learned-3-s1", "patchify-s0", "learned-3-s0", "patchify-s5"]
    assert [t.seed for t in ranking_trials(grid(*arms, seeds=[1, 0], ranking=Ranking(seeds="own")))] == [1, 0]


def test_a_label_distinguishes_a_variant():
    plain, variant = {"choose": "patchify"}, {"choose": "patchify", "label": "wide", "model": {"lr": 0.2}}
    assert names(plain, variant) == ["patchify-s0", "patchify+wide-s0"]
    assert [trial.model for trial in plan(grid(plain, variant, seeds=[0]))] == [{}, {"lr": 0.2}]


def test_all_channels_are_one_arm_for_every_selection_method():
    assert names({"choose": "zigzag", "channels": [192]}) == ["all-192-s0"]
    with pytest.raises(UserError, match="duplicate arm all-192"):
        names({"choose": "zigzag", "channels": [192]}, {"choose": "learned", "channels": [192]})


def test_gated_trials_exist_only_for_arms_that_need_them():
    learned = {"choose": "learned", "channels": [6, 192]}
    own = Ranking(seeds=[0, 4], model={"gate": "static"})
    assert [trial.name for trial in ranking_trials(grid(learned, ranking=own))] == ["ranking-s0", "ranking-s4"]
    assert [trial.seed for trial in ranking_trials(grid(learned, seeds=[2, 1], ranking=Ranking(seeds="own")))] == [2, 1]
    assert ranking_trials(grid(learned, ranking=Ranking(mask="mask.json"))) == []
    assert ranking_trials(grid({"choose": "learned", "channels": [192]})) == []
    assert ranking_trials(grid({"choose": "energy", "channels": [24]})) == []


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        ({"choose": "learned"}, "learned: channels is empty; give numbers from 1 to 192"),
        ({"choose": "energy", "channels": [0]}, "energy: 0 channels; give a number from 1 to 192"),
        ({"choose": "energy", "channels": [24, 193]}, "energy: 193 channels; give a number from 1 to 192"),
        ({"choose": "square", "channels": [5]}, "square-5"),
        ({"choose": "triangle", "channels": [3]}, "triangle-3"),
        ({"choose": "patchify", "channels": [3]}, r"patchify reads pixels and takes no number of channels, got \[3\]"),
        ({"choose": "zigzag", "channels": [6], "draws": 2}, "zigzag: draws must be 1, or at least 1 for random"),
        ({"choose": "random", "channels": [6], "draws": 0}, "draws must be 1"),
        ({"choose": "zigzag", "channels": [6], "label": "../x"}, "only letters, digits and underscores"),
        ({"choose": "zigzag", "channels": [6, 6]}, "duplicate arm zigzag-6"),
        ({"choose": "zigzag", "channels": [6], "seeds": [1, 1]}, "arms, zigzag: seeds must be different numbers"),
        (
            {"choose": "mask", "label": "mine"},
            "mask: the option mask belongs to .* needs it; got None",
        ),
        ({"choose": "square", "channels": [6], "mask": "a.json"}, "square: the option mask belongs to choose: mask"),
        ({"choose": "mask", "mask": "learned-24"}, "learned-24 gives the channels; give a label and no number"),
        ({"choose": "mask", "mask": "learned-24", "label": "a", "channels": [3]}, "no number of channels"),
        ({"choose": "mask", "mask": "missing.json", "label": "a"}, "missing.json"),
    ],
)
def test_an_invalid_arm_is_an_error(arm, words):
    with pytest.raises(UserError, match=words):
        names(arm)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seeds": []}, "--seeds must be different numbers"),
        ({"seeds": [1, 1]}, "--seeds must be different numbers"),
        ({"seeds": [-1]}, "--seeds must be different numbers of at least 0"),
        ({"ranking": Ranking(seeds=[])}, "--ranking.seeds must be different numbers"),
        ({"ranking": Ranking(model={"keep": 24})}, "--ranking.model has no gate"),
        ({"ranking": Ranking(seeds="own", mask="mask.json")}, "--ranking.mask is one ranking for all seeds"),
        ({"evaluate": []}, "--evaluate must be val, test or both"),
        ({"evaluate": ["val", "val"]}, "--evaluate must be val, test or both, each once"),
    ],
)
def test_an_invalid_grid_is_an_error(options, words):
    with pytest.raises(UserError, match=words):
        names({"choose": "learned", "channels": [6]}, **options)


def test_a_grid_without_arms_is_an_error():
    with pytest.raises(UserError, match="--arms is empty"):
        names()


@pytest.mark.parametrize("name", ["root", "classes", "val_fraction"])
def test_all_arms_have_the_same_images(name):
    with pytest.raises(UserError, match=f"square: data.{name} is the same for all arms, which see the same"):
        plan(grid({"choose": "square", "channels": [24], "data": {name: "x"}}))
