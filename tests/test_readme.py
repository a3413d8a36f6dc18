"""The README's commands run, in small, in the order it gives them."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from dctnet.cli import main
from tests.conftest import make_photos

ROOT = Path(__file__).parents[1]
SMALL = "--trainer.max_epochs 1 --trainer.limit_train_batches 2 --trainer.limit_val_batches 1 --trainer.accelerator cpu"


def commands() -> list[list[str]]:
    """All lines of the README's code blocks that call dctnet, continuation lines joined."""
    blocks = re.findall(r"^```bash\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    found = [re.sub(r".*?(?:^|bin/)dctnet ", "", line) for line in lines if re.search(r"(^|bin/)dctnet ", line)]
    return [shlex.split(line, comments=True) for line in found]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the recipes and some photographs, as the README's reader has it."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    make_photos(tmp_path / "photos", 8, 3)
    make_photos(tmp_path / "data" / "clothing-small", 8, 3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["dctnet"])


def test_commands_run_as_written(place):
    listed = commands()
    verbs = {"fit", "validate", "predict", "export-mask", "make-planted", "pack", "verify"}
    assert {command[0] for command in listed} >= verbs
    for command in listed:
        small = shlex.split(SMALL) if command[0] == "fit" else []
        small += ["--data.num_workers", "0"] if command[0] in ("fit", "validate", "predict") else []
        small += ["--train_per_class", "2", "--val_per_class", "1"] if command[0] == "make-planted" else []
        if "--train_per_class" in command:
            command = command[: command.index("--train_per_class")]
        assert main([*command, *small]) == 0, command


def test_map_names_files_that_exist():
    for path in re.findall(r"^    (\S+/\S*|\S+\.\w+)  ", (ROOT / "README.md").read_text(), re.MULTILINE):
        assert (ROOT / path).exists(), path


def test_pictures_exist():
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / path).is_file(), path
