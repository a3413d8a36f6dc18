"""The report's table, a row an arm."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from dctnet.studies.accuracy.report.arms import Arm, is_real, verdict
from dctnet.studies.accuracy.report.figures.series import SERIES
from dctnet.studies.accuracy.report.wording import difference_with_interval


@dataclass(frozen=True)
class Cell:
    """What stands in a cell.

    Args:
        html: As it is shown.
        value: What it is sorted by; None comes last.
    """

    html: str
    value: float | None


_NOTHING = Cell("–", None)
_Column = tuple[str, Callable[[Arm], Cell]]


def table(arms: Sequence[Arm], baselines: Sequence[str]) -> str:
    """The table as HTML, the best arm first.

    Args:
        arms: All arms, the best first.
        baselines: Names of those to compare with, that have run.
    """
    columns = [*_ACCURACY, *(_against(name) for name in baselines), *_COSTS]
    heads = [
        _head("Arm", "none"),
        *(_head(name, "descending" if i == 0 else "none") for i, (name, _) in enumerate(columns)),
    ]
    body = "\n".join(_line(arm, columns) for arm in arms)
    return f"<thead><tr>{''.join(heads)}</tr></thead>\n<tbody>\n{body}\n</tbody>"


def _head(name: str, order: str) -> str:
    return f'<th scope="col" aria-sort="{order}"><button type="button">{escape(name)}</button></th>'


def _line(arm: Arm, columns: Sequence[_Column]) -> str:
    cells = (cell(arm) for _, cell in columns)
    shown = "".join(f'<td data-value="{"" if c.value is None else repr(c.value)}">{c.html}</td>' for c in cells)
    name = re.sub(r"([-_+])", r"\1<wbr>", escape(arm.name))
    return f'<tr><th scope="row">{name}</th>{shown}</tr>'


def _top1(arm: Arm) -> Cell:
    e = arm.top1
    return Cell(f"<b>{e.value:.1f}</b> <small>[{e.low:.1f}, {e.high:.1f}]</small>", e.value)


def _seeds(arm: Arm) -> Cell:
    each = (f'<span title="seed {row.seed}">{100 * row.top1:.1f}</span>' for row in arm.rows)
    return Cell(" ".join(each), 100 * arm.mean("top1"))


def _against(baseline: str) -> _Column:
    def cell(arm: Arm) -> Cell:
        if (found := arm.against.get(baseline)) is None:
            return Cell("the baseline", None)
        text = f"{difference_with_interval(found)} {verdict(found) if is_real(found) else '<small>n. d.</small>'}"
        return Cell(f"<b>{text}</b>" if is_real(found) else text, found.value)

    return f"Minus {SERIES[baseline].called}", cell


def _of_first(column: str, shown: str = ",") -> Callable[[Arm], Cell]:
    """What all seeds share."""
    return lambda arm: Cell(format(getattr(arm.first, column), shown), getattr(arm.first, column))


def _mean(column: str, shown: str, scale: float = 1.0) -> Callable[[Arm], Cell]:
    return lambda arm: Cell(format(arm.mean(column) * scale, shown), arm.mean(column) * scale)


def _channels(arm: Arm) -> Cell:
    return Cell(str(arm.first.channels), arm.first.channels) if arm.first.channels else _NOTHING


_ACCURACY: list[_Column] = [("Top-1, %", _top1)]
_COSTS: list[_Column] = [
    ("Each seed’s top-1", _seeds),
    ("Top-5, %", _mean("top5", ".1f", 100)),
    ("Channels", _channels),
    ("GMAC", _of_first("gmac", ".3f")),
    ("Parameters", _of_first("parameters")),
    ("Values an image", _of_first("values")),
    ("Bytes an image", _of_first("bytes")),
    ("Images/s", _mean("images_per_second", ",.0f")),
    ("Minutes a run", _mean("seconds", ".1f", 1 / 60)),
    ("Seeds", lambda arm: Cell(str(len(arm.rows)), len(arm.rows))),
]
