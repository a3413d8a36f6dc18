"""The sections on moved parameters and on noise on labels, and what all sections share."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dctnet.studies.intervals import Interval
from dctnet.studies.laboratory.page import Found, Section, Table
from dctnet.studies.laboratory.spectral_bias.figures import draw_labels, draw_perturbed, plot
from dctnet.studies.laboratory.spectral_bias.results import Curves, across_seeds, ratio_of, read_curves
from dctnet.studies.laboratory.study import Study

MEASURES = {"match": "match, 1 − |f̂ − ŷ| / |ŷ|", "modulus": "modulus, |f̂| / |ŷ|"}
Arms = Mapping[str, Mapping[str, Curves]]  # the curves of each arm by measure


def cell(interval: Interval | None) -> tuple[float | None, str]:
    """Of a table."""
    return (None, "–") if interval is None else interval.cell


def numbers_of(x: str, panels: Mapping[str, Curves]) -> list[Any]:
    """Header and rows of the file with the plotted numbers."""
    lines: list[Any] = [["line", x, "frequency", "value"]]
    for name, curves in panels.items():
        for at, row in zip(curves.x, curves.mean, strict=True):
            lines += [[name, float(at), float(k), float(value)] for k, value in zip(curves.k, row, strict=True)]
    return lines


def perturbation_section(curves: Arms) -> Found:
    """What moved parameters keep of each frequency."""
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
            rows.append([f"{prefix}k = {match.k[k]:g}", *map(cell, cells)])
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
    figure = plot("perturbed", "Measures against distance.", numbers_of("distance", panels), draw_perturbed, panels)
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


def label_curves(study: Study, k: float) -> dict[str, Curves]:
    """The curves of the classifiers with noise of a frequency."""
    rows = [row for row in study.rows if float(row["k"]) == k]
    return {name: read_curves(rows, "labels", name) for name in ("label_noise", "label_error", "label_accuracy")}


def labels_section(found: Mapping[float, Mapping[str, Curves]]) -> Found:
    """When noise on labels is learned, and its cost."""
    rows, noises = [], [k for k in found if k]
    halves = {k: found[k]["label_noise"].iterations(0.5)[:, 0] for k in noises}
    for k, each in found.items():
        half = across_seeds(halves[k], log=True) if k else None
        best = across_seeds(each["label_error"].values.min(1)[:, 0])
        last, right = (across_seeds(each[name].values[:, -1, 0]) for name in ("label_error", "label_accuracy"))
        right = right and right.percent
        rows.append([f"k = {k:g}" if k else "no noise", *map(cell, (half, best, last, right))])
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
        "intervals over seeds; those of accuracies in the table end at 0 and 100 %."
    )
    numbers: list[Any] = [
        ["measure", "noise frequency", "iteration", "mean"],
        *([name, k, float(x), float(row[0])] for k, each in found.items() for name, curves in each.items()
          for x, row in zip(curves.x, curves.mean if curves.x.size else [], strict=True)),
    ]  # fmt: skip
    figure = plot("labels", "Learned noise and test error over iterations.", numbers, draw_labels, found)
    columns = ["Noise", "Iterations to half of it", "Lowest test error", "Last test error", "Last accuracy, %"]
    return Section("Noise on labels", [text], [(figure, caption)], [Table("Label noise", columns, rows)]), told
