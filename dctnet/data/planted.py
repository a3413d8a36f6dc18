"""The generated sample data set: real JPEG files whose class depends on known frequency channels."""

import itertools
import json
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image
from scipy.fft import idctn
from tqdm import tqdm

from dctnet.errors import UserError, printable
from dctnet.frequency.channels import COMPONENTS, NUM_CHANNELS, PER_COMPONENT, ChannelSet
from dctnet.frequency.dct import BLOCK
from dctnet.frequency.maskfile import write_mask
from dctnet.io.atomic import atomic_folder

# Luma from DC's neighbours to the upper middle, so that "keep the lowest" is not the answer; chroma low enough for
# 4:2:0. All of even u: a flip negates the odd ones.
TRUTH = ChannelSet("planted-truth", (2, 10, 20, 24, 34, 38, 44, 48, 64 + 2, 64 + 16, 128 + 8, 128 + 10))
# As strong as the truth and as variable, but the same for all classes: energy alone does not give the truth away.
DISTRACTORS = (4, 12, 18, 26, 28, 32, 42, 50, 64 + 8, 64 + 10, 128 + 2, 128 + 16)
SIDE = 96
NUM_CLASSES = 8

# Spread of the logarithm of a texture's amplitude: what the class decides, and what differs between its images.
_SIGNAL, _NOISE = 0.45, 0.5
_AMPLITUDE = (32.0, 24.0, 24.0)
_BACKGROUND = (30.0, 9.0, 9.0)
_QUALITIES, _SAMPLINGS, _SCALES = (85, 90, 95, 100), ("4:4:4", "4:2:2", "4:2:0"), (1.0, 1.5, 2.0)
_GREY_SHARE = 0.04
_RECORD = "planted.json"


def make_planted(root: str | Path, seed: int = 0, train_per_class: int = 150, val_per_class: int = 50) -> Path:
    """Generates photograph-like JPEG files whose class depends on 12 known channels.

    Every image is natural-looking 1/f noise with 24 textures laid into its 8×8 blocks, each in one channel. The
    amplitudes of 12 of them (the truth) differ between classes, those of the other 12 do not. Files differ in size,
    chroma subsampling and quality; some are grey, one in each class is turned by EXIF. The same seed gives the same
    files, under the same versions of NumPy, SciPy and Pillow.

    Args:
        root: Where to put ``train/``, ``val/``, ``truth.json`` (a mask file) and ``planted.json`` (what was asked for).
            A folder that was made with the same arguments is left as it is.
        seed: Seeds all of it.
        train_per_class: Training images in each of the 8 classes.
        val_per_class: Validation images in each class.

    Returns:
        The folder.

    Raises:
        UserError: The folder holds something else, or a count is below 1.
    """
    root = Path(root)
    asked: dict[str, str | int] = {
        "format": "dctnet-planted",
        "version": 1,
        "seed": seed,
        "train": train_per_class,
        "val": val_per_class,
    }
    if min(train_per_class, val_per_class) < 1 or seed < 0:
        counts = f"train {train_per_class}, val {val_per_class}"
        raise UserError(
            f"a class needs at least one image and the seed must not be negative; got {counts}, seed {seed}"
        )
    if _already_made(root, asked):
        return root
    with atomic_folder(root) as folder:
        _write_files(folder, asked)
    return root


def _already_made(root: Path, asked: dict[str, str | int]) -> bool:
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    record = root / _RECORD
    found = json.loads(record.read_text()) if record.is_file() else None
    if found != asked:
        what = "it holds other files" if found is None else f"it was made with {found}"
        raise UserError(f"{root}: cannot put the planted data set there, {what}; asked for {asked}")
    return True


