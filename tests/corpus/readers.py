"""The outcome of a file for a reader, and its distance from the picture that Pillow shows."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from dctnet.data.coefficients import CoefficientReader
from dctnet.data.dataset import PhotoDataset
from dctnet.data.folders import Files
from dctnet.data.images.photo import ImageError, Photo
from dctnet.data.packed.manifest import read_manifest
from dctnet.data.packed.shard import image_coefficients, read_index
from dctnet.data.packed.writer import pack
from dctnet.data.transforms import CenterCrop
from dctnet.frequency.channels import PlanesToChannels
from dctnet.frequency.selections import named_channels
from tests.pictures import see

SIDE = 16
ALL = named_channels("all")


def read(path: Path, reader: str, values: bool = True) -> tuple[str, np.ndarray | None]:
    """The outcome, ``read``, ``by pixels: REASON`` or ``left out: REASON``, and the values read.

    The values are YCbCr of the whole picture, or for ``coefficients`` the channels of its center; None without
    ``values``.
    """
    if reader == "coefficients":
        dataset = PhotoDataset(
            Files((str(path),), (0,)), CoefficientReader(CenterCrop(1.0), SIDE, ALL), "turbojpeg", 0, "val"
        )
        sample = dataset[0, 0]
        if sample.error is not None:
            return _left_out(ImageError(*sample.error)), None
        # The reason that by_pixels.csv will contain.
        return f"by pixels: {sample.refused[1]}" if sample.refused else "read", sample.content[0].numpy()
    try:
        photo = Photo(path, "pillow" if reader == "pillow" else "turbojpeg")
        photo.planes()
    except ImageError as error:
        return _left_out(error), None
    outcome = f"by pixels: {photo.refused}" if photo.refused and reader == "turbojpeg" else "read"
    return outcome, see(photo) if values else None


def _left_out(error: ImageError) -> str:
    assert str(error).isprintable()
    return f"left out: {error.reason}"


def shown(path: Path) -> Image.Image:
    """The picture as Pillow shows it: upright, over white, 8 bits of RGB."""
    with Image.open(path) as image:
        picture = ImageOps.exif_transpose(image)
        if picture.mode.startswith("I"):
            return Image.fromarray((np.asarray(picture) / 257).round().astype(np.uint8)).convert("RGB")
        rgba = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def distance(path: Path, reader: str, values: np.ndarray) -> float:
    """Mean absolute difference from the picture that Pillow shows, in levels, or of coefficients in their unit."""
    expected = np.asarray(shown(path).convert("YCbCr"))
    if reader == "coefficients":
        rows, columns = (length // 8 for length in expected.shape[:2])
        top, left = (8 * ((length - SIDE // 8) // 2) for length in (rows, columns))
        part = torch.from_numpy(expected.copy()).permute(2, 0, 1)[None, :, top : top + SIDE, left : left + SIDE]
        expected = PlanesToChannels(ALL)(part)[0].numpy()
    return float(np.abs(values.astype(float) - expected).mean())


def pack_folder(folder: Path, out: Path, compare: bool = True) -> Iterator[tuple[str, str, float | None]]:
    """Packs a data set with one class, ``a``, with ``on_error: skip``.

    Yields:
        Name and outcome of each file in the class, and with ``compare`` the mean absolute difference from the picture
        that Pillow shows, in units of a coefficient.
    """
    names = {path.name for path in (folder / "train" / "a").iterdir() if not path.name.startswith(".")}
    options = {
        "channels": "square-6",
        "image_size": SIDE,
        "min_scale": 1.0,
        "crop_fraction": 1.0,
        "on_error": "skip",
        "decoder": "turbojpeg",
    }
    pack(str(folder), str(out), **options, workers=1)
    manifest = read_manifest(out)
    for path, reason in manifest.splits["train"].skipped:
        names.remove(Path(path).name)
        yield Path(path).name, f"left out: {reason}", None
    steps = np.array(manifest.steps)[:, None, None]
    for shard in manifest.splits["train"].shards:
        raw, place = np.fromfile(out / f"{shard.name}.bin", manifest.dtype), 0
        for entry in read_index(manifest, manifest.splits["train"], shard):
            shape = (len(steps), *entry["blocks"][0])
            values = raw[place : place + np.prod(shape)].reshape(shape) * steps
            place += values.size
            names.remove(Path(entry["path"]).name)
            difference = _packed_distance(folder / entry["path"], values, manifest.channels) if compare else None
            yield Path(entry["path"]).name, "read", difference
    for name in names:
        yield name, "left out: not listed", None


def _packed_distance(path: Path, values: np.ndarray, channels: tuple[int, ...]) -> float:
    with tempfile.TemporaryDirectory() as place:
        png = Path(place, "shown.png")
        shown(path).save(png)
        expected = image_coefficients(Photo(png), tuple(values.shape[1:]), channels)  # type: ignore[arg-type]
    return float(np.abs(values - expected.numpy()).mean())
