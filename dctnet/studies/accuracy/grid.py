"""The grid of a benchmark: selection methods × numbers of channels × seeds, and pixel baselines."""

import dataclasses
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from dctnet.errors import UserError
from dctnet.frequency.channels import NUM_CHANNELS
from dctnet.frequency.maskfile import resolve_channels
from dctnet.frequency.selections import named_channels

# In the order of the report's legend.
SELECTION_METHODS = ("learned", "energy", "square", "triangle", "zigzag", "random", "mask")
PIXEL_NETWORKS = ("rgb_matched", "rgb_same_pixels", "patchify", "patchify_dct")
Split = Literal["val", "test"]
# Data options that decide which images are evaluated, and how.
_EVALUATED = {
    "root", "channels", "input", "crop_fraction", "val_fraction", "classes", "per_class", "download", "source",
    "decoder",
}  # fmt: skip


@dataclass
class Arms:
    """Arms of a benchmark that share their options: one arm per number of channels and draw.

    Args:
        choose: Selection method of the channels: ``learned`` (ranking of the gate), ``energy`` (largest variance in the
            training data), ``square``, ``triangle``, ``zigzag``, ``random``, or ``mask``, the channels of ``mask``. Or
            a network that reads pixels:
            ``rgb_matched``, RGB with the stem at the smallest size with at least the GMAC of all 192 channels;
            ``rgb_same_pixels``, RGB with the stem at the crop size of the channels; ``patchify``, a learned 8×8
            convolution of stride 8; ``patchify_dct``, the same initialised as the DCT.
        channels: Numbers of channels, one arm each; only for selection methods, not for ``mask``.
        mask: A mask file or a named channel set; only for ``mask``, whose arms need a label.
        draws: Number of random selections of each size; only for ``random``.
        label: Name of a variant, which distinguishes it from the arm with the shared options.
        model: Model options that differ from the shared ones.
        trainer: Trainer options that differ from the shared ones.
        data: Data options that differ from the shared ones, such as ``image_size`` or ``progressive``; the images are
            the same for all arms.
        seeds: Seeds of these arms; those of the grid if empty.
    """

    choose: Literal[SELECTION_METHODS + PIXEL_NETWORKS]  # type: ignore[valid-type]
    channels: list[int] = field(default_factory=list)
    mask: str | None = None
    draws: int = 1
    label: str = ""
    model: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=list)


@dataclass
class Ranking:
    """Source of the learned ranking of the channels: gated trials, or a mask file.

    Args:
        seeds: Seeds of the gated trials, whose keep probabilities are averaged. Or ``own``: a learned arm has the
            ranking of the gated trial with its own seed, so that its interval includes the differences between gates.
        model: Model options of the gated trials: the gate and its budget.
        trainer: Trainer options of the gated trials that differ from the shared ones.
        mask: A mask file with keep probabilities, used instead of gated trials.
    """

    seeds: list[int] | Literal["own"] = field(default_factory=lambda: [0])
    model: dict[str, Any] = field(default_factory=lambda: {"gate": "dynamic", "keep": 24})
    trainer: dict[str, Any] = field(default_factory=dict)
    mask: str | None = None


@dataclass
class Grid:
    """The options of a benchmark; ``data``, ``model`` and ``trainer`` are those of ``dctnet fit``, for all arms."""

    data: dict[str, Any]
    model: dict[str, Any]
    trainer: dict[str, Any]
    arms: list[Arms]  # the most informative first
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])  # all arms run with the first before the second
    evaluate: list[Split] = field(default_factory=lambda: ["val"])  # pooled
    ranking: Ranking = field(default_factory=Ranking)  # for the arms ``learned``
    store: str | None = None  # a packed store for the arms whose channels it holds; the others read data.root


@dataclass(frozen=True)
class Trial:
    """One training of an arm with one seed."""

    arm: str
    choose: str  # as in Arms; all: all 192 channels; gate: a gated trial of the ranking
    count: int  # number of input channels; 0 for pixels
    draw: int  # number of the random selection
    label: str  # label of a variant, or empty
    seed: int  # of weights, data order and augmentation
    model: dict[str, Any]  # options that differ from the shared ones
    trainer: dict[str, Any]
    mask: str | None = None  # the mask file or channel set of choose: mask
    data: dict[str, Any] = field(default_factory=dict)  # as model

    @property
    def name(self) -> str:
        """Name of the trial and of its folder: arm and seed."""
        return f"{self.arm}-s{self.seed}"


def ranking_trials(grid: Grid) -> list[Trial]:
    """The gated trials that rank the channels; none if no arm needs a ranking or a mask file is given."""
    needed = any(arms.choose == "learned" and set(arms.channels) != {NUM_CHANNELS} for arms in grid.arms)
    if not needed or grid.ranking.mask is not None:
        return []
    options = grid.ranking.model, grid.ranking.trainer
    return [Trial("ranking", "gate", NUM_CHANNELS, 0, "", seed, *options) for seed in ranking_seeds(grid)]


