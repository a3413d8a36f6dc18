"""An evaluation in words: the summary of the page, and that on the terminal."""

from dctnet.errors import printable
from dctnet.studies.evaluation.results import ClassResult, Evaluation
from dctnet.studies.page.page import shorten
from dctnet.studies.proportions import share_interval

SPLITS = {"val": "validation", "test": "test"}


def percent(share: float | None, digits: int = 1) -> str:
    """For example ``83.4 %``; a dash for None."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def summary(evaluation: Evaluation) -> list[str]:
    """The results in sentences."""
    return [_accuracy(evaluation), _classes(evaluation), _confusions(evaluation), _calibration(evaluation)]


def _accuracy(evaluation: Evaluation) -> str:
    count, images = int(evaluation.right.sum()), len(evaluation.target)
    low, high = share_interval(count, images)
    text = (
        f"Top-1 accuracy is {percent(evaluation.top1)} (95 % interval {100 * low:.1f} to {100 * high:.1f} %): "
        f"{count:,} of {images:,} images. "
    )
    if len(evaluation.classes) > 5:
        text += f"The right class is among the five best for {percent(evaluation.top5)}. "
    text += f"The mean over the classes is {percent(evaluation.balanced)}."
    if evaluation.skipped:
        text += f" {len(evaluation.skipped):,} files could not be read and are left out."
    if evaluation.unread:
        text += f" {evaluation.unread:,} images were not read, by a limit on the batches."
    return text


def _classes(evaluation: Evaluation) -> str:
    present = [each for each in evaluation.class_results if each.images]
    ranked = sorted(present, key=lambda each: each.right / each.images)
    text = f"The class with the lowest accuracy is {_class(ranked[0])}"
    text += f", the one with the highest {_class(ranked[-1])}." if len(ranked) > 1 else "."
    missing = len(evaluation.classes) - len(present)
    return text + (f" Without any image: {missing:,} of the {len(evaluation.classes):,} classes." if missing else "")


def _class(result: ClassResult) -> str:
    return f"{shorten(result.name)} ({percent(result.accuracy)} of {result.images})"


def _confusions(evaluation: Evaluation) -> str:
    if not evaluation.confusions:
        return "No image is classified wrong."
    listed = [
        f"{shorten(each.name)} is taken for {shorten(each.predicted)} ({each.count} of {each.images})"
        for each in evaluation.confusions[:3]
    ]
    return f"Most frequent confusions: {'; '.join(listed)}."


def _calibration(evaluation: Evaluation) -> str:
    gap = evaluation.confidence - evaluation.top1
    which = "too high" if gap > 0 else "too low"
    return (
        f"The predicted class has a probability of {percent(evaluation.confidence)} in the mean, {abs(100 * gap):.1f} "
        f"points {which}; the expected calibration error is {100 * evaluation.calibration_error:.1f} points."
    )


def lines(evaluation: Evaluation) -> list[tuple[str, str]]:
    """The results as names and values, for the terminal."""
    images, what = len(evaluation.target), SPLITS[evaluation.split]
    left = [
        f"{count:,} {text}"
        for count, text in ((len(evaluation.skipped), "unreadable"), (evaluation.unread, "not read"))
        if count
    ]
    top5 = f", {evaluation.top5:.3f} top-5" if len(evaluation.classes) > 5 else ""
    ranked = sorted((c for c in evaluation.class_results if c.images), key=lambda c: c.right / c.images)
    lowest = ", ".join(f"{c.name} {c.right / c.images:.3f}" for c in ranked[:3])
    confused = ", ".join(f"{c.name} as {c.predicted} {c.count} of {c.images}" for c in evaluation.confusions[:3])
    return [
        ("accuracy", f"{evaluation.top1:.3f} top-1{top5} on {', '.join([f'{images:,} {what} images', *left])}"),
        ("of classes", f"{evaluation.balanced:.3f} in the mean; lowest: {printable(lowest)}"),
        ("confused", printable(confused) or "none"),
        (
            "calibration",
            f"error {evaluation.calibration_error:.3f}; mean probability {evaluation.confidence:.3f}",
        ),
    ]
