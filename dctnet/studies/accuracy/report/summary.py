"""What a benchmark says, in sentences made from its figures."""

from collections.abc import Sequence

from dctnet.studies.accuracy.report.arms import Arm, Draws, draws_of, verdict
from dctnet.studies.accuracy.report.figures.canvas import shown
from dctnet.studies.accuracy.report.wording import difference_with_interval, with_interval
from dctnet.studies.bootstrap import Estimate, difference

FEW = 24
_BASELINE = "rgb_matched"
_OTHERS = ("energy", "square", "triangle", "zigzag")


def summarise(arms: Sequence[Arm]) -> list[str]:
    """The best arm with few channels against RGB at matched GMAC, as sentences of plain text.

    Args:
        arms: All arms, the best first.
    """
    few = [arm for arm in arms if 1 <= arm.first.channels <= FEW and not arm.first.label]
    baseline = next((arm for arm in arms if arm.name == _BASELINE), None)
    said = [_best(few[0]) if few else f"No arm has {FEW} channels or fewer."]
    if baseline is None:
        said.append(
            f"The arm {_BASELINE} (RGB at matched GMAC) has no finished run, so there is nothing to compare with: "
            "differences to it are left out."
        )
    elif few:
        said.append(_against(few[0], baseline))
    if len(few) > 1:
        said.append(
            f"It is the best of {len(few)} arms with so few channels, picked after the fact, which flatters it."
        )
    return said


def _best(arm: Arm) -> str:
    return (
        f"With at most {FEW} of 192 channels the best arm is {shown(arm.name)}: {with_interval(arm.top1)} top-1, "
        f"{arm.first.gmac:.3g} GMAC, {arm.first.bytes:,} bytes an image."
    )


def _against(arm: Arm, baseline: Arm) -> str:
    found = arm.against[_BASELINE]
    said = {"above": "is above", "below": "is below", "not distinguishable": "is not distinguishable from"}
    alone = " With one seed, that says nothing of how another training would have come out." * (found.seeds == 1)
    return (
        f"It {said[verdict(found)]} RGB at matched GMAC ({with_interval(baseline.top1)}, "
        f"{baseline.first.gmac:.3g} GMAC, {baseline.first.bytes:,} bytes): "
        f"the paired difference is {difference_with_interval(found)} points over {_runs(found)}.{alone}"
    )


def _runs(estimate: Estimate) -> str:
    return f"{estimate.images:,} images and {'one seed' if estimate.seeds == 1 else f'{estimate.seeds} seeds'}"


def learned_against(arms: Sequence[Arm]) -> tuple[str, list[str]]:
    """Whether learning the channels pays: against the other ways at the same number, the largest up to FEW.

    Returns:
        Name of the learned arm, and a line of plain text for each other way; none where there is nothing to compare.
    """
    plain = [arm for arm in arms if not arm.first.label]
    draws = {draw.channels: draw for draw in draws_of(plain)}
    for learned in sorted(plain, key=lambda arm: -arm.first.channels):
        count = learned.first.channels
        if learned.first.choose == "learned" and count <= FEW:
            others = [arm for arm in plain if arm.first.channels == count and arm.first.choose in _OTHERS]
            if others or count in draws:
                return shown(learned.name), _comparisons(learned, others, draws.get(count))
    return "", []


def _comparisons(learned: Arm, others: Sequence[Arm], draws: Draws | None) -> list[str]:
    found = {shown(arm.name): difference(learned.rows, arm.rows) for arm in others}
    if draws is not None:
        name = f"random-{draws.channels}, {len(draws.arms)} draw{'s' * (len(draws.arms) > 1)} together"
        found[name] = difference(learned.rows, [row for arm in draws.arms for row in arm.rows])
    single = {name: ", one seed" if e.seeds == 1 else "" for name, e in found.items()}
    return [f"minus {name}: {difference_with_interval(e)}, {verdict(e)}{single[name]}" for name, e in found.items()]
