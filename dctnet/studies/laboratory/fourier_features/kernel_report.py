"""The sections of the page on one dimension: the kernel, its prediction, and signals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dctnet.studies.intervals import mean_interval, number
from dctnet.studies.laboratory.fourier_features import figures
from dctnet.studies.laboratory.fourier_features.results import (
    SLOPE_FROM,
    eigenvalues,
    gap,
    iterations_to_half,
    log_slope,
    odd_ratio,
    select,
)
from dctnet.studies.laboratory.page import Found, Section, Table
from dctnet.studies.laboratory.study import Measurement
from dctnet.studies.page.page import Plot

SMALL_BIAS = "circle, bias 0.1"
_BANDWIDTHS = ("circle", "gaussian 1", "gaussian 2", "gaussian 4", "gaussian 8", "power 0")


def kernel_section(rows: Sequence[Measurement], options: dict[str, Any]) -> Found:
    """Eigenvalues by frequency, and stationarity."""
    bias = float(options["kernel_bias"])
    names = list(dict.fromkeys(row["name"] for row in rows if row["part"] == "kernel" and row["name"] != SMALL_BIAS))
    found = {str(name): eigenvalues(rows, str(name), bias, "limit") for name in names}
    fixed = {str(name): _nonstationarity(rows, str(name)) for name in names}
    mapped = {kind: max(each[kind] for name, each in fixed.items() if name != "none") for kind in fixed["none"]}
    circle = found["circle"]
    small = eigenvalues(rows, SMALL_BIAS, 0.1, "limit")
    falls = [name for name, each in found.items() if (np.diff(each[1:-1]) < 1e-9 * each[1]).all()]
    never = "all" if len(falls) == len(found) else f"{len(falls)} of {len(found)}"
    told = [
        f"The eigenvalues λ of the kernel never grow with frequency, for {never} mappings; a flat one (power 0) "
        f"learns all frequencies at once. On the circle, λ falls as frequency to the power "
        f"{number(log_slope(circle))} from k = {SLOPE_FROM} to {len(circle) // 2}, a range that was "
        "chosen after the values had been seen, and "
        f"{number(log_slope(circle, 1, len(circle) - 1))} over all k = 1 … {len(circle) - 1}; Basri et al. 2019 derive "
        "−2. Odd frequencies have "
        f"{odd_ratio(small):.2g} times the λ of their even neighbours with biases scaled by 0.1, and "
        f"{odd_ratio(circle):.2g} times with {bias:g}: without biases they are not learned at all.",
        f"A mapping makes the kernel stationary: without one, {_percent(fixed['none']['limit'])} of the kernel does "
        f"not "
        f"depend on the distance of two points alone; after one, {_percent(mapped['limit'])} in the limit of infinite "
        f"width, and up to {_percent(mapped['network'])} for one network of width {options['kernel_width']:,}.",
    ]
    shown = {name: found[name] for name in ("none", "circle", "power 1", "gaussian 4", "power 0")}
    numbers: list[Any] = [
        ["mapping", "frequency", "lambda"],
        *([n, k, float(v)] for n, e in shown.items() for k, v in enumerate(e)),
    ]
    figure = Plot("eigenvalues", "Eigenvalues over frequency.", lambda: figures.draw_eigenvalues(shown), numbers)
    caption = (
        "Eigenvalue λ of each frequency, in the limit of infinite width: a residual of this frequency shrinks by "
        "exp(−ηλ) per iteration. The circle is one sine and one cosine; power p weights harmonics by 1/j^p; gaussian "
        "σ as "
        "random frequencies of deviation σ. Without a mapping, waves are no eigenvectors, and the value is their mean."
    )
    table = Table(
        "Share of the kernel that is not stationary",
        ["Mapping", "Infinite width", f"Width {options['kernel_width']:,}"],
        [[name, each["limit"], each["network"]] for name, each in fixed.items()],
    )
    return Section("Neural tangent kernel", plots=[(figure, caption)], tables=[table]), told


def _percent(share: float) -> str:
    return f"{number(100 * share)} %" if share >= 1e-5 else "less than 0.001 %"


def _nonstationarity(rows: Sequence[Measurement], name: str) -> dict[str, float]:
    return {
        kind: float(select(rows, part="kernel", name=name, measure=f"nonstationarity_{kind}")[0]["value"])
        for kind in ("limit", "network")
    }


def training_section(rows: Sequence[Measurement], options: dict[str, Any]) -> Found:
    """Measured and predicted residuals."""
    pairs = list(dict.fromkeys((str(row["name"]), float(row["level"])) for row in rows if row["part"] == "training"))
    gaps = {pair: gap(rows, *pair) for pair in pairs}
    small, large = min(level for _, level in pairs), max(level for _, level in pairs)
    told = [
        f"The kernel's prediction u(t) = u(0) exp(−ηKt) holds to within "
        f"{number(max(value for (_, level), value in gaps.items() if level == small))} in all frequencies if the "
        f"target is "
        f"small (amplitude {small:g}); at amplitude {large:g} the largest error is "
        f"{number(max(value for (_, level), value in gaps.items() if level == large))}, because the kernel changes "
        f"during "
        "the training. Both are for one initialisation."
    ]
    shown = {
        pair: select(rows, part="training", name=pair[0], level=pair[1])
        for pair in pairs
        if pair[0] in ("circle", "power 0")
    }
    numbers: list[Any] = [["mapping", "amplitude", "kind", "frequency", "iteration", "residual"]]
    numbers += [[*pair, r["measure"], r["k"], r["x"], r["value"]] for pair, each in shown.items() for r in each]
    figure = Plot("training", "Residual by frequency over iterations.", lambda: figures.draw_training(shown), numbers)
    caption = (
        f"The part of each frequency that is not yet learned by a network of width {options['kernel_width']:,}: "
        f"lines are "
        "measured, dots predicted by the kernel before the training. On the circle, frequencies are learned one "
        "after the "
        "other; with equal harmonics (power 0), at once."
    )
    cells = [[f"{name}, amplitude {level:g}", value] for (name, level), value in gaps.items()]
    table = Table("Largest error of the prediction", ["Training", "Largest error"], cells)
    return Section("Prediction and training", plots=[(figure, caption)], tables=[table]), told


def window_section(rows: Sequence[Measurement], options: dict[str, Any]) -> Found:
    """Iterations at which a mapping has learned a frequency."""
    bias = float(options["kernel_bias"])
    halves = {name: iterations_to_half(eigenvalues(rows, name, bias, "limit")) for name in _BANDWIDTHS}
    after = 100
    reach = {name: int((np.maximum.accumulate(each) <= after).sum()) for name, each in halves.items()}
    told = [
        f"Fourier features choose the bandwidth: after {after} iterations, half is learned of all frequencies up to "
        + ", ".join(f"{k} ({name})" for name, k in reach.items())
        + f" of {len(next(iter(halves.values())))}."
    ]
    numbers: list[Any] = [["mapping", "frequency", "iterations to half"],
               *([name, k, float(v)] for name, each in halves.items() for k, v in enumerate(each, 1))]  # fmt: skip
    figure = Plot("window", "Iterations to half over frequency.", lambda: figures.draw_window(halves), numbers)
    caption = (
        "Time–frequency window: below its line, a network has learned less than half of a frequency. At a given "
        "number of "
        "iterations, a mapping with a larger σ reaches higher frequencies; that is a wider band, for details and for "
        "noise "
        "between the training points alike."
    )
    return Section("Bandwidth over time", plots=[(figure, caption)]), told


def best_mapping(errors: Mapping[str, np.ndarray]) -> str:
    """The mapping with the smallest mean error, (signals,) each, and the next if the two are not shown to differ."""
    best, second = sorted(errors, key=lambda name: errors[name].mean())[:2]
    said = f"{best} (relative error {mean_interval(errors[best])})"
    differ = mean_interval(errors[second] - errors[best]).sign
    return said if differ else f"{said} or {second}, which are not shown to differ,"


def signal_section(rows: Sequence[Measurement]) -> Found:
    """Interpolation of signals with a spectrum."""
    alphas = sorted({float(row["level"]) for row in rows if row["part"] == "signals"})
    names = list(dict.fromkeys(str(row["name"]) for row in rows if row["part"] == "signals"))
    last = max(float(row["x"]) for row in rows if row["part"] == "signals")
    errors = {
        alpha: {
            name: np.array([float(r["value"]) for r in select(rows, part="signals", level=alpha, name=name, x=last)])
            for name in names
        }
        for alpha in alphas
    }  # fmt: skip
    told = [
        f"Signals with a spectrum 1/f^α are interpolated best after {last:,.0f} iterations by "
        + "; ".join(f"{best_mapping(errors[alpha])} at α = {alpha:g}" for alpha in alphas)
        + f". These intervals are over {len(next(iter(errors[alphas[0]].values())))} random signals."
    ]
    cells = [[name, *(mean_interval(errors[alpha][name]).cell for alpha in alphas)] for name in names]
    numbers: list[Any] = [
        ["mapping", *(f"alpha {alpha:g}" for alpha in alphas)],
        *([c[0], *(v[0] for v in c[1:])] for c in cells),
    ]
    figure = Plot("signals", "Error by mapping and spectrum.", lambda: figures.draw_signals(errors), numbers)
    caption = (
        "Squared error between the training points, relative to the signal's variance, of networks of infinite width; "
        "smaller is better. Harmonics weighted by 1/j^p; a small p lets the network invent high frequencies, a large "
        "one, "
        "or the circle, keeps it from learning those of the signal."
    )
    table = Table("Relative error", ["Mapping", *(f"α = {alpha:g}" for alpha in alphas)], cells)
    return Section("Signals with a spectrum 1/f^α", plots=[(figure, caption)], tables=[table]), told
