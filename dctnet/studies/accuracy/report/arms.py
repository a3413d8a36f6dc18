"""Rows by arm, with their accuracies and what they differ by from the baselines."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from dctnet.studies.bootstrap import Estimate, accuracy, difference
from dctnet.studies.rows import Row

# What arms are compared with, image by image, the most telling first.
BASELINES = ("rgb_matched", "patches")


@dataclass(frozen=True)
class Arm:
    """What one arm came to over its seeds.

    Args:
        rows: One a seed, ascending.
        top1: Share of images with the right class first, in per cent.
        against: Difference to each baseline that has run, by its plain name; a baseline has none to its own variants.
    """

    rows: tuple[Row, ...]
    top1: Estimate
    against: dict[str, Estimate]

    @property
    def first(self) -> Row:
        """The row of the first seed: what all seeds share stands there."""
        return self.rows[0]

    @property
    def name(self) -> str:
        """Its name."""
        return self.first.arm

    def mean(self, column: str) -> float:
        """Mean of a column of numbers over the seeds."""
        return sum(getattr(row, column) for row in self.rows) / len(self.rows)


@dataclass(frozen=True)
class Draws:
    """All random draws of one size.

    Args:
        channels: How many channels each has.
        label: Of a variant.
        arms: A draw each.
        top1: Of all together, with the spread between draws.
    """

    channels: int
    label: str
    arms: tuple[Arm, ...]
    top1: Estimate


def arms_of(rows: Iterable[Row]) -> list[Arm]:
    """Groups rows by arm; the best arm first, the order of names among equals.

    A variant is compared with the same variant of a baseline, or where there is none, with the plain one.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.arm, []).append(row)
    arms = []
    for group in groups.values():
        against = {}
        for name in BASELINES:
            base = groups.get(f"{name}+{group[0].label}", groups.get(name))
            if base is not None and group[0].choose != name:
                against[name] = difference(group, base)
        arms.append(Arm(tuple(sorted(group, key=lambda row: row.seed)), accuracy(group), against))
    return sorted(arms, key=lambda arm: (-arm.top1.value, arm.name))


def draws_of(arms: Sequence[Arm]) -> list[Draws]:
    """The random arms by size and label, few channels first."""
    groups: dict[tuple[int, str], list[Arm]] = {}
    for arm in sorted(arms, key=lambda arm: arm.first.draw):
        if arm.first.choose == "random":
            groups.setdefault((arm.first.channels, arm.first.label), []).append(arm)
    return [
        Draws(channels, label, tuple(group), accuracy([row for arm in group for row in arm.rows]))
        for (channels, label), group in sorted(groups.items())
    ]


def front(arms: Sequence[Arm], cost: Callable[[Arm], float]) -> list[Arm]:
    """The arms that no other beats in cost without losing accuracy: cheapest first, each better than the one before."""
    best: list[Arm] = []
    for arm in sorted(arms, key=lambda arm: (cost(arm), -arm.top1.value, arm.name)):
        if not best or arm.top1.value > best[-1].top1.value:
            best.append(arm)
    return best


def compared_to(arms: Sequence[Arm]) -> list[str]:
    """The baselines to which at least one arm is compared."""
    return [name for name in BASELINES if any(name in arm.against for arm in arms)]


def is_real(estimate: Estimate) -> bool:
    """Whether the interval of a difference leaves 0 out."""
    return estimate.low > 0 or estimate.high < 0


def verdict(estimate: Estimate) -> str:
    """What may be said of a difference: ``above``, ``below`` or ``not distinguishable``."""
    if not is_real(estimate):
        return "not distinguishable"
    return "above" if estimate.value > 0 else "below"
