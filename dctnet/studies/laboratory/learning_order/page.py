"""The page: the order in words, and the figures of each group of trainings."""

from collections.abc import Mapping, Set
from pathlib import Path

import numpy as np

from dctnet.studies.intervals import minus
from dctnet.studies.laboratory.learning_order.figures import plot_errors, plot_only, plot_times, plot_without
from dctnet.studies.laboratory.learning_order.order import (
    MIN_BANDS,
    Accuracies,
    correlation,
    error_half_times,
    is_learned,
    order,
    t50,
)
from dctnet.studies.laboratory.page import Section, Table, write_study
from dctnet.studies.laboratory.study import Study

_CAPTION_ONLY = (
    "Accuracy on validation images of which only one band is left, and the mean of each colour; lines are means over "
    "the seeds. Marks: the epoch from which more than half of the band's own final gain is reached, of bands that are "
    "significantly above chance in the end. Dotted: chance."
)
_CAPTION_TIMES = (
    "The epoch from which a band alone gives more than half of its own final gain: a dot for each seed, a line through "
    "the means. A line that rises to the right: low bands first."
)
_CAPTION_WITHOUT = (
    "Accuracy that is lost when one band is removed from the images, mean over the seeds: how much the network relies "
    "on it, given all others."
)
_CAPTION_ERRORS = (
    "Filtering method of Xu et al.: relative errors of the network's outputs, smoothed over similar images (e_low), "
    "and of what smoothing removes (e_high). This frequency is how fast the output changes from image to image, not a "
    "frequency within an image. If the solid line falls before the dashed one, low response frequencies come first."
)


def write_learning_order(study: Study, curves: Mapping[str, Accuracies], calibrated: Set[str]) -> Path:
    """Writes the page.

    Args:
        study: The study.
        curves: Of each group of trainings, by what its networks read.
        calibrated: Groups whose data is the planted set with equal bands.
    """
    sections = [_section(place, name, each, name in calibrated) for place, (name, each) in enumerate(curves.items())]
    return write_study(
        study,
        "Which frequencies are learned first?",
        "After each epoch, the network classified the same validation images with one band of spatial frequencies "
        f"alone, and without it. Networks on: {'; '.join(curves)}.",
        [*(_answer(name, each, name in calibrated) for name, each in curves.items()), _claim(curves, calibrated)],
        sections,
    )


def _claim(curves: Mapping[str, Accuracies], calibrated: Set[str]) -> str:
    if set(curves) == set(calibrated):
        return (
            "These images carry the same code of the class in every band, at equal energy and equal accuracy of a "
            "simple decoder, so that an order is one of the network and its training, not of the images: spectral bias "
            "in the sense of Rahaman et al., if low bands come first."
        )
    return (
        "For natural photographs this is a learning order only: their bands differ in energy and in what they say "
        "about the class, and filtered images are unlike the training images. Claim spectral bias only from the "
        "calibrated set: dctnet make-planted DIR --design bands."
    )


def _seeds(curves: Accuracies) -> str:
    count = len(curves.seeds)
    return "one seed, so the interval is over images only" if count == 1 else f"{count} seeds"


def _answer(name: str, curves: Accuracies, is_calibrated: bool) -> str:
    found = order(curves)
    if np.isnan(found.value):
        return (
            f"{name}: fewer than {MIN_BANDS} bands are significantly above chance alone, so there is no order "
            f"({_seeds(curves)})."
        )
    value, low, high = (minus(f"{each:.2f}") for each in (found.value, found.low, found.high))
    said = f"rank correlation of frequency and epoch {value} [{low}, {high}]"
    if found.low > 0:
        what = "low frequencies are learned first"
    elif found.high < 0:
        what = "high frequencies are learned first"
    else:
        what = "no order by frequency can be told"
    where = ", on images whose bands are equal" if is_calibrated else ""
    return f"{name}: {what}{where}; {said}, {_seeds(curves)}."


def _section(place: int, name: str, curves: Accuracies, is_calibrated: bool) -> Section:
    suffix = "" if place == 0 else f"_{place}"
    images, chance = curves.only.shape[-1], curves.chance
    learned = is_learned(curves).sum(0)
    unlearned = [str(band) for band, count in zip(curves.bands, learned, strict=True) if not count]
    text = [
        f"{images} validation images{' of the planted set with equal bands' if is_calibrated else ''}, chance "
        f"{100 * chance:.1f} %; seeds {', '.join(map(str, curves.seeds))}. Bands are in cycles per pixel."
    ]
    if unlearned:
        text.append(
            f"Alone, these bands are not significantly above chance after the last epoch, and have no t50: "
            f"{', '.join(unlearned)}."
        )
    plots = [(plot_only(curves, suffix), _CAPTION_ONLY)]
    if learned.any():
        plots.append((plot_times(curves, suffix), _CAPTION_TIMES))
    plots.append((plot_without(curves, suffix), _CAPTION_WITHOUT))
    if curves.neighbours:
        text.append(_filtering(curves))
        plots.append((plot_errors(curves, suffix), _CAPTION_ERRORS))
    return Section(name, text, plots, [_table(curves)])


def _filtering(curves: Accuracies) -> str:
    """Which error falls first, at the middle width."""
    middle = len(curves.neighbours) // 2
    low, high = np.moveaxis(error_half_times(curves)[:, middle], -1, 0)
    count, first = len(curves.seeds), int((low < high).sum())
    never = int(np.isnan(high).sum())
    rest = f"; in {never} of them e_high does not fall at all" if never else ""
    return (
        f"Response frequencies, smoothed over {curves.neighbours[middle]} images (width δ = "
        f"{curves.widths[middle]:.2f} of the median distance): e_low makes half of its fall earlier than e_high in "
        f"{first + int((~np.isnan(low) & np.isnan(high)).sum())} of {count} seed{'s' * (count > 1)}{rest}."
    )


def _table(curves: Accuracies) -> Table:
    times, rows = t50(curves), []
    for place, band in enumerate(curves.bands):
        own = [_epoch(value) for value in times[:, place]]
        final = float(curves.only[:, -1, place].mean())
        lost = float((curves.whole[:, -1].mean(-1) - curves.without[:, -1, place].mean(-1)).mean())
        rows.append((str(band), *own, (final, f"{100 * final:.1f} %"), (lost, f"{100 * lost:.1f}")))
    correlations = [_epoch(correlation(each)) for each in times]
    rows.append(("rank correlation", *correlations, None, None))
    heads = [f"t50, seed {seed}" for seed in curves.seeds]
    return Table("Epochs by band and seed", ["band", *heads, "final, band alone", "lost without, points"], rows)


def _epoch(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
