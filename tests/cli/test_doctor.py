"""The doctor names what is here, what it unlocks, and the command for what is not."""

import os
import subprocess
import sys

import pytest

from dctnet.cli import main
from dctnet.cli.doctor import install_command
from dctnet.data.images import turbojpeg


@pytest.mark.skipif(turbojpeg.describe() is None, reason="libjpeg-turbo is not found")
def test_found_library_is_named_with_what_it_unlocks(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert str(turbojpeg.describe()) in out
    assert "--data.source coefficients" in out
    assert "pytorch-lightning" in out


def test_missing_library_is_named_with_the_command_and_pillow_takes_over(photos):
    # In a process of its own: what was found is remembered.
    code = (
        "import sys; from dctnet.cli import main; from dctnet.data.images.photo import choose_decoder; "
        "assert choose_decoder('auto') == 'pillow'; sys.exit(main(['doctor']))"
    )
    environment = {**os.environ, "TURBOJPEG": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert "libjpeg-turbo: not found" in done.stdout
    assert "install" in done.stdout


@pytest.mark.parametrize(
    ("release", "command"),
    [
        ('ID=debian\nVERSION_ID="12"', "apt-get install -y libturbojpeg0"),
        ("ID=ubuntu\nID_LIKE=debian", "apt-get install -y libturbojpeg"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"', "apt-get install -y libturbojpeg"),
        ("ID=fedora", "dnf install"),
        ("ID=unheard-of", "package manager"),
    ],
)
def test_command_fits_the_system(tmp_path, monkeypatch, release, command):
    monkeypatch.setattr("platform.system", lambda: "Linux")
    (tmp_path / "os-release").write_text(release + "\n")
    assert command in install_command(tmp_path / "os-release")
