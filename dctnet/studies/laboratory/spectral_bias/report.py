"""The page of the study: the answers in words, and the sections that were measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dctnet.studies.laboratory.page import Found, Section, Table, write_study
from dctnet.studies.laboratory.spectral_bias.figures import draw_half, draw_heat, plot
from dctnet.studies.laboratory.spectral_bias.results import (
    Curves,
    Order,
    across_seeds,
    exponent_change,
    order_of,
    read_curves,
)
from dctnet.studies.laboratory.spectral_bias.robustness_report import (
    MEASURES,
    Arms,
    cell,
    label_curves,
    labels_section,
    numbers_of,
    perturbation_section,
)
from dctnet.studies.laboratory.spectral_bias.source import FULL, as_in_source, compare_iterations
from dctnet.studies.laboratory.spectral_bias.training import Setting
from dctnet.studies.laboratory.study import Study


def write_report(study: Study, arms: Mapping[str, Setting], sweep: str | None) -> Path:
    """Writes ``report.html`` and ``figures/`` from the rows of a study; returns the page's path."""
    names = [*MEASURES, "perturbed_modulus", "perturbed_match"]
    curves = {arm: {name: read_curves(study.rows, arm, name) for name in names} for arm in arms}
    orders = {arm: order_of(each["match"]) for arm, each in curves.items()}
    first = next(iter(arms.values()))
    found = [_learning(curves), _iterations(curves, orders, first)]
    if sweep:
        found.insert(0, _changes(curves, sweep))
    if curves[next(iter(arms))]["perturbed_modulus"].x.size:
        found.append(perturbation_section(curves))
    if labels := sorted({float(row["k"]) for row in study.rows if row["arm"] == "labels"}):
        found.append(labels_section({k: label_curves(study, k) for k in labels}))
    summary = [_words(arm if sweep else "This network", orders[arm], curves[arm]["match"]) for arm in arms]
    summary += [paragraph for _, told in found for paragraph in told]
    title, question = "Which frequencies a network learns first", _question(study, first, sweep)
    return write_study(study, title, question, summary, [section for section, _ in found])


def _question(study: Study, setting: Setting, sweep: str | None) -> str:
    where = "an interval" if setting.petals is None else f"a closed curve with {setting.petals} petals"
    seeds = study.content["options"]["seeds"]
    varied = f" The factor {sweep} is varied; this is the first of its values." if sweep else ""
    return (
        f"A network with {setting.depth} hidden layers of {setting.width} units ({setting.activation}) learns a sum of "
        f"sines on {where}, with {setting.optimizer} at {setting.learning_rate:g} for {setting.steps:,} iterations."
        f"{varied} In which order does it learn the frequencies, which of them suffer when its parameters move, and "
        "which noise on labels does it learn? The experiments are those of Rahaman et al. 2019, On the Spectral Bias "
        "of Neural Networks. "
        + (
            f"Numbers in brackets are 95 % intervals over {seeds} seeds."
            if seeds > 1
            else "All numbers are of one seed."
        )
    )


def _words(name: str, order: Order, match: Curves) -> str:
    count = f"of {len(match.k)} frequencies, {order.learned} reach half of their amplitude"
    if order.correlation is None:
        return f"{name}: {count}; in some seed no order of learning can be told."
    if order.correlation.seeds == 1:
        verdict = "order of learning"
    else:
        verdict = {1: "low frequencies first", -1: "high frequencies first", 0: "no order is shown"}[
            order.correlation.sign
        ]
    power = f"; the iterations grow as frequency to the power {order.exponent}" if order.exponent else ""
    return f"{name}: {verdict} (rank correlation of frequency and iteration {order.correlation}){power}; {count}."


