"""The generated data sets: JPEG files whose class depends on 12 known channels, or on all octave bands alike."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import ExifTags, Image
from tqdm import tqdm

from dctnet.data import planted_bands
from dctnet.errors import UserError, printable
from dctnet.frequency.channels import COMPONENTS, NUM_CHANNELS, PER_COMPONENT, ChannelSet
from dctnet.frequency.dct import BLOCK
from dctnet.frequency.maskfile import write_mask
from dctnet.io.atomic import atomic_folder

# The channels that depend on the class: the correct mask. Luma from near DC to the upper middle, so that keeping the
# lowest frequencies is wrong; chroma low enough for 4:2:0; even u only, because a horizontal flip negates odd u.
TRUTH = ChannelSet("planted-truth", (2, 10, 20, 24, 34, 38, 44, 48, 64 + 2, 64 + 16, 128 + 8, 128 + 10))
# Channels with the same energy and variance as TRUTH in all classes, so that energy does not identify TRUTH.
DISTRACTORS = (4, 12, 18, 26, 28, 32, 42, 50, 64 + 8, 64 + 10, 128 + 2, 128 + 16)
SIDE = 96
NUM_CLASSES = 8

# Standard deviation of a texture's log amplitude between classes, and between the images of a class.
_SIGNAL, _NOISE = 0.45, 0.5
_AMPLITUDE = (32.0, 24.0, 24.0)  # of Y, Cb, Cr
_BACKGROUND = (30.0, 9.0, 9.0)
_QUALITIES, _SAMPLINGS, _SCALES = (85, 90, 95, 100), ("4:4:4", "4:2:2", "4:2:0"), (1.0, 1.5, 2.0)
_GREY_SHARE = 0.04
_SETTINGS = "planted.json"


def make_planted(
    root: str | Path,
    seed: int = 0,
    train_per_class: int = 150,
    val_per_class: int = 50,
    design: Literal["channels", "bands"] = "channels",
) -> Path:
    """Generates JPEG files with a known answer: photograph-like with 8 classes, or one calibrated for learning order.

    Design ``channels``: every image is 1/f noise, as in photographs, plus 24 textures in its 8×8 blocks, each in one
    channel. The amplitudes of 12 textures (the truth) differ between classes, those of the other 12 do not. Files
    differ in size, chroma subsampling and quality; some are grey, and the first of each class is rotated by EXIF. The
    same seed gives the same files with the same versions of NumPy, SciPy and Pillow.

    Design ``bands``: grey images of 6 classes, of 96 px, whose octave bands have the same energy and the same code of
    the class, so that each band alone classifies equally well. What is learned later is harder for the network.

    Args:
        root: Folder for ``train/``, ``val/``, ``truth.json`` (a mask file of the truth) and ``planted.json`` (these
            arguments). A folder made with the same arguments is not changed.
        seed: Seed of all random numbers.
        train_per_class: Training images per class.
        val_per_class: Validation images per class.
        design: ``channels`` or ``bands``.

    Raises:
        UserError: The folder has other files, a count is below 1, or the seed is negative.
    """
    root = Path(root)
    counts = {"train": train_per_class, "val": val_per_class}
    settings: dict[str, str | int] = {"format": "dctnet-planted", "version": 1, "seed": seed, **counts}
    if design != "channels":  # which earlier versions did not record
        settings["design"] = design
    if min(train_per_class, val_per_class) < 1 or seed < 0:
        got = f"--train_per_class {train_per_class}, --val_per_class {val_per_class}, --seed {seed}"
        raise UserError(f"images per class must be at least 1 and the seed at least 0, got {got}")
    if _is_made(root, settings):
        return root
    with atomic_folder(root) as folder:
        write = _write_bands if design == "bands" else _write_files
        write(folder, settings)
        (folder / _SETTINGS).write_text(json.dumps(settings) + "\n")
    return root


def _is_made(root: Path, settings: dict[str, str | int]) -> bool:
    """Whether the folder has the data set; an error if it has anything else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    path = root / _SETTINGS
    found = json.loads(path.read_text()) if path.is_file() else None
    if found != settings:
        what = "has other files" if found is None else f"was made with {found}"
        raise UserError(f"{root}: cannot make the planted data set there: it {what}; requested: {settings}")
    return True


def _files(root: Path, settings: dict[str, str | int], classes: int) -> Iterator[tuple[Path, int, np.random.Generator]]:
    """Path, class and generator of each file; creates the folders."""
    tasks = [
        (split, target, number)
        for split in ("train", "val")
        for target in range(classes)
        for number in range(int(settings[split]))
    ]
    name = printable(root.name.strip(".").split(".")[0])
    for split, target, number in tqdm(tasks, desc=f"planting {name}", unit="img", disable=None):  # terminals only
        folder = root / split / f"class{target}"
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng((int(settings["seed"]), split == "val", target, number))
        yield folder / f"{number:05d}.jpg", target, rng


