"""Selects the comparisons of the page's summary."""

from collections.abc import Sequence
from dataclasses import dataclass

from dctnet.studies.accuracy.report.arms import Arm, merge_draws
from dctnet.studies.bootstrap import Estimate, difference

# The summary is about arms with at most this many channels.
FEW = 24
_OTHERS = ("energy", "square", "triangle", "zigzag")


@dataclass(frozen=True)
class Summary:
    """The content of the summary.

    Args:
        few: Plain arms with at most ``FEW`` channels, the most accurate first.
        baseline: The arm ``rgb_matched``, if it has run.
        learned: The learned arm with the most channels up to ``FEW`` that can be compared.
        others: Differences of ``learned`` to the other methods at the same number of channels, by name.
    """

    few: list[Arm]
    baseline: Arm | None
    learned: Arm | None
    others: dict[str, Estimate]


def summarise(arms: Sequence[Arm]) -> Summary:
    """Selects the best arm with few channels, its baseline, and the comparisons of a learned arm.

    Args:
        arms: All arms, the most accurate first.
    """
    few = [arm for arm in arms if 1 <= arm.first.channels <= FEW and not arm.first.label]
    baseline = next((arm for arm in arms if arm.name == "rgb_matched"), None)
    for learned in sorted(few, key=lambda arm: -arm.first.channels):
        if learned.first.choose == "learned" and (others := _compare(learned, few)):
            return Summary(few, baseline, learned, others)
    return Summary(few, baseline, None, {})


def _compare(learned: Arm, few: Sequence[Arm]) -> dict[str, Estimate]:
    same = [arm for arm in few if arm.first.channels == learned.first.channels]
    found = {arm.name: difference(learned.rows, arm.rows) for arm in same if arm.first.choose in _OTHERS}
    for draws in merge_draws(same):
        count = len({row.draw for row in draws.rows})
        name = f"random-{draws.first.channels} (mean of {count} random selection{'s' * (count > 1)})"
        found[name] = difference(learned.rows, draws.rows)
    return found
