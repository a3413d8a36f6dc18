"""Rows of a simulated benchmark, in which random numbers decide which images are classified right."""

import dataclasses
import json

import numpy as np

from dctnet.studies.rows import Row

# Arm, choose, channels, draw, label, probability of a right answer, GMAC, values.
_ARMS = [
    ("rgb_matched", "rgb_matched", 0, 0, "", 0.80, 0.478, 43_200),
    ("rgb_same_pixels", "rgb_same_pixels", 0, 0, "", 0.84, 1.814, 150_528),
    ("patchify", "patchify", 0, 0, "", 0.75, 0.461, 150_528),
    ("learned-24", "learned", 24, 0, "", 0.82, 0.452, 18_816),
    ("learned-6", "learned", 6, 0, "", 0.78, 0.451, 4_704),
    ("energy-24", "energy", 24, 0, "", 0.81, 0.452, 18_816),
    ("square-24", "square", 24, 0, "", 0.80, 0.452, 18_816),
    ("triangle-12", "triangle", 12, 0, "", 0.77, 0.4515, 9_408),
    ("zigzag-24", "zigzag", 24, 0, "", 0.80, 0.452, 18_816),
    ("random-24-0", "random", 24, 0, "", 0.68, 0.452, 18_816),
    ("random-24-1", "random", 24, 1, "", 0.62, 0.452, 18_816),
    ("all-192", "all", 192, 0, "", 0.81, 0.460, 150_528),
    ("all-192+stride1", "all", 192, 0, "stride1", 0.74, 0.460, 150_528),
]


def make_row(arm: str, seed: int, correct: str, **changed) -> Row:
    """A row that matches its column ``correct``; of ``learned-24`` at 224 px unless changed."""
    right, images = correct.count("1"), len(correct) - correct.count("-")
    top5 = min(images, right + round(0.15 * images))
    row = Row(
        arm, "learned", 24, 0, "", seed, right / images, top5 / images, images, correct, 0.301, 11_170_000, 18_816,
        18_816, 410.5, 321.0, 24, 224, "", "photographs", "0" * 64, "dctnet 0.1.0, Python 3.11.2, torch 2.15.0",
        "one core of an x86-64", "2026-01-02T03:04:05Z",
    )  # fmt: skip
    row = dataclasses.replace(row, **changed)
    return dataclasses.replace(row, indices=" ".join(map(str, range(row.channels))))


def draw_correct(rng: np.random.Generator, chance: np.ndarray, seeds: int, spread: float = 0.0) -> list[str]:
    """The column ``correct`` for each seed.

    Args:
        chance: Probability of a right answer for each image.
        spread: Standard deviation between seeds of this probability.
    """
    shifts = rng.normal(0, spread, (seeds, 1))
    right = rng.random((seeds, len(chance))) < chance + shifts
    return ["".join(line) for line in np.where(right, "1", "0")]


def make_arm(arm: str, correct: list[str], **changed) -> list[Row]:
    """One row per seed, from 0."""
    return [make_row(arm, seed, text, **changed) for seed, text in enumerate(correct)]


def make_benchmark(seeds: int = 3, images: int = 200) -> list[Row]:
    """All selection methods, three pixel networks, two random draws and a variant, on the same images."""
    rng = np.random.default_rng(0)
    hard = rng.beta(1.2, 0.3, images)  # most images are easy and some hard for all arms
    rows = []
    for name, choose, channels, draw, label, chance, gmac, values in _ARMS:
        kind = {"choose": choose, "channels": channels, "draw": draw, "label": label}
        cost = {"gmac": gmac, "values": values, "bytes": values}
        rows += make_arm(name, draw_correct(rng, hard + chance - hard.mean(), seeds, 0.01), **kind, **cost)
    return rows


def ranking_text(rng: np.random.Generator) -> str:
    """A mask file with random keep probabilities."""
    layout = {"format": "dctnet-mask", "version": 1, "block_size": 8, "components": ["Y", "Cb", "Cr"]}
    content = {"index": "64*component + 8*v + u", "channels": [0, 1], "source": {}}
    return json.dumps({**layout, **content, "keep_probability": rng.random(192).round(6).tolist()})