def _write_bands(root: Path, settings: dict[str, str | int]) -> None:
    for path, target, rng in _files(root, settings, len(planted_bands.CODES)):
        # At this quality, the highest frequencies are as exact as the lowest.
        Image.fromarray(planted_bands.synthesize(target, rng)).save(path, quality=100)


def _write_files(root: Path, settings: dict[str, str | int]) -> None:
    signs = class_signs(NUM_CLASSES, len(TRUTH))
    for path, target, rng in _files(root, settings, NUM_CLASSES):
        _save(path, _synthesize(signs[target], rng), rng, rotated=path.stem == "00000")
    write_mask(
        root / "truth.json",
        TRUTH,
        [float(i in TRUTH.indices) for i in range(NUM_CHANNELS)],
        {"data": "planted", "seed": settings["seed"], "image_size": SIDE},
    )


def class_signs(classes: int, textures: int) -> np.ndarray:
    """+1 or −1 for a strong or weak texture, (classes, textures).

    Each texture is strong in half of the classes; no two are strong in the same half or in opposite halves.
    """
    halves = [c for c in itertools.combinations(range(classes), classes // 2) if 0 in c]
    chosen = np.random.default_rng(0).permutation(len(halves))[:textures]
    strong = np.array([[target in halves[i] for i in chosen] for target in range(classes)])
    return np.where(strong, 1.0, -1.0)


def _synthesize(class_signs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One image of a class: planes (3, SIDE, SIDE), 0 … 255, uint8."""
    blocks = SIDE // BLOCK
    coefficients = np.zeros((NUM_CHANNELS, blocks, blocks))
    signs = np.concatenate([class_signs, rng.choice([-1.0, 1.0], len(DISTRACTORS))])
    for channel, sign in zip((*TRUTH.indices, *DISTRACTORS), signs, strict=True):
        amplitude = _AMPLITUDE[channel // PER_COMPONENT] * np.exp(_SIGNAL * sign + _NOISE * rng.normal())
        coefficients[channel] = amplitude * np.abs(rng.normal(size=(blocks, blocks)))
    grid = coefficients.reshape(len(COMPONENTS), BLOCK, BLOCK, blocks, blocks)
    texture = _inverse_dct(grid, axes=(1, 2)).transpose(0, 3, 1, 4, 2).reshape(len(COMPONENTS), SIDE, SIDE)
    background = np.stack([spread * _one_over_f(rng) for spread in _BACKGROUND])
    return np.clip(np.rint(128 + texture + background), 0, 255).astype(np.uint8)


def _inverse_dct(coefficients: np.ndarray, **options: Any) -> np.ndarray:
    from scipy.fft import idctn  # takes half a second, also for verbs that only read photographs

    return idctn(coefficients, norm="ortho", **options)


def _one_over_f(rng: np.random.Generator) -> np.ndarray:
    """Noise with a 1/f spectrum, as in photographs; (SIDE, SIDE), mean 0, standard deviation 1."""
    radius = np.hypot(*np.meshgrid(np.arange(SIDE), np.arange(SIDE)))
    radius[0, 0] = np.inf
    # Exponent −1.5: with −1 the background would hide the textures at middle frequencies.
    field = _inverse_dct(rng.normal(size=(SIDE, SIDE)) * radius**-1.5)
    return field / field.std()


def _save(path: Path, planes: np.ndarray, rng: np.random.Generator, rotated: bool) -> None:
    """Writes a JPEG file of random size, color mode, quality and chroma subsampling."""
    image = Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0)), mode="YCbCr")
    side = round(SIDE * rng.choice(_SCALES))
    if side != SIDE:
        # Scaled back to SIDE, the blocks are aligned again and each texture is in its channel.
        image = image.resize((side, side), Image.Resampling.LANCZOS)
    if rng.random() < _GREY_SHARE:
        image = image.getchannel(0)
    exif = Image.Exif()
    if rotated:
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif[ExifTags.Base.Orientation] = 6  # to be rotated by 90° clockwise for display
    quality, sampling = int(rng.choice(_QUALITIES)), str(rng.choice(_SAMPLINGS))
    # Pillow rejects chroma subsampling of grey images.
    options = {} if image.mode == "L" else {"subsampling": sampling}
    image.save(path, quality=quality, exif=exif, **options)
