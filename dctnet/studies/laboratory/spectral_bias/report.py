"""The page of the study: the answers in words, and the sections that were measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dctnet.studies.laboratory.intervals import Interval
from dctnet.studies.laboratory.page import Section, Table, write_study
from dctnet.studies.laboratory.spectral_bias.figures import draw_half, draw_heat, draw_labels, draw_perturbed, plot
from dctnet.studies.laboratory.spectral_bias.results import (
    Curves,
    Order,
    across_seeds,
    exponent_change,
    order_of,
    ratio_of,
    read_curves,
)
from dctnet.studies.laboratory.spectral_bias.source import FULL, as_in_source, compare_iterations
from dctnet.studies.laboratory.spectral_bias.training import Setting
from dctnet.studies.laboratory.study import Study

MEASURES = {"match": "match, 1 − |f̂ − ŷ| / |ŷ|", "modulus": "modulus, |f̂| / |ŷ|"}
Arms = Mapping[str, Mapping[str, Curves]]  # the curves of each arm by measure


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
        found.append(_perturbation(curves))
    if labels := sorted({float(row["k"]) for row in study.rows if row["arm"] == "labels"}):
        found.append(_labels({k: _label_curves(study, k) for k in labels}))
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


def _learning(curves: Arms) -> tuple[Section, list[str]]:
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
    numbers = _numbers("iteration", panels)
    figure = plot("learned", "Heat maps of the learned share over frequency and iteration.", numbers, draw_heat, panels)
    return Section("Learned amplitude by frequency and iteration", plots=[(figure, caption)]), []


def _numbers(x: str, panels: Mapping[str, Curves]) -> list[Any]:
    """Header and rows of the file with the plotted numbers."""
    lines: list[Any] = [["line", x, "frequency", "value"]]
    for name, curves in panels.items():
        for at, row in zip(curves.x, curves.mean, strict=True):
            lines += [[name, float(at), float(k), float(value)] for k, value in zip(curves.k, row, strict=True)]
    return lines


def _iterations(curves: Arms, orders: Mapping[str, Order], first: Setting) -> tuple[Section, list[str]]:
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
        [[arm, *map(_cell, (each.correlation, each.exponent, each.learned))] for arm, each in orders.items()],
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
    return _cell(across_seeds(seeds, log=True))


def _cell(interval: Interval | None) -> tuple[float | None, str]:
    return (None, "–") if interval is None else interval.cell


def _changes(curves: Arms, sweep: str) -> tuple[Section, list[str]]:
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
        rows.append([arm, _cell(change), verdict])
        told.append(f"{arm} against {base}: {verdict}.")
    text = (
        "The power p in iterations ∝ frequency^p measures the bias: at 0, all frequencies are learned at once. Each "
        f"value is compared with {base}, seed by seed, over the frequencies of which both learn half."
    )
    table = Table("Changes", [f"Against {base}", "Change of the power", "In words"], rows)
    return Section(f"Does {sweep} change the order?", [text], tables=[table]), told


def _perturbation(curves: Arms) -> tuple[Section, list[str]]:
    single = len(curves) == 1
    panels = {
        (name if single else arm): each[f"perturbed_{name}"]
        for arm, each in curves.items()
        for name in (("modulus", "match") if single else ("match",))
    }
    told, rows = list[str](), []
    for arm, each in curves.items():
        match, prefix = each["perturbed_match"], "" if single else f"{arm}: "
        place = int(np.abs(match.x - 4).argmin())
        known = np.flatnonzero(match.values[:, 0].min(0) >= 0.5)
        for k in known:
            cells = [across_seeds(each[f"perturbed_{name}"].values[:, at, k]) for name in MEASURES for at in (0, place)]
            rows.append([f"{prefix}k = {match.k[k]:g}", *map(_cell, cells)])
        if len(known) < 2:
            told.append(f"{prefix}fewer than two frequencies are learned by all seeds: no comparison of robustness.")
            continue
        told += [prefix + _compare_loss(name, each[f"perturbed_{name}"], place, known) for name in MEASURES]
    if single:
        told.append(
            "In the source, at a distance of 4, the modulus of frequencies up to 10 is intact and that of 50 is below "
            "0.2; its networks have 256 units and were trained until nearly all frequencies were learned."
        )
    caption = (
        "Each frequency after all parameters were moved by a distance in random directions, mean over directions and "
        "seeds. Only frequencies learned to half or more by every seed have a line. A modulus above 1 is output of "
        "this frequency that the movement has added."
    )
    figure = plot("perturbed", "Measures against distance.", _numbers("distance", panels), draw_perturbed, panels)
    columns = ["Frequency", "Match, trained", "Match, moved", "Modulus, trained", "Modulus, moved"]
    table = Table("Before, and at the distance nearest to 4", columns, rows)
    told = [each[0].upper() + each[1:] for each in told]
    return Section("Moving the parameters", plots=[(figure, caption)], tables=[table]), told


def _compare_loss(name: str, curves: Curves, place: int, known: np.ndarray) -> str:
    """What a movement takes from the lowest and from the highest frequency that was learned."""
    lost = curves.values[:, 0] - curves.values[:, place]
    low, high = known[0], known[-1]
    more = across_seeds(lost[:, high] - lost[:, low])
    return (
        f"moving the parameters by {curves.x[place]:g} changes the {name} of k = {curves.k[low]:g} by "
        f"{across_seeds(-lost[:, low])} and that of k = {curves.k[high]:g} by {across_seeds(-lost[:, high])}"
        f"{_which_suffers(more)}."
    )


def _which_suffers(more: Interval | None) -> str:
    if more is None or more.seeds == 1:
        return ""
    words = {
        1: "the high frequency suffers more",
        -1: "the low frequency suffers more",
        0: "neither is shown to suffer more",
    }
    return f": {words[more.sign]}"


def _label_curves(study: Study, k: float) -> dict[str, Curves]:
    rows = [row for row in study.rows if float(row["k"]) == k]
    return {name: read_curves(rows, "labels", name) for name in ("label_noise", "label_error", "label_accuracy")}


def _labels(found: Mapping[float, Mapping[str, Curves]]) -> tuple[Section, list[str]]:
    rows, noises = [], [k for k in found if k]
    halves = {k: found[k]["label_noise"].iterations(0.5)[:, 0] for k in noises}
    for k, each in found.items():
        half = across_seeds(halves[k], log=True) if k else None
        best = across_seeds(each["label_error"].values.min(1)[:, 0])
        last, right = (across_seeds(each[name].values[:, -1, 0]) for name in ("label_error", "label_accuracy"))
        rows.append([f"k = {k:g}" if k else "no noise", *map(_cell, (half, best, last, right))])
    told = []
    if len(noises) > 1:
        low, high = noises[0], noises[-1]
        ratio = ratio_of(halves[high], halves[low])
        best = across_seeds((found[high]["label_error"].values.min(1) - found[low]["label_error"].values.min(1))[:, 0])
        told = [
            f"Noise on labels: the network takes {ratio or 'an unknown number of'} times as many iterations for half "
            f"of the "
            f"noise of frequency {high:g} as of frequency {low:g}, and its lowest test error differs by {best}. In the "
            "source, noise of a low frequency harms from the start, and noise of a high frequency only later."
        ]
    text = (
        "Networks of the same kind learn by squared error to tell threes (0) from eights (1). The noise on the "
        "training "
        "labels is a wave sin(2πk‖x‖) over the norm of an image, with root mean square 0.5 at every k; test images are "
        "compared with labels without noise. The source uses MNIST, which would have to be downloaded; these are the "
        "357 digits of 8×8 pixels in scikit-learn, scaled to MNIST's mean norm, half of them for the test."
    )
    caption = (
        "Above: share of the noise in the outputs on training images. Below: squared error on test images against "
        "labels without noise, which falls while the digits are learned and rises when the noise is. Bands are 95 % "
        "intervals over seeds."
    )
    numbers: list[Any] = [
        ["measure", "noise frequency", "iteration", "mean"],
        *([name, k, float(x), float(row[0])] for k, each in found.items() for name, curves in each.items()
          for x, row in zip(curves.x, curves.mean if curves.x.size else [], strict=True)),
    ]  # fmt: skip
    figure = plot("labels", "Learned noise and test error over iterations.", numbers, draw_labels, found)
    columns = ["Noise", "Iterations to half of it", "Lowest test error", "Last test error", "Last accuracy, %"]
    return Section("Noise on labels", [text], [(figure, caption)], [Table("Label noise", columns, rows)]), told
