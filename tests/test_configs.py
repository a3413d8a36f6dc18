"""Every shipped recipe parses, and its header is a document."""

import sys
from pathlib import Path

import pytest

from dctnet.cli import main
from tests.stress import misspelt_keys

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


def verb(config):
    return "benchmark" if config.stem.startswith("benchmark_") else "fit"


def test_there_are_recipes():
    assert len(CONFIGS) >= 6


@pytest.mark.parametrize("config", CONFIGS, ids=lambda p: p.stem)
def test_recipe_parses_completely(config, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["dctnet"])
    with pytest.raises(SystemExit) as done:
        main([verb(config), "--config", str(config), "--print_config"])
    assert done.value.code == 0
    assert f"name: {config.stem}" in capsys.readouterr().out


@pytest.mark.parametrize("config", CONFIGS, ids=lambda p: p.stem)
def test_header_gives_command_and_cost(config):
    header = "".join(line for line in config.read_text().splitlines(keepends=True) if line.startswith("#"))
    assert f"dctnet {verb(config)} --config configs/{config.name}" in header
    assert "Cost:" in header
    assert "Reached:" in header or "Not run:" in header


def test_masks_beside_the_recipes_can_be_read():
    from dctnet.frequency.maskfile import read_mask

    for mask in CONFIGS[0].parent.glob("*.json"):
        assert len(read_mask(mask)[0]) > 0


@pytest.mark.parametrize(("place", "config"), list(enumerate(CONFIGS)), ids=lambda p: getattr(p, "stem", None))
def test_a_misspelt_key_is_refused_and_the_right_one_named(place, config, tmp_path):
    # One of each recipe's; all of them are in the campaign.
    tried = [case for case in misspelt_keys.cases(config, seed=1) if case[0] == misspelt_keys.KINDS[place % 4]]
    kind, where, wrong = tried[7 * place % len(tried)]
    assert misspelt_keys.check(config, kind, where, wrong, tmp_path)[0] == "named"


def test_what_the_campaign_counts_as_accepted_is(tmp_path):
    for stem in ("quickstart", "benchmark_quickstart"):
        config = next(config for config in CONFIGS if config.stem == stem)
        assert misspelt_keys.check(config, "drop", ("data",), "data", tmp_path)[0] == "accepted"


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["fit", "--trainer.max_epoch", "3", "--data.root", "x"], "Did you mean 'trainer.max_epochs'?"),
        (["benchmark", "--trainer.max_epoch", "3"], "Did you mean 'trainer.max_epochs'?"),
        (["export-mask", "x.ckpt", "--kee", "3"], "Did you mean 'keep'?"),
    ],
)
def test_an_abbreviation_is_a_misspelling(args, named, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["dctnet"])
    assert main(args) == 2
    assert named in capsys.readouterr().err
