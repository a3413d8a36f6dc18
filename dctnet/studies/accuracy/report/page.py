"""What the report's page says in words, as HTML."""

from collections.abc import Sequence
from html import escape
from typing import Any

from dctnet.studies.accuracy.report.arms import Arm, compared_to, front
from dctnet.studies.accuracy.report.figures.canvas import shown
from dctnet.studies.accuracy.report.figures.cost import BYTES, GMAC, Cost
from dctnet.studies.accuracy.report.figures.series import SERIES
from dctnet.studies.accuracy.report.folder import Failure
from dctnet.studies.accuracy.report.origin import commands, facts, judged_on, options_as_yaml, title, trained_on
from dctnet.studies.accuracy.report.summary import FEW, learned_against, summarise
from dctnet.studies.accuracy.report.table import table
from dctnet.studies.rows import Row


def texts(
    rows: Sequence[Row], arms: Sequence[Arm], options: dict[str, Any], failures: Sequence[Failure]
) -> dict[str, str]:
    """All but the pictures, as HTML by the name of its place in ``page.html``.

    Args:
        rows: All rows.
        arms: The same by arm, the best first.
        options: What all runs share, as far as it is recorded.
        failures: Runs that ended without a row.
    """
    compared = compared_to(arms)
    return {
        "trained_on": escape(trained_on(rows, options)),
        "judged_on": escape(judged_on(rows, options)),
        "title": escape(title(options)),
        "summary": _summary(arms),
        **{f"front_{cost.name}": escape(_front(arms, cost)) for cost in (GMAC, BYTES)},
        "ways": "\n".join(f"<dt>{escape(called)}</dt><dd>{escape(means)}</dd>" for called, means in _ways(arms)),
        "table": table(arms, compared),
        "about_differences": _about_differences(arms, compared),
        "failures": _failures(failures, {row.name for row in rows}),
        "facts": "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts(rows)),
        "commands": escape(commands(rows, options)),
        "options": escape(options_as_yaml(rows, options)),
    }


def _summary(arms: Sequence[Arm]) -> str:
    best, *more = summarise(arms)
    compared, *rest = more or [""]
    learned, lines = learned_against(arms)
    points = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return "\n".join(
        [
            f"<p><strong>{escape(f'{best} {compared}')}</strong></p>",
            *(f"<p>{escape(sentence)}</p>" for sentence in rest),
            f"<p>Does learning the channels pay? Top-1 of {escape(learned)}, of one ranking:</p><ul>{points}</ul>"
            if lines
            else "",
        ]
    )


def _front(arms: Sequence[Arm], cost: Cost) -> str:
    return ", ".join(f"{shown(arm.name)} ({arm.top1.value:.1f}\N{NO-BREAK SPACE}%)" for arm in front(arms, cost.of))


def _ways(arms: Sequence[Arm]) -> list[tuple[str, str]]:
    """Names and meanings of the ways of choosing that occur."""
    there = {arm.first.choose for arm in arms}
    found = [(series.called, series.means) for choose, series in SERIES.items() if choose in there]
    labels = sorted({arm.first.label for arm in arms} - {""})
    return found + [(f"+{label}", "a variant; its options are at the end, under variants") for label in labels]


def about_ranking(probability: Sequence[float] | None, energy: Sequence[float] | None) -> str:
    """What the maps show, as HTML.

    Args:
        probability: Keep probabilities, if any.
        energy: Variances, if any.
    """
    if probability is None and energy is None:
        return "<p>No gate has ranked the channels here, and no energies were measured.</p>"
    said = []
    if probability is not None:
        said.append(
            "How often the gate keeps each channel, mean over the gated runs. All arms of the way “learned” take their "
            "channels from this one ranking, so their intervals do not say what another gate would have chosen."
        )
    if energy is not None:
        said.append("Variance of each channel over training images: the energy that the way “energy” goes by.")
    said.append(
        f"Outlined are the channels of that way’s largest arm with at most {FEW}; their number is above each map."
    )
    return f"<p>{' '.join(said)}</p>"


def _about_differences(arms: Sequence[Arm], compared: Sequence[str]) -> str:
    if not compared:
        return (
            "<p>No finished run of rgb_matched or patches stands beside another arm, so there are no differences.</p>"
        )
    estimates = [arm.against[name] for arm in arms for name in compared if name in arm.against]
    single = sum(e.seeds == 1 for e in estimates)
    notes = [
        "<p>A variant is compared with the same variant of the baseline where there is one.</p>"
        if any(arm.first.label for arm in arms)
        else "",
        f"<p>These are {len(estimates)} comparisons at 95 %. Of those in which nothing differs, about one in twenty is "
        "called above or below all the same.</p>",
    ]
    if single:
        which = "All" if single == len(estimates) else f"{single}"
        notes.append(
            f"<p>{which} of them rest on one seed of at least one arm: that interval is over images alone and says "
            "nothing of how another training would have come out.</p>"
        )
    if any(1 < e.seeds < 5 for e in estimates):
        notes.append(
            "<p>Two to four seeds say little of how far others would spread: where seeds differ by as much as the "
            "interval is wide, it is too narrow.</p>"
        )
    return "\n".join(notes)


def _failures(failures: Sequence[Failure], finished: set[str]) -> str:
    if not failures:
        return ""
    lines = "\n".join(
        f'<tr><th scope="row">{escape(f.run)}</th><td>{escape(f.time)}</td><td>{escape(f.reason)}</td>'
        f"<td>{'finished later' if f.run in finished else 'missing above'}</td></tr>"
        for f in failures
    )
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("Run", "When", "Why", "Now"))
    return f"""<section id="failures"><h2>Runs that failed</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Failures"><table class="words">
<thead><tr>{heads}</tr></thead>
<tbody>
{lines}
</tbody></table></div></section>"""