def ranking_seeds(grid: Grid) -> list[int]:
    """Seeds of the gated trials."""
    if grid.ranking.seeds != "own":
        return grid.ranking.seeds
    learned = [arms for arms in grid.arms if arms.choose == "learned"]
    return list(dict.fromkeys(seed for arms in learned for seed in arms.seeds or grid.seeds))


def plan(grid: Grid) -> list[Trial]:
    """The trials that produce a row, in the order in which they run.

    Raises:
        UserError: No arm, no seed, a duplicate arm, or a number of channels that a selection method does not support.
            Gives the arm and the valid values.
    """
    own = [(f"arms, {arms.choose}: seeds", arms.seeds) for arms in grid.arms if arms.seeds]
    gated = [] if grid.ranking.seeds == "own" else [("--ranking.seeds", grid.ranking.seeds)]
    for name, seeds in [("--seeds", grid.seeds), *gated, *own]:
        if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise UserError(f"{name} must be different numbers of at least 0, one or more; got {seeds}")
    if not grid.evaluate or len(set(grid.evaluate)) < len(grid.evaluate):
        raise UserError(f"--evaluate must be val, test or both, each once; got {grid.evaluate}")
    if any(arms.choose == "learned" for arms in grid.arms):
        _check_ranking(grid)
    expanded = [
        (dataclasses.replace(trial, data=arms.data), arms.seeds or grid.seeds)
        for arms in grid.arms
        for trial in _expand(arms)
    ]
    trials = [trial for trial, _ in expanded]
    if not trials:
        raise UserError("--arms is empty; give at least one, such as {choose: learned, channels: [24]}")
    names = [trial.arm for trial in trials]
    if duplicate := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"duplicate arm {duplicate}; give variants different labels")
    order = dict.fromkeys([*grid.seeds, *itertools.chain.from_iterable(seeds for _, seeds in expanded)])
    return [dataclasses.replace(trial, seed=seed) for seed in order for trial, seeds in expanded if seed in seeds]


def _check_ranking(grid: Grid) -> None:
    if grid.ranking.model.get("gate", "none") == "none":
        raise UserError("--ranking.model has no gate to rank the channels with; give gate: static or dynamic")
    if grid.ranking.seeds == "own" and grid.ranking.mask is not None:
        raise UserError("--ranking.mask is one ranking for all seeds; --ranking.seeds own needs gated trials")


def _expand(arms: Arms) -> Iterator[Trial]:
    """One trial per arm, with seed 0."""
    if fixed := sorted(_EVALUATED.intersection(arms.data)):
        raise UserError(
            f"{arms.choose}: data.{fixed[0]} is the same for all arms, which see the same evaluation images"
        )
    if not re.fullmatch(r"\w*", arms.label, re.ASCII):
        raise UserError(f"label {arms.label!r}: only letters, digits and underscores, because it names a folder")
    if arms.draws < 1 or (arms.draws > 1 and arms.choose != "random"):
        raise UserError(f"{arms.choose}: draws must be 1, or at least 1 for random; got {arms.draws}")
    suffix = f"+{arms.label}" if arms.label else ""
    rest = arms.label, 0, arms.model, arms.trainer
    if arms.choose in PIXEL_NETWORKS:
        if arms.channels:
            raise UserError(f"{arms.choose} reads pixels and takes no number of channels, got {arms.channels}")
        yield Trial(arms.choose + suffix, arms.choose, 0, 0, *rest)
        return
    if (arms.choose == "mask") != (arms.mask is not None):
        raise UserError(f"{arms.choose}: the option mask belongs to choose: mask, which needs it; got {arms.mask}")
    if arms.mask is not None:
        if arms.channels or not arms.label:
            raise UserError(f"mask: {arms.mask} gives the channels; give a label and no number of channels")
        count = len(resolve_channels(arms.mask))
        yield Trial(f"mask-{count}{suffix}", "mask", count, 0, *rest, arms.mask)
        return
    if not arms.channels:
        raise UserError(f"{arms.choose}: channels is empty; give numbers from 1 to {NUM_CHANNELS}")
    for count in arms.channels:
        if not 1 <= count <= NUM_CHANNELS:
            raise UserError(f"{arms.choose}: {count} channels; give a number from 1 to {NUM_CHANNELS}")
        if count == NUM_CHANNELS:  # the same selection for every method
            yield Trial("all-192" + suffix, "all", count, 0, *rest)
            continue
        if arms.choose in ("square", "triangle"):
            named_channels(f"{arms.choose}-{count}")  # raises for a size that does not exist
        for draw in range(arms.draws):
            number = f"-{draw}" if arms.choose == "random" else ""
            yield Trial(f"{arms.choose}-{count}{number}{suffix}", arms.choose, count, draw, *rest)
