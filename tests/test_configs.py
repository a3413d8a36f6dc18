"""Every shipped recipe parses, its header gives command and cost, and a misspelt key is refused."""

from pathlib import Path

import pytest

from dctnet.frequency.maskfile import read_mask
from tests.commands import run
from tests.stress import misspelt_keys
from tests.stress.misspelt_keys import CONFIGS, KINDS, check, verb_of

each_recipe = pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)


@each_recipe
def test_recipe_parses_completely(config, capsys):
    with pytest.raises(SystemExit) as done:
        run(verb_of(config), "--config", config, "--print_config")
    assert done.value.code == 0
    assert f"name: {config.stem}" in capsys.readouterr().out


@each_recipe
def test_header_gives_command_and_cost(config):
    header = "".join(line for line in config.read_text().splitlines(keepends=True) if line.startswith("#"))
    assert f"dctnet {verb_of(config)} --config configs/{config.name}" in header
    assert "Cost:" in header
    assert "Reached:" in header or "Not run:" in header


def test_masks_beside_the_recipes_can_be_read():
    masks = list(Path(CONFIGS[0].parent).glob("*.json"))
    assert masks
    assert all(len(read_mask(mask)[0]) > 0 for mask in masks)


@each_recipe
def test_a_misspelt_key_is_refused_and_the_right_one_named(config, tmp_path):
    # One key of each recipe; tests.stress.misspelt_keys tries all.
    place = CONFIGS.index(config)
    cases = [case for case in misspelt_keys.cases(config, seed=1) if case[0] == KINDS[place % 4]]
    assert check(config, *cases[7 * place % len(cases)], tmp_path)[0] == "named"


@pytest.mark.parametrize("stem", ["quickstart", "benchmark_quickstart"])
def test_an_unchanged_key_is_accepted(stem, tmp_path):
    (config,) = [config for config in CONFIGS if config.stem == stem]
    assert check(config, "drop", ("data",), "data", tmp_path)[0] == "accepted"
