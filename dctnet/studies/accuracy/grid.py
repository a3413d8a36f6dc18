"""What a benchmark runs: ways of choosing channels × how many × seeds, and the controls."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from dctnet.errors import UserError
from dctnet.frequency.channels import NUM_CHANNELS
from dctnet.frequency.selections import named_channels

# Ways of choosing channels, in the order of the report's legend, and the networks that read pixels.
WAYS = ("learned", "energy", "square", "triangle", "zigzag", "random")
PIXELS = ("rgb_matched", "rgb_same_pixels", "patches", "patches_dct")
Split = Literal["val", "test"]


@dataclass
class Arms:
    """Some arms of a benchmark: one for each number of channels and draw.

    Args:
        choose: How channels are chosen: ``learned`` (the gate's ranking), ``energy`` (largest variance in the training
            data), ``square``, ``triangle``, ``zigzag`` or ``random``. Or what reads pixels: ``rgb_matched``, RGB with
            its stem at the smallest size that has at least the GMAC of all 192 channels; ``rgb_same_pixels``, RGB at
            the size of the channels' crops; ``patches``, a learned 8×8 convolution of stride 8; ``patches_dct``, the
            same started as the DCT.
        channels: How many channels, an arm each; not for what reads pixels.
        draws: How many random selections of each size.
        label: Tells a variant from the plain arm of the same name.
        model: Options of the model that differ in these arms.
        trainer: Options of the trainer that differ in these arms.
    """

    choose: Literal[WAYS + PIXELS]  # type: ignore[valid-type]
    channels: list[int] = field(default_factory=list)
    draws: int = 1
    label: str = ""
    model: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)


@dataclass
class Ranking:
    """Where the learned ranking of the channels comes from: gated runs made first, or a mask file.

    Args:
        seeds: A gated run each; their keep probabilities are averaged.
        model: Options of the model: the gate and its budget.
        trainer: Options of the trainer that differ.
        mask: A mask file with keep probabilities to take instead.
    """

    seeds: list[int] = field(default_factory=lambda: [0])
    model: dict[str, Any] = field(default_factory=lambda: {"gate": "dynamic", "keep": 24})
    trainer: dict[str, Any] = field(default_factory=dict)
    mask: str | None = None


@dataclass
class Grid:
    """A benchmark.

    Args:
        data: Options of ``dctnet fit``'s data that all arms share.
        model: The same of the model.
        trainer: The same of the trainer.
        arms: What is compared, the most telling first.
        seeds: Every arm runs once with each; all arms have their first seed before any has its second.
        evaluate: The splits whose images count, together.
        ranking: Where ``learned`` comes from.
        store: A packed store that feeds the arms whose channels it holds; the others read ``data.root``.
    """

    data: dict[str, Any]
    model: dict[str, Any]
    trainer: dict[str, Any]
    arms: list[Arms]
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    evaluate: list[Split] = field(default_factory=lambda: ["val"])
    ranking: Ranking = field(default_factory=Ranking)
    store: str | None = None


@dataclass(frozen=True)
class Run:
    """One training.

    Args:
        arm: Its name without the seed.
        choose: As :class:`Arms` has it; ``gate`` for a run that ranks.
        count: Channels that come in; 0 for pixels.
        draw: Which of the random selections.
        label: Of a variant.
        seed: Seeds everything.
        model: Options that differ.
        trainer: Options that differ.
    """

    arm: str
    choose: str
    count: int
    draw: int
    label: str
    seed: int
    model: dict[str, Any]
    trainer: dict[str, Any]

    @property
    def name(self) -> str:
        """Its folder: the arm and the seed."""
        return f"{self.arm}-s{self.seed}"


def ranking_runs(grid: Grid) -> list[Run]:
    """The gated runs that rank the channels, if an arm needs them and no mask is given."""
    needed = any(arms.choose == "learned" and set(arms.channels) != {NUM_CHANNELS} for arms in grid.arms)
    if not needed or grid.ranking.mask is not None:
        return []
    own = grid.ranking
    return [Run("ranking", "gate", NUM_CHANNELS, 0, "", seed, own.model, own.trainer) for seed in own.seeds]


def plan(grid: Grid) -> list[Run]:
    """All trainings that make a row, in the order in which they are run.

    Raises:
        UserError: A number of channels that a way of choosing does not have, an arm twice, no arm, no seed. Names the
            arm and what would be right.
    """
    for name, seeds in (("seeds", grid.seeds), ("ranking.seeds", grid.ranking.seeds)):
        if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise UserError(f"--{name} must be different numbers from 0 on, at least one; got {seeds}")
    if not grid.evaluate or len(set(grid.evaluate)) < len(grid.evaluate):
        raise UserError(f"--evaluate must name val, test or both, each once; got {grid.evaluate}")
    if any(arms.choose == "learned" for arms in grid.arms) and grid.ranking.model.get("gate", "none") == "none":
        raise UserError("--ranking.model has no gate, so it ranks nothing: give it gate: static or dynamic")
    found = [run for arms in grid.arms for run in _expand(arms)]
    if not found:
        raise UserError("--arms is empty: name at least one, such as {choose: learned, channels: [24]}")
    names = [run.arm for run in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"arm {twice} is there twice; a label tells variants apart")
    return [Run(**{**vars(run), "seed": seed}) for seed in grid.seeds for run in found]


def _expand(arms: Arms) -> Iterator[Run]:
    if not re.fullmatch(r"\w*", arms.label, re.ASCII):
        raise UserError(f"label {arms.label!r}: letters, digits and underscores only; it becomes part of a folder")
    if arms.draws < 1 or (arms.draws > 1 and arms.choose != "random"):
        raise UserError(f"{arms.choose}: draws must be at least 1, and 1 but for random; got {arms.draws}")
    ending = f"+{arms.label}" if arms.label else ""
    rest = arms.label, 0, arms.model, arms.trainer
    if arms.choose in PIXELS:
        if arms.channels:
            raise UserError(f"{arms.choose} reads pixels and takes no number of channels, got {arms.channels}")
        yield Run(arms.choose + ending, arms.choose, 0, 0, *rest)
        return
    if not arms.channels:
        raise UserError(f"{arms.choose}: channels is empty; give numbers from 1 to {NUM_CHANNELS}")
    for count in arms.channels:
        if not 1 <= count <= NUM_CHANNELS:
            raise UserError(f"{arms.choose}: {count} channels; there are 1 to {NUM_CHANNELS}")
        if count == NUM_CHANNELS:  # the same, however they are chosen
            yield Run("all-192" + ending, "all", count, 0, *rest)
            continue
        if arms.choose in ("square", "triangle"):
            named_channels(f"{arms.choose}-{count}")  # names the sizes that there are
        for draw in range(arms.draws):
            which = f"-{draw}" if arms.choose == "random" else ""
            yield Run(f"{arms.choose}-{count}{which}{ending}", arms.choose, count, draw, *rest)
