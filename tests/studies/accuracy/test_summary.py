"""The page across the benchmarks of several data sets."""

import shutil

import numpy as np
import pytest
from scipy.stats import spearmanr

from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.maskfile import write_mask
from dctnet.studies.accuracy.report.arms import format_difference, group_arms
from dctnet.studies.accuracy.report.summary import COUNT, Benchmark, mean_similarity, overlap, shared_arms
from dctnet.studies.estimates import difference
from dctnet.studies.report import report
from dctnet.studies.rows import write_rows
from tests.simulated_rows import make_arm, make_benchmark


def random_ranking(seed):
    return np.random.default_rng(seed).random(192).tolist()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two data sets; on the second, the selection of the first has run, too."""
    out = tmp_path_factory.mktemp("summary")
    for place, name in enumerate(("cats", "dogs")):
        (out / name).mkdir()
        rows = make_benchmark()
        if name == "dogs":
            correct = [row.correct for row in rows if row.arm == "learned-24"]
            rows += make_arm("mask-24+cats", correct, choose="mask", label="cats")
        write_rows(out / name / "rows.csv", rows)
        for seed in range(2):
            ranking = random_ranking(10 * place + seed)
            write_mask(out / name / f"ranking-s{seed}.json", ChannelSet("any", (0,)), ranking)
    report(str(out))
    return out


def test_every_data_set_has_a_page_and_the_summary_links_to_it(folder):
    text = (folder / "summary.html").read_text()
    for name in ("cats", "dogs"):
        assert (folder / name / "report.html").is_file()
        assert f'href="{name}/report.html"' in text


def test_the_differences_are_those_of_each_data_set(folder):
    text = (folder / "summary.html").read_text()
    rows = make_benchmark()
    arms = {arm.name: arm for arm in group_arms(rows)}
    expected = difference(arms["square-24"].rows, arms["rgb_matched"].rows)
    assert text.count(format_difference(expected)) >= 2  # the same simulated rows on both


def test_arms_of_one_data_set_alone_are_not_shared():
    cats, dogs = group_arms(make_benchmark()), group_arms(make_benchmark())
    alone = [arm for arm in dogs if arm.name != "energy-24"]
    names = shared_arms([Benchmark("cats", cats, []), Benchmark("dogs", alone, [])])
    assert "energy-24" not in names
    assert "square-24" in names
    values = [next(a for a in cats if a.name == name).against.get("rgb_matched") for name in names]
    differences = [0.0 if each is None else each.value for each in values]
    assert differences == sorted(differences, reverse=True)


def test_similarity_counts_shared_channels_and_correlates_ranks():
    one, other, third = (random_ranking(seed) for seed in range(3))
    best = [set(np.argsort(each)[::-1][:COUNT].tolist()) for each in (one, other)]
    assert overlap(one, other) == len(best[0] & best[1])
    assert overlap(one, one) == COUNT
    found = mean_similarity([Benchmark("cats", [], [one, other]), Benchmark("dogs", [], [third])])
    assert found["within"] == {
        "pairs": 1, "overlap": overlap(one, other), "correlation": pytest.approx(spearmanr(one, other).statistic),
    }  # fmt: skip
    assert found["between"]["pairs"] == 2
    assert mean_similarity([Benchmark("cats", [], [one])]) == {}


def test_the_transfer_table_has_the_arm_with_the_selection_of_the_other_data_set(folder):
    text = (folder / "summary.html").read_text()
    table = text[text.index('id="transfer"') :]
    cats, dogs = table.split('<th scope="row">')[1:]
    assert "not run" not in cats  # its own selection, and on dogs the arm mask-24+cats
    assert dogs.count("not run") == 1


def test_one_data_set_is_enough(folder, tmp_path):
    shutil.copytree(folder / "cats", tmp_path / "cats")
    report(str(tmp_path))
    assert "Accuracy against frequency channels on 1 data sets" not in (tmp_path / "summary.html").read_text()
