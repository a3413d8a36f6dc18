"""Rows grouped by arm, with accuracies and with differences to the baselines."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dctnet.studies.estimates import Estimate, accuracy, difference
from dctnet.studies.rows import Row

# All arms are compared with these, image by image; the most important baseline first.
BASELINES = ("rgb_matched", "patchify")
# Non-inferiority margin in points: an arm is not inferior to a baseline if the interval of its difference is above -1.
MARGIN = 1.0


@dataclass(frozen=True)
class Arm:
    """The runs of one arm."""

    rows: tuple[Row, ...]  # one per seed, ascending; of merged random selections, one per selection and seed
    top1: Estimate
    against: dict[str, Estimate]  # differences to the baselines that have run, except one of the arm's own kind

    @property
    def first(self) -> Row:
        """The row of the first seed, for the columns that do not depend on the seed."""
        return self.rows[0]

    @property
    def name(self) -> str:
        """The name of the arm."""
        return self.first.arm

    def mean(self, column: str) -> float:
        """The mean of a numeric column over the seeds."""
        return sum(getattr(row, column) for row in self.rows) / len(self.rows)


def group_arms(rows: Iterable[Row]) -> list[Arm]:
    """Groups rows by arm; the most accurate arm first, ties by name.

    A variant is compared with the same variant of a baseline, or with the plain baseline if that variant has not run.
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


def merge_draws(arms: Iterable[Arm]) -> list[Arm]:
    """The random selections of each size and label as one arm, whose interval includes the spread between selections.

    Arms of other methods are left out. Few channels first.
    """
    groups: dict[tuple[int, str], list[Row]] = {}
    for arm in sorted(arms, key=lambda arm: arm.first.draw):
        if arm.first.choose == "random":
            groups.setdefault((arm.first.channels, arm.first.label), []).extend(arm.rows)
    return [Arm(tuple(rows), accuracy(rows), {}) for _, rows in sorted(groups.items())]


def pareto_front(arms: Iterable[Arm], column: str) -> list[Arm]:
    """The arms for which no arm with a lower cost in this column is at least as accurate; cheapest first."""
    front: list[Arm] = []
    for arm in sorted(arms, key=lambda arm: (getattr(arm.first, column), -arm.top1.value, arm.name)):
        if not front or arm.top1.value > front[-1].top1.value:
            front.append(arm)
    return front


def fewest_not_inferior(arms: Iterable[Arm]) -> Arm | None:
    """The plain learned arm with the fewest channels that is not inferior to the first of ``BASELINES``, if any."""
    learned = [arm for arm in arms if arm.first.choose == "learned" and not arm.first.label]
    found = [arm for arm in learned if BASELINES[0] in arm.against and arm.against[BASELINES[0]].low > -MARGIN]
    return min(found, key=lambda arm: arm.first.channels, default=None)


def compared_baselines(arms: Sequence[Arm]) -> list[str]:
    """The baselines with which at least one arm is compared."""
    return [name for name in BASELINES if any(name in arm.against for arm in arms)]


def verdict(difference: Estimate) -> str:
    """``above`` or ``below`` if the interval of a difference excludes 0, else ``not distinguishable``."""
    return {1: "above", 0: "not distinguishable", -1: "below"}[difference.sign]


def format_signed(value: float) -> str:
    """One decimal with a sign: ``+0.4``, ``−1.2``, ``0.0``."""
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def format_accuracy(estimate: Estimate) -> str:
    """``81.2 % [79.0, 83.1]``, with no-break spaces."""
    return f"{estimate.value:.1f} % [{estimate.low:.1f}, {estimate.high:.1f}]".replace(" ", "\N{NO-BREAK SPACE}")


def format_difference(difference: Estimate) -> str:
    """``+0.4 [−0.3, +1.1]``, with no-break spaces; two decimals where one would hide the sign of an end."""
    ends = [format_signed(end) for end in (difference.low, difference.high)]
    if "0.0" in ends and verdict(difference) != "not distinguishable":
        ends = [f"{end:+.2f}".replace("-", "−") for end in (difference.low, difference.high)]
    return f"{format_signed(difference.value)} [{', '.join(ends)}]".replace(" ", "\N{NO-BREAK SPACE}")
