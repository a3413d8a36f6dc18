"""Lists installed libraries, what they enable, and how to install the missing ones."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dctnet import __version__
from dctnet.data.images import turbojpeg

_PACKAGES = ("torch", "torchvision", "timm", "pytorch-lightning", "numpy", "pillow", "PyTurboJPEG")
# Keys: ID or ID_LIKE of /etc/os-release.
_INSTALL = {
    "debian": "sudo apt-get install -y libturbojpeg0",
    "ubuntu": "sudo apt-get install -y libturbojpeg",
    "fedora": "sudo dnf install -y turbojpeg",
    "rhel": "sudo dnf install -y turbojpeg",
    "suse": "sudo zypper install -y libturbojpeg0",
    "arch": "sudo pacman -S --noconfirm libjpeg-turbo",
    "alpine": "sudo apk add libjpeg-turbo",
}


def doctor() -> None:
    """Prints which libraries are installed, what they enable, and the command that installs a missing one."""
    print(f"dctnet {__version__}, Python {platform.python_version()}, {platform.platform()}")
    print("".join(f"  {name:<20}{_version(name)}\n" for name in _PACKAGES), end="")
    _report(
        "libjpeg-turbo",
        turbojpeg.describe(),
        "JPEG files are decoded at their own resolution and scaled while decoding; --data.source coefficients",
        f"Pillow decodes instead, slower. To install it: {install_command()}",
    )
    import torch

    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    _report(
        "GPU",
        device,
        "training and the DCT of --data.dct device run on it; --data.residency device keeps a packed store there",
        "torch finds no GPU; everything runs on the CPU",
    )


def _report(name: str, found: str | None, enables: str, missing: str) -> None:
    print(f"{name}: {found}\n  enables: {enables}" if found else f"{name}: not found\n  {missing}")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return f"not found; pip install {name}"


def install_command(release: Path = Path("/etc/os-release")) -> str:
    """Returns the command that installs the TurboJPEG library on this system."""
    if platform.system() == "Darwin":
        return "brew install jpeg-turbo"
    if platform.system() == "Windows":
        return "winget install libjpeg-turbojpeg.libjpeg-turbojpeg.VC"
    lines = release.read_text().splitlines() if release.is_file() else []
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    names = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".replace('"', "").split()
    return next(
        (_INSTALL[name] for name in names if name in _INSTALL), "install libturbojpeg with your package manager"
    )
