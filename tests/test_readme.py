"""The README's commands run with few images, in the order in which it gives them, and so does its Python."""

import functools
import re
import shlex
from pathlib import Path

import pytest

from dctnet.data.images import turbojpeg
from dctnet.data.planted import make_planted
from tests.commands import run
from tests.conftest import make_photos

pytestmark = pytest.mark.usefixtures("small_backbones")
ROOT = Path(__file__).parents[1]
README, CONTRIBUTING = ((ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md"))
SMALL = "--trainer.max_epochs 1 --trainer.limit_train_batches 2 --trainer.limit_val_batches 2 --trainer.accelerator cpu"
VERBS = {"fit", "validate", "predict", "export", "thin", "export-mask", "make-planted", "pack", "verify"}


def blocks(language: str) -> list[str]:
    """The README's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """Arguments of all lines that call dctnet, continuation lines joined."""
    lines = "".join(blocks("bash")).replace("\\\n", " ").splitlines()
    found = [re.sub(r".*?(?:^|bin/)dctnet ", "", line) for line in lines if re.search(r"(^|bin/)dctnet ", line)]
    return [shlex.split(line, comments=True) for line in found]


def shortened(command: list[str]) -> list[str]:
    """The command on few images."""
    if command[0] == "make-planted":
        return [*command[:2], "--train_per_class", "2", "--val_per_class", "1"]
    workers = ["--data.num_workers", "0"] if command[0] in ("fit", "validate", "predict") else []
    return [*command, *workers, *(shlex.split(SMALL) if command[0] == "fit" else [])]


def test_commands_and_python_run_as_written(tmp_path, monkeypatch):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    make_photos(tmp_path / "photos", 8, 3)
    make_photos(tmp_path / "data" / "clothing-small", 8, 3)
    monkeypatch.chdir(tmp_path)

    @functools.wraps(make_planted)  # whose signature the verb make-planted reads
    def planted(*args, **options):
        return make_planted(*args, **{"train_per_class": 4, "val_per_class": 2, **options})

    monkeypatch.setattr("dctnet.data.planted.make_planted", planted)
    assert {command[0] for command in commands()} >= VERBS
    for command in commands():
        if command[0] != "thin" or turbojpeg.describe() is not None:
            assert run(*shortened(command)) == 0, command
    for block in blocks("python"):
        exec(block, {})


def test_files_of_the_map_exist():
    for path in re.findall(r"^    (\S+/\S*|\S+\.\w+)  ", README + CONTRIBUTING, re.MULTILINE):
        assert (ROOT / path).exists(), path


def test_linked_files_and_pictures_exist():
    for path in re.findall(r"\]\(([^)#]+)\)", README):
        assert "://" in path or (ROOT / path).is_file(), path
