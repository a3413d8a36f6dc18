"""Help texts are printed from the cache only while nothing that they were made from has changed."""

import importlib
import json
import os
import subprocess
import sys

import pytest

from dctnet.cli.help_cache import is_help, print_help
from dctnet.cli.main import main
from tests.commands import fails

ARGS = ["verb", "--help"]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/dctnet/help"


@pytest.fixture
def made(cache):
    """Prints the help of a verb; returns how often its text was made."""
    calls = []

    def make():
        calls.append(1)
        print(f"usage: {len(calls)}")
        raise SystemExit(0)

    def show():
        print_help(ARGS, make)
        return len(calls)

    return show


def test_a_text_is_made_once(made, capsys):
    assert [made(), made()] == [1, 1]
    assert capsys.readouterr().out == "usage: 1\n" * 2


def test_a_changed_module_makes_it_again(made, tmp_path, monkeypatch):
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    module = folder / "module_of_a_verb.py"
    module.write_text("option = 1")
    importlib.import_module("module_of_a_verb")
    assert [made(), made()] == [1, 1]
    module.write_text("option = 2, with another name")
    assert [made(), made()] == [2, 2]
    os.utime(module, ns=(1, 1))  # replaced by a file of the same size
    assert made() == 3
    module.unlink()
    assert made() == 4
    monkeypatch.delitem(sys.modules, "module_of_a_verb")


def test_a_new_package_makes_it_again(made, tmp_path, monkeypatch):
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    assert [made(), made()] == [1, 1]
    (folder / "plugin").mkdir()
    assert made() == 2


@pytest.mark.parametrize("name", ["COLUMNS", "LANGUAGE", "JSONARGPARSE_DEBUG"])
def test_another_environment_makes_it_again(made, monkeypatch, name):
    assert [made(), made()] == [1, 1]
    monkeypatch.setenv(name, "61")
    assert [made(), made()] == [2, 2]


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"files": {}}', b"null"])
def test_a_damaged_entry_makes_it_again(made, cache, content):
    made()
    (cache / "verb.json").write_bytes(content)
    assert made() == 2
    assert json.loads((cache / "verb.json").read_bytes())["text"] == "usage: 2\n"


def test_a_cache_that_cannot_be_written_is_not_used(made, cache, capsys):
    cache.parent.parent.write_text("a file")
    assert [made(), made()] == [1, 2]
    assert capsys.readouterr().out == "usage: 1\nusage: 2\n"


def test_an_error_is_not_kept(cache, capsys):
    def fail():
        raise SystemExit(2)

    with pytest.raises(SystemExit):
        print_help(ARGS, fail)
    assert fails(capsys, "lab", "sensitivty", "--help").startswith("dctnet: no study 'sensitivty'")
    assert not cache.exists()


def test_only_plain_help_is_kept():
    assert is_help(["fit", "--help"])
    assert is_help(["lab", "sensitivity", "-h"])
    assert not is_help(["fit", "--config", "a.yaml", "--help"])
    assert not is_help(["fit", "--trainer.max_epochs=2", "--help"])
    assert not is_help(["fit"])


def test_help_of_a_verb_is_the_same_from_the_cache_and_without_torch(cache, capsys):
    with pytest.raises(SystemExit):
        main(["verify", "DIR", "--help"])  # not from the cache
    expected = capsys.readouterr().out
    code = "import sys; from dctnet.cli import main; main(['verify', '--help']); print('torch' in sys.modules)"
    shown = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout for _ in range(2)]
    assert shown == [f"{expected}{imported}\n" for imported in (True, False)]


def test_packing_imports_neither_lightning_nor_torchvision_nor_scipy():
    code = "import sys; import dctnet.data.packed.writer; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"pytorch_lightning", "torchmetrics", "torchvision", "torch._dynamo", "scipy", "matplotlib", "timm"}
    assert not heavy & {*done.stdout.split()}
