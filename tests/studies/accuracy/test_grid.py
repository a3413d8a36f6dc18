"""What a grid runs, in which order, and the grids that are refused."""

import pytest

from dctnet.errors import UserError
from dctnet.studies.accuracy.grid import Arms, Grid, Ranking, plan, ranking_runs


def grid(*arms, **options):
    return Grid({}, {}, {}, [Arms(**arm) for arm in arms], **options)


def names(*arms, **options):
    return [run.name for run in plan(grid(*arms, **{"seeds": [0], **options}))]


def test_each_number_of_channels_and_each_draw_is_an_arm():
    assert names({"choose": "learned", "channels": [6, 12]}, {"choose": "random", "channels": [24], "draws": 2}) == [
        "learned-6-s0", "learned-12-s0", "random-24-0-s0", "random-24-1-s0",
    ]  # fmt: skip


def test_all_arms_have_their_first_seed_before_any_has_its_second():
    arms = {"choose": "square", "channels": [24]}, {"choose": "patches"}
    assert names(*arms, seeds=[3, 1]) == ["square-24-s3", "patches-s3", "square-24-s1", "patches-s1"]


def test_a_label_tells_a_variant_from_the_plain_arm():
    plain, variant = {"choose": "patches"}, {"choose": "patches", "label": "wide", "model": {"lr": 0.2}}
    assert names(plain, variant) == ["patches-s0", "patches+wide-s0"]
    assert [run.model for run in plan(grid(plain, variant, seeds=[0]))] == [{}, {"lr": 0.2}]


def test_all_channels_are_one_arm_however_they_are_chosen():
    assert names({"choose": "zigzag", "channels": [192]}) == ["all-192-s0"]
    with pytest.raises(UserError, match="arm all-192 is there twice"):
        names({"choose": "zigzag", "channels": [192]}, {"choose": "learned", "channels": [192]})


def test_ranking_runs_only_for_arms_that_need_it():
    learned = {"choose": "learned", "channels": [6, 192]}
    own = Ranking(seeds=[0, 4], model={"gate": "static"})
    assert [run.name for run in ranking_runs(grid(learned, ranking=own))] == ["ranking-s0", "ranking-s4"]
    assert ranking_runs(grid(learned, ranking=Ranking(mask="mask.json"))) == []
    assert ranking_runs(grid({"choose": "learned", "channels": [192]})) == []
    assert ranking_runs(grid({"choose": "energy", "channels": [24]})) == []


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        ({"choose": "learned"}, "learned: channels is empty; give numbers from 1 to 192"),
        ({"choose": "energy", "channels": [0]}, "energy: 0 channels; there are 1 to 192"),
        ({"choose": "energy", "channels": [24, 193]}, "energy: 193 channels; there are 1 to 192"),
        ({"choose": "square", "channels": [5]}, "square-5"),
        ({"choose": "triangle", "channels": [3]}, "triangle-3"),
        ({"choose": "patches", "channels": [3]}, r"patches reads pixels and takes no number of channels, got \[3\]"),
        ({"choose": "zigzag", "channels": [6], "draws": 2}, "zigzag: draws must be at least 1, and 1 but for random"),
        ({"choose": "random", "channels": [6], "draws": 0}, "draws must be at least 1"),
        ({"choose": "zigzag", "channels": [6], "label": "../x"}, "letters, digits and underscores only"),
        ({"choose": "zigzag", "channels": [6, 6]}, "arm zigzag-6 is there twice"),
    ],
)
def test_arms_that_cannot_be_are_named(arm, words):
    with pytest.raises(UserError, match=words):
        names(arm)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seeds": []}, "--seeds must be different numbers"),
        ({"seeds": [1, 1]}, "--seeds must be different numbers"),
        ({"seeds": [-1]}, "--seeds must be different numbers from 0 on"),
        ({"ranking": Ranking(seeds=[])}, "--ranking.seeds must be different numbers"),
        ({"ranking": Ranking(model={"keep": 24})}, "--ranking.model has no gate"),
        ({"evaluate": []}, "--evaluate must name val, test or both"),
        ({"evaluate": ["val", "val"]}, "--evaluate must name val, test or both, each once"),
    ],
)
def test_grids_that_cannot_be_are_named(options, words):
    with pytest.raises(UserError, match=words):
        names({"choose": "learned", "channels": [6]}, **options)


def test_a_grid_needs_an_arm():
    with pytest.raises(UserError, match="--arms is empty"):
        names()
