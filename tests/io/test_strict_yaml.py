"""Duplicate keys are rejected wherever YAML is read; everything else is read as PyYAML reads it."""

import subprocess
import sys
from pathlib import Path

import jsonargparse
import pytest
import yaml

from dctnet.cli import parsing
from dctnet.errors import UserError
from dctnet.io.strict_yaml import load_yaml
from dctnet.studies.accuracy.provenance import read_yaml
from tests.commands import fails

ROOT = Path(__file__).parents[2]
TWICE = "model:\n  lr: 0.02\ndata: {root: x}\nmodel:\n  lr: 0.5\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TWICE, "duplicate key 'model' (lines 1 and 4)"),
        ("a: {lr: 0.02, lr: 0.5}", "duplicate key 'a.lr' (line 1)"),
        ('a: {lr: 0.02, "lr": 0.5}', "duplicate key 'a.lr' (line 1)"),
        ("- 1\n- b: 1\n  c: {}\n  b: 1", "duplicate key '1.b' (lines 2 and 4)"),
        ("a: &a {b: 1}\nc: {<<: *a, b: 2, b: 3}", "duplicate key 'c.b' (line 2)"),
        ("a: &a {b: 1}\nc:\n  <<: *a\n  <<: *a", "duplicate key 'c.<<' (lines 3 and 4)"),
        ('{"a": {"b": 1, "b": 1}}', "duplicate key 'a.b' (line 1)"),
    ],
)
def test_error_has_the_duplicate_key_and_its_lines(text, words):
    with pytest.raises(UserError) as error:
        load_yaml(text, "c.yaml")
    assert str(error.value) == f"c.yaml: {words}; only the last would be used, keep one"


@pytest.mark.parametrize(
    "text",
    [
        "a: {lr: 1}\nb: {lr: 2}",
        "[{a: 1}, {a: 1}]",
        "{1: a, '1': b}",
        "base: &base {a: 1, b: 2}\nc: {<<: *base, b: 3}\nd: &d {<<: *base, a: 5}\ne: {<<: [*d, *base], a: 0}",
        "a: &a [*a, 1]",
        "",
    ],
)
def test_unique_keys_are_read_as_by_pyyaml(text):
    assert repr(load_yaml(text, "c.yaml")) == repr(yaml.safe_load(text))


VALUES = ["1e-3", "1.", "{lr: 1e-3, x: .5}", "[1e3, 1_000, 010, yes, 2020-01-01]", "{a,a}", "a:", "{a: 1, <<: {a: 2}}"]
CONFIGS = [*sorted((ROOT / "configs").glob("*.yaml")), *sorted((ROOT / "docs" / "benchmark").glob("*/grid.yaml"))]


def test_values_are_read_as_by_jsonargparse():
    strict, plain = (jsonargparse.get_loader(mode) for mode in (parsing.STRICT["parser_mode"], "yaml"))
    for text in [*VALUES, *(path.read_text() for path in CONFIGS)]:
        assert repr(strict(text)) == repr(plain(text))  # repr() tells numbers of different types apart


@pytest.mark.parametrize("verb", ["fit", "validate", "benchmark"])
@pytest.mark.parametrize("name", ["c.yaml", "c.json"])
def test_each_verb_rejects_a_config_with_duplicate_keys(verb, name, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("dctnet.cli.fit._trained_options", lambda _: {})
    (tmp_path / name).write_text(TWICE if name == "c.yaml" else '{"model":\n {"lr": 1,\n "lr": 2}}')
    words = "duplicate key 'model' (lines 1 and 4)" if name == "c.yaml" else "'model.lr' (lines 2 and 3)"
    line = fails(capsys, verb, "--config", tmp_path / name)
    assert str(tmp_path / name) in line
    assert words in line


def test_duplicate_key_in_a_nested_config_is_rejected(tmp_path, capsys):
    (tmp_path / "model.yaml").write_text("lr: 0.02\ngate: none\nlr: 0.5\n")
    (tmp_path / "outer.yaml").write_text("model: model.yaml\n")
    line = fails(capsys, "fit", "--config", tmp_path / "outer.yaml")
    assert "model.yaml: duplicate key 'lr' (lines 1 and 3)" in line
    (tmp_path / "c.yaml").write_text(TWICE)
    (tmp_path / "outer.yaml").write_text("config: c.yaml\n")
    assert "c.yaml: duplicate key 'model' (lines" in fails(capsys, "fit", "--config", tmp_path / "outer.yaml")


@pytest.mark.parametrize(
    "args",
    [
        ["fit", "--model", "{lr: 0.02, lr: 0.5}"],
        ["fit", "--trainer.callbacks", "[{class_path: x, class_path: y}]"],
        ["benchmark", "--arms", "[{choose: patches, choose: square}]"],
        ["benchmark", "--ranking.model", "{gate: static, gate: dynamic}"],
    ],
)
def test_duplicate_key_in_the_value_of_an_option_is_rejected(args, capsys):
    line = fails(capsys, *args)
    assert f"'{args[-1]}': duplicate key '" in line
    assert "(line 1)" in line


def test_duplicate_key_in_the_config_of_a_benchmark_is_rejected(tmp_path):
    (tmp_path / "grid.yaml").write_text(TWICE)
    with pytest.raises(UserError, match=r"grid.yaml: duplicate key 'model' \(lines 1 and 4\)"):
        read_yaml(tmp_path / "grid.yaml")


def test_help_reads_no_yaml():
    heavy = {"torch", "yaml", "jsonargparse"}
    code = f"import sys; from dctnet.cli import main; main(['--help']); assert not {heavy} & {{*sys.modules}}"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