def _write_files(root: Path, asked: dict[str, str | int]) -> None:
    tasks = [
        (split, target, number)
        for split in ("train", "val")
        for target in range(NUM_CLASSES)
        for number in range(int(asked[split]))
    ]
    codes = _class_codes()
    name = printable(root.name.strip(".").split(".")[0])
    for split, target, number in tqdm(tasks, desc=f"planting {name}", unit="img", disable=None):  # not into logs
        folder = root / split / f"class{target}"
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng((int(asked["seed"]), split == "val", target, number))
        _save(folder / f"{number:05d}.jpg", _paint(codes[target], rng), rng, turned=number == 0)
    write_mask(
        root / "truth.json",
        TRUTH,
        [float(i in TRUTH.indices) for i in range(NUM_CHANNELS)],
        {"data": "planted", "seed": asked["seed"], "image_size": SIDE},
    )
    (root / _RECORD).write_text(json.dumps(asked) + "\n")


def _class_codes() -> np.ndarray:
    """Signs (classes, truth): each channel is strong in half of the classes, no two channels in the same half."""
    halves = [c for c in itertools.combinations(range(NUM_CLASSES), NUM_CLASSES // 2) if 0 in c]
    chosen = np.random.default_rng(0).permutation(len(halves))[: len(TRUTH)]
    strong = np.array([[target in halves[i] for i in chosen] for target in range(NUM_CLASSES)])
    return np.where(strong, 1.0, -1.0)


def _paint(code: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One image: planes (3, SIDE, SIDE), 0 … 255, uint8."""
    blocks = SIDE // BLOCK
    coefficients = np.zeros((NUM_CHANNELS, blocks, blocks))
    signs = np.concatenate([code, rng.choice([-1.0, 1.0], len(DISTRACTORS))])
    for channel, sign in zip((*TRUTH.indices, *DISTRACTORS), signs, strict=True):
        amplitude = _AMPLITUDE[channel // PER_COMPONENT] * np.exp(_SIGNAL * sign + _NOISE * rng.normal())
        coefficients[channel] = amplitude * np.abs(rng.normal(size=(blocks, blocks)))
    grid = coefficients.reshape(len(COMPONENTS), BLOCK, BLOCK, blocks, blocks)
    texture = idctn(grid, axes=(1, 2), norm="ortho").transpose(0, 3, 1, 4, 2).reshape(len(COMPONENTS), SIDE, SIDE)
    background = np.stack([spread * _one_over_f(rng) for spread in _BACKGROUND])
    return np.clip(np.rint(128 + texture + background), 0, 255).astype(np.uint8)


def _one_over_f(rng: np.random.Generator) -> np.ndarray:
    """Noise with amplitude falling as 1/frequency, as in photographs; mean 0, standard deviation 1."""
    radius = np.hypot(*np.meshgrid(np.arange(SIDE), np.arange(SIDE)))
    radius[0, 0] = np.inf
    # The power -1.5 keeps the background from drowning the textures of the middle frequencies.
    field = idctn(rng.normal(size=(SIDE, SIDE)) * radius**-1.5, norm="ortho")
    return field / field.std()


def _save(path: Path, planes: np.ndarray, rng: np.random.Generator, turned: bool) -> None:
    """Encodes an image in one of the ways that photographs come in."""
    image = Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0)), mode="YCbCr")
    side = round(SIDE * rng.choice(_SCALES))
    if side != SIDE:
        # Whole-image scaling keeps blocks on blocks: scaled back to SIDE, each texture is in its channel again.
        image = image.resize((side, side), Image.Resampling.LANCZOS)
    if rng.random() < _GREY_SHARE:
        image = image.getchannel(0)
    exif = Image.Exif()
    if turned:
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif[ExifTags.Base.Orientation] = 6  # "turn a quarter clockwise to see it upright"
    quality, sampling = int(rng.choice(_QUALITIES)), str(rng.choice(_SAMPLINGS))
    # Pillow accepts no chroma sampling for grey.
    options = {} if image.mode == "L" else {"subsampling": sampling}
    image.save(path, quality=quality, exif=exif, **options)
