"""Makes the report of a benchmark's folder: ``report.html`` and ``figures/``."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from dctnet.errors import UserError
from dctnet.frequency.selections import named_channels, rank_channels
from dctnet.studies.accuracy.provenance import ENERGY, FAILURES, GRID, read_yaml
from dctnet.studies.accuracy.report.arms import (
    MARGIN,
    Arm,
    compared_baselines,
    fewest_not_inferior,
    format_accuracy,
    format_difference,
    group_arms,
    pareto_front,
    verdict,
)
from dctnet.studies.accuracy.report.facts import FEW, describe_runs, lookup, read_failures, summarise
from dctnet.studies.accuracy.report.figures import COSTS, plot_channels, plot_cost, plot_differences
from dctnet.studies.accuracy.report.ranking import plot_ranking, read_energy, read_rankings
from dctnet.studies.accuracy.report.series import SERIES
from dctnet.studies.accuracy.report.summary import benchmark_folders, write_summary
from dctnet.studies.page.page import Plot, render_plots, shorten, write_page
from dctnet.studies.rows import ROWS, read_rows


def write_reports(path: Path) -> list[Path]:
    """Writes the page of a benchmark, or those of the benchmarks in a folder and one across them; returns their paths.

    Raises:
        UserError: There is no row, or a file is damaged.
    """
    several = [] if (path / ROWS).exists() else benchmark_folders(path)
    pages = [write_report(each) for each in several or [path]]
    return [*pages, write_summary(path)] if several else pages


def write_report(out: Path) -> Path:
    """Writes ``report.html``, whose path is returned, and ``figures/``. The same input files give the same bytes.

    Raises:
        UserError: There is no row, or a file is damaged. Nothing is written then.
    """
    rows = read_rows(out / ROWS)
    if not rows:
        raise UserError(f"{out / ROWS}: no finished run, so nothing to report")
    options = read_yaml(out / GRID) if (out / GRID).exists() else {}
    failures, energy = read_failures(out / FAILURES), read_energy(out / ENERGY)
    mask = lookup(options, "ranking", "mask")
    rankings = read_rankings(out, None if mask is None else str(mask))
    probability = [sum(each) / len(rankings) for each in zip(*rankings, strict=True)] or None
    arms = group_arms(rows)
    plots = [plot_channels(arms), *(plot_cost(arms, column) for column in COSTS)]
    if probability is not None or energy is not None:
        scores = {"learned": probability, "energy": energy}
        plots.append(plot_ranking(probability, energy, {m: _outlined(arms, m, score) for m, score in scores.items()}))
    if compared_baselines(arms):
        plots.append(plot_differences(arms))
    _remove_old_figures(out / "figures", plots)
    write_page(
        out / "report.html",
        files(__package__).joinpath("report.html").read_text(encoding="utf-8"),
        plots=render_plots(plots, out / "figures"),
        summary=summarise(arms),
        rows=rows,
        arms=arms,
        fronts={column: pareto_front(arms, column) for column in COSTS},
        methods=[series for choose, series in SERIES.items() if choose in {arm.first.choose for arm in arms}],
        labels=sorted({arm.first.label for arm in arms} - {""}),
        rankings=len(rankings),
        has_energy=energy is not None,
        baselines={name: f"Minus {SERIES[name].name}" for name in compared_baselines(arms)},
        differences=[estimate for arm in arms for estimate in arm.against.values()],
        failures=failures,
        finished={row.name for row in rows},
        few=FEW,
        margin=MARGIN,
        fewest=fewest_not_inferior(arms),
        accuracy=format_accuracy,
        difference=format_difference,
        verdict=verdict,
        shorten=shorten,
        **describe_runs(rows, options),
    )
    return out / "report.html"


def _outlined(arms: Sequence[Arm], method: str, score: Sequence[float] | None) -> Sequence[int]:
    """The best channels by score, as many as the method's largest plain arm with at most ``FEW`` channels has."""
    few = [a.first.channels for a in arms if a.first.choose == method and not a.first.label and a.first.channels <= FEW]
    return rank_channels(named_channels("all"), score)[: max(few)] if few and score is not None else []


def _remove_old_figures(folder: Path, plots: Sequence[Plot]) -> None:
    """Removes figures of an earlier report that this one does not have."""
    for name in {"ranking", "differences"} - {plot.name for plot in plots}:
        for suffix in ("png", "csv"):
            (folder / f"{name}.{suffix}").unlink(missing_ok=True)
