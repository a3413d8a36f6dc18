"""Figures of an evaluation: accuracy of the classes, confusion matrix, reliability diagram."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from dctnet.studies.evaluation.results import BINS, ClassResult, Evaluation
from dctnet.studies.page.page import BLUE, INK, VERMILLION, WIDTH, Numbers, Plot, new_figure, shorten
from dctnet.studies.proportions import share_interval

MOST_CLASSES = 20  # of a figure
_LONGEST = 20  # characters of a name in a figure
_MARGIN = 12  # points around a figure's axes
OTHERS = "all others"


def plot_classes(evaluation: Evaluation) -> Plot:
    """Accuracy of each class, the lowest first; of the lowest 20 if there are more."""
    present = [each for each in evaluation.class_results if each.images]
    shown = sorted(present, key=_accuracy)[:MOST_CLASSES]
    lowest, highest = shown[0], max(present, key=_accuracy)
    alternative = (
        f"Accuracy of {len(shown)} classes, from {shorten(lowest.name)} with {100 * _accuracy(lowest):.0f} % to "
        f"{shorten(shown[-1].name)} with {100 * _accuracy(shown[-1]):.0f} %; the highest of all is "
        f"{shorten(highest.name)} with {100 * _accuracy(highest):.0f} %."
    )
    numbers: Numbers = [["class", "accuracy", "low", "high", "images"]]
    for each in shown:
        ends = (100 * end for end in each.interval)
        numbers.append([shorten(each.name, 200), 100 * _accuracy(each), *ends, each.images])
    return Plot("classes", alternative, lambda: _draw_classes(shown, evaluation.top1), numbers)


def _accuracy(result: ClassResult) -> float:
    return result.right / result.images


def _draw_classes(shown: list[ClassResult], mean: float) -> Figure:
    figure = new_figure(60 + 21 * len(shown))
    axes = figure.subplots()
    values = np.array([_accuracy(each) for each in shown])
    ends = np.array([each.interval for each in shown]).T
    places = np.arange(len(shown))
    axes.axvline(100 * mean, color=INK, linestyle="--", linewidth=1, alpha=0.6)
    errors = 100 * np.maximum(0, [values - ends[0], ends[1] - values])
    axes.errorbar(100 * values, places, xerr=errors, fmt="o", color=BLUE, markersize=6, linewidth=1.6)
    axes.set_yticks(places, [shorten(each.name, _LONGEST) for each in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("images that are right, %")
    axes.set_xlim(right=101)
    axes.grid(axis="x")
    return figure


def shown_classes(evaluation: Evaluation) -> list[int]:
    """The classes of the picture of the confusion matrix: all, or of many those that are most often confused.

    These are added pair by pair, so that classes that are confused are neighbours.
    """
    count = len(evaluation.classes)
    if count <= MOST_CLASSES:
        return list(range(count))
    pairs = evaluation.matrix + evaluation.matrix.T
    rows, columns = np.nonzero(np.triu(pairs, 1))
    chosen: dict[int, None] = {}
    for place in np.argsort(-pairs[rows, columns], kind="stable"):
        if len(chosen) >= MOST_CLASSES - 1:
            break
        chosen |= dict.fromkeys((int(rows[place]), int(columns[place])))
    # Without confusions, the first classes show that there are none.
    return list(chosen | dict.fromkeys(range(MOST_CLASSES)))[: max(len(chosen), 2)]


def plot_confusion(evaluation: Evaluation) -> Plot:
    """The confusion matrix as shares of each row; of many classes, those most often confused, and one for the rest."""
    chosen = shown_classes(evaluation)
    names = [shorten(evaluation.classes[each], 200) for each in chosen]
    columns, counts = names, evaluation.matrix[np.ix_(chosen, chosen)]
    images = evaluation.matrix[chosen].sum(1)
    if len(chosen) < len(evaluation.classes):
        columns = [*names, OTHERS]
        counts = np.column_stack([counts, images - counts.sum(1)])
    first = evaluation.confusions[:1]
    most = ", ".join(f"{shorten(c.name)} as {shorten(c.predicted)}, {c.count} of {c.images}" for c in first)
    alternative = f"Confusion matrix of {len(chosen)} classes. Most frequent confusion: {most or 'none'}."
    numbers = [[name, *row] for name, row in zip(names, counts.tolist(), strict=True)]
    shares = 100 * counts / np.maximum(1, images[:, None])
    return Plot(
        "confusion", alternative, lambda: _draw_confusion(names, columns, shares), [["class", *columns], *numbers]
    )


def _draw_confusion(names: list[str], columns: list[str], shares: np.ndarray) -> Figure:
    labels = [[shorten(name, _LONGEST) for name in each] for each in (names, columns)]
    side = min(40, (WIDTH - 2 * _MARGIN - 7 * max(map(len, labels[0]))) / len(columns))
    figure = new_figure(side * len(names) + 3 * _MARGIN + 6.4 * max(map(len, labels[1])))
    axes = figure.subplots()
    own = np.eye(*shares.shape, dtype=np.bool_)
    strength = np.where(own, shares / 100, shares / max(1e-9, shares[~own].max(initial=0)))
    colours = np.where(own[..., None], to_rgba(BLUE), to_rgba(VERMILLION))
    colours[..., 3] = 0.9 * strength
    axes.pcolormesh(colours)
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.5:
            colour = "white" if own[row, column] and strength[row, column] > 0.75 else INK  # for contrast
            size = min(12, 0.52 * side)
            axes.text(column + 0.5, row + 0.52, f"{share:.0f}", ha="center", va="center", fontsize=size, color=colour)
    _label(axes, *labels)
    return figure


def _label(axes: Axes, rows: list[str], columns: list[str]) -> None:
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=90)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axes.set_ylim(len(rows), 0)
    axes.set_aspect("equal")
    axes.tick_params(length=0, labelsize=11)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")


def plot_reliability(evaluation: Evaluation) -> Plot:
    """Share of right images by the probability of the predicted class, above the number of images."""
    numbers = [
        [each.low, each.high, each.images, 100 * each.confidence, 100 * each.right / each.images]
        for each in evaluation.bins
    ]
    alternative = (
        f"Reliability diagram: the predicted classes have a mean probability of {100 * evaluation.confidence:.1f} %, "
        f"and {100 * evaluation.top1:.1f} % are right; expected calibration error "
        f"{100 * evaluation.calibration_error:.1f} points."
    )
    header = ["low", "high", "images", "confidence", "accuracy"]
    return Plot("reliability", alternative, lambda: _draw_reliability(evaluation), [header, *numbers])


def _draw_reliability(evaluation: Evaluation) -> Figure:
    figure = new_figure(380)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 100], [0, 100], color=INK, linestyle="--", linewidth=1, alpha=0.6)
    bins = evaluation.bins
    x, y = (100 * np.array(each) for each in ([b.confidence for b in bins], [b.right / b.images for b in bins]))
    ends = 100 * np.array([share_interval(b.right, b.images) for b in bins]).T
    errors = np.maximum(0, [y - ends[0], ends[1] - y])
    above.errorbar(x, y, yerr=errors, fmt="o", color=BLUE, markersize=6, linewidth=1.6)
    above.set_ylabel("right, %")
    above.set_ylim(-2, 102)
    shares = [100 * b.images / len(evaluation.target) for b in bins]
    below.bar([50 * (b.low + b.high) for b in bins], shares, width=92 / BINS, color=BLUE)
    below.set_ylabel("images, %")
    below.set_xlabel("probability of the predicted class, %")
    below.set_xlim(-1, 101)
    for axes in (above, below):
        axes.grid()
        axes.set_axisbelow(True)
    figure.align_ylabels()
    return figure
