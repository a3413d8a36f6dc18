"""From a benchmark's folder to one page: what was found, how sure it is, how to make it again."""

import os
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from dctnet.errors import UserError, did_you_mean_path
from dctnet.study.benchmark.record import ENERGY, FAILURES, GRID
from dctnet.study.benchmark.rows import ROWS, Row, read_rows
from dctnet.study.report.arms import BASELINES, Arm, arms_of, front
from dctnet.study.report.figures.canvas import Picture, render, shown
from dctnet.study.report.figures.channels import accuracy_channels
from dctnet.study.report.figures.cost import BYTES, GMAC, Cost, accuracy_cost
from dctnet.study.report.figures.differences import differences
from dctnet.study.report.figures.ranking import ranking
from dctnet.study.report.figures.series import SERIES
from dctnet.study.report.folder import Failure, read_channel_values, read_failures, read_options, read_ranking
from dctnet.study.report.origin import commands, facts, judged_on, options_as_yaml, title, trained_on
from dctnet.study.report.summary import FEW, learned_against, summarise
from dctnet.study.report.table import table

_FIGURES = ("accuracy_channels", "accuracy_gmac", "accuracy_bytes", "ranking", "differences")


def report(folder: str) -> None:
    """Makes the page of a benchmark anew from its ``rows.csv`` and what lies beside it.

    Args:
        folder: A benchmark's folder, or a copy of its few files.

    Raises:
        UserError: There is no row, or a file is damaged.
    """
    if not Path(folder).is_dir():
        raise UserError(f"{folder}: no such folder.{did_you_mean_path(folder)}")
    print(f"report: {write_report(Path(folder))}")


def write_report(out: Path) -> Path:
    """Writes ``report.html`` and ``figures/`` from rows and what lies beside them; the same files make the same bytes.

    Args:
        out: A benchmark's folder.

    Returns:
        The page.

    Raises:
        UserError: There is no row, or a file is damaged. Nothing has been written then but ``ranking.json``.
    """
    rows = read_rows(out / ROWS)
    if not rows:
        raise UserError(f"{out / ROWS}: no finished run, so nothing to report")
    options, failures = read_options(out / GRID), read_failures(out / FAILURES)
    energy, probability = read_channel_values(out / ENERGY, "variance"), read_ranking(out, options)
    arms = arms_of(rows)
    drawn = _draw(out / "figures", _pictures(arms, probability, energy))
    content = {
        **{name: drawn.get(name, "") for name in _FIGURES},
        **_texts(rows, arms, options, failures),
        "about_ranking": _about_ranking(probability, energy),
    }
    page = Template(files(__package__).joinpath("page.html").read_text(encoding="utf-8")).substitute(content)
    partial = out / f".report.html.{os.getpid()}"
    partial.write_text(page, encoding="utf-8", errors="replace")  # a lone surrogate in a name
    partial.replace(out / "report.html")
    return out / "report.html"


def _pictures(
    arms: Sequence[Arm], probability: Sequence[float] | None, energy: Sequence[float] | None
) -> list[Picture]:
    pictures = [accuracy_channels(arms), accuracy_cost(arms, GMAC), accuracy_cost(arms, BYTES)]
    if probability is not None or energy is not None:
        pictures.append(ranking(probability, energy, {way: _chosen(arms, way) for way in ("learned", "energy")}))
    if compared := _compared(arms):
        pictures.append(differences(arms, compared))
    return pictures


def _chosen(arms: Sequence[Arm], way: str) -> list[int]:
    """The channels of the largest arm of a way with few channels."""
    few = [a.first for a in arms if a.first.choose == way and not a.first.label and a.first.channels <= FEW]
    return [int(i) for i in max(few, key=lambda row: row.channels).indices.split()] if few else []


def _compared(arms: Sequence[Arm]) -> list[str]:
    """The baselines to which at least one arm is compared."""
    return [name for name in BASELINES if any(name in arm.against for arm in arms)]


def _draw(folder: Path, pictures: Sequence[Picture]) -> dict[str, str]:
    """Draws all pictures, and removes an earlier report's that are no longer."""
    folder.mkdir(exist_ok=True)
    drawn = {picture.name: render(picture, folder) for picture in pictures}
    for name in set(_FIGURES) - set(drawn):
        for ending in ("png", "csv"):
            (folder / f"{name}.{ending}").unlink(missing_ok=True)
    return drawn


def _texts(
    rows: Sequence[Row], arms: Sequence[Arm], options: dict[str, Any], failures: Sequence[Failure]
) -> dict[str, str]:
    """What the page says in words, as HTML."""
    compared = _compared(arms)
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
            f"<p>Does learning the channels pay? Top-1 of {escape(learned)}</p><ul>{points}</ul>" if lines else "",
        ]
    )


def _front(arms: Sequence[Arm], cost: Cost) -> str:
    return ", ".join(f"{shown(arm.name)} ({arm.top1.value:.1f}\N{NO-BREAK SPACE}%)" for arm in front(arms, cost.of))


def _ways(arms: Sequence[Arm]) -> list[tuple[str, str]]:
    """Names and meanings of the ways of choosing that occur."""
    there = {arm.first.choose for arm in arms}
    found = [(series.called, series.means) for choose, series in SERIES.items() if choose in there]
    labels = sorted({arm.first.label for arm in arms} - {""})
    return found + [(f"+{label}", "a variant; its options are in runs/NAME/fit.yaml") for label in labels]


def _about_ranking(probability: Sequence[float] | None, energy: Sequence[float] | None) -> str:
    if probability is None and energy is None:
        return "<p>No gate has ranked the channels here, and no energies were measured.</p>"
    said = []
    if probability is not None:
        said.append("How often the gate keeps each channel, mean over the gated runs.")
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
        f"<p>These are {len(estimates)} comparisons at 95 %. Of those in which nothing differs, about one in twenty is "
        "called above or below all the same.</p>"
    ]
    if single:
        which = "All" if single == len(estimates) else f"{single}"
        notes.append(
            f"<p>{which} of them rest on one seed of at least one arm: that interval is over images alone and says "
            "nothing of how another training would have come out.</p>"
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