def _learning(curves: Arms) -> Found:
    shown = ["match", "modulus"] if len(curves) == 1 else ["match"]
    panels = {
        (MEASURES[name] if len(curves) == 1 else arm): each[name] for arm, each in curves.items() for name in shown
    }
    caption = (
        "How much of each frequency the network has learned, mean over seeds: dark is nothing, bright is all of it. "
        "Spectral bias is a bright region that begins at the low frequencies and moves to the right as training goes "
        "down the page. The match compares amplitude and phase"
        + ("; the modulus, which the source reports, also counts a sine with a wrong phase." if len(shown) > 1 else ".")
    )
    numbers = numbers_of("iteration", panels)
    figure = plot("learned", "Heat maps of the learned share over frequency and iteration.", numbers, draw_heat, panels)
    return Section("Learned amplitude by frequency and iteration", plots=[(figure, caption)]), []


def _iterations(curves: Arms, orders: Mapping[str, Order], first: Setting) -> Found:
    single = len(curves) == 1
    lines = {
        (MEASURES[name] if single else arm): each[name]
        for arm, each in curves.items()
        for name in (MEASURES if single else ("match",))
    }
    rows = [
        [f"{name}, k = {k:g}", _iteration(half), _iteration(full)]
        for name, each in lines.items()
        for k, half, full in zip(each.k, each.iterations(0.5).T, each.iterations(FULL).T, strict=True)
    ]
    halves: list[Any] = [[name, float(k), *half] for name, each in lines.items()
              for k, half in zip(each.k, each.iterations(0.5).T.tolist(), strict=True)]  # fmt: skip
    header: list[Any] = ["line", "frequency", *(f"seed {n}" for n in range(len(next(iter(lines.values())).values)))]
    caption = (
        "Iteration at which half of a frequency is learned, geometric mean over seeds with its 95 % interval. A "
        "frequency of which some seed did not learn half has no point. Both axes are logarithmic, so a straight line "
        "is a power law, and a steeper one a stronger bias."
    )
    figure = plot("half", "Iterations to half against frequency.", [header, *halves], draw_half, lines)
    order = Table(
        "Order of learning, by the match",
        ["Network", "Rank correlation", "Power of the frequency", "Frequencies learned to half"],
        [[arm, *map(cell, (each.correlation, each.exponent, each.learned))] for arm, each in orders.items()],
    )
    tables = [order, Table("Iterations to half and to nine tenths", ["Frequency", "To half", "To nine tenths"], rows)]
    told: list[str] = []
    if single and as_in_source(first):
        compared, told = compare_iterations(next(iter(curves.values()))["modulus"])
        tables.append(compared)
    return Section("Iterations to half", plots=[(figure, caption)], tables=tables), told


def _iteration(seeds: np.ndarray) -> tuple[float | None, str]:
    reached = int(np.isfinite(seeds).sum())
    if reached < len(seeds):
        return None, "not reached" if not reached else f"in {reached} of {len(seeds)} seeds"
    return cell(across_seeds(seeds, log=True))


def _changes(curves: Arms, sweep: str) -> Found:
    """Each arm of a sweep against the first."""
    (base, reference), *others = curves.items()
    rows, told = [], list[str]()
    for arm, each in others:
        change = exponent_change(each["match"], reference["match"])
        if change is None:
            verdict = "cannot be compared, because in some seed fewer than three frequencies are learned by both"
        elif change.seeds == 1:
            verdict = f"the power changes by {change}, which one seed cannot tell from chance"
        else:
            word = {1: "a stronger bias", -1: "a weaker bias", 0: "no change of the bias is shown"}[change.sign]
            verdict = f"{word}, the power changes by {change}"
        rows.append([arm, cell(change), verdict])
        told.append(f"{arm} against {base}: {verdict}.")
    text = (
        "The power p in iterations ∝ frequency^p measures the bias: at 0, all frequencies are learned at once. Each "
        f"value is compared with {base}, seed by seed, over the frequencies of which both learn half."
    )
    table = Table("Changes", [f"Against {base}", "Change of the power", "In words"], rows)
    return Section(f"Does {sweep} change the order?", [text], tables=[table]), told
