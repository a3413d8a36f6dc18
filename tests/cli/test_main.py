"""The entry point: help, exit statuses, and which exceptions become one line."""

import errno
import os
import subprocess
import sys

import pytest
from PIL import Image

from dctnet.cli import main
from dctnet.cli.main import VERBS
from dctnet.errors import Stopped
from tests.commands import fails, run


def test_help_lists_all_verbs_without_importing_torch():
    code = "import sys; from dctnet.cli import main; assert main(['--help']) == 0; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for verb in VERBS:
        assert verb in done.stdout


def test_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("dctnet 0.")


def raising(error):
    def verb(args):
        raise error

    return verb


def test_a_stopped_run_ends_with_status_75_and_one_printable_line(capsys, monkeypatch):
    stop = Stopped("stopped after step 1; to resume: --ckpt_path a\ndctnet: forged\x1b[31m")
    monkeypatch.setitem(VERBS, "fit", raising(stop))
    assert run("fit") == 75
    line = "dctnet: stopped after step 1; to resume: --ckpt_path a\\ndctnet: forged\\x1b[31m\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO])
@pytest.mark.parametrize(("name", "where"), [("a\nb.csv", r"a\nb.csv: "), (None, "")])
def test_filesystem_errors_are_one_line(capsys, monkeypatch, code, name, where):
    monkeypatch.setitem(VERBS, "fit", raising(OSError(code, os.strerror(code), name)))
    assert fails(capsys, "fit") == f"dctnet: {where}{os.strerror(code)}"


@pytest.mark.parametrize("error", [OSError("encoder error"), FileNotFoundError(errno.ENOENT, "none"), ValueError("x")])
def test_defects_keep_their_traceback(monkeypatch, error):
    monkeypatch.setitem(VERBS, "fit", raising(error))
    with pytest.raises(type(error)):
        main(["fit"])


def test_make_planted(tmp_path):
    sizes = ["--train_per_class", 1, "--val_per_class", 1]
    assert run("make-planted", tmp_path / "set", *sizes, "--seed", 3) == 0
    assert len(list((tmp_path / "set").rglob("*.jpg"))) == 16


def test_planted_set_on_a_full_disk_is_one_line_and_leaves_no_file(capsys, monkeypatch, tmp_path):
    def full(*given, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Image.Image, "save", full)
    line = fails(capsys, "make-planted", tmp_path / "set")
    assert line == f"dctnet: {tmp_path}/set: No space left on device"
    assert list(tmp_path.iterdir()) == []
