"""Every shipped recipe parses, and its header is a document."""

import sys
from pathlib import Path

import pytest

from dctnet.cli import main

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
