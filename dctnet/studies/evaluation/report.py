"""Writes the folder of an evaluation: tables, figures and the page."""

import csv
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.ignored import mark_as_own
from dctnet.errors import printable
from dctnet.io.atomic import atomic_folder, atomic_open, atomic_write
from dctnet.io.files import dump_json
from dctnet.studies.evaluation.figures import MOST_CLASSES, plot_classes, plot_confusion, plot_reliability
from dctnet.studies.evaluation.pictures import plot_mistakes, worst_mistakes
from dctnet.studies.evaluation.results import Evaluation
from dctnet.studies.evaluation.words import SPLITS, percent, summary
from dctnet.studies.page.page import render_plots, shorten, write_page
from dctnet.studies.proportions import share_interval

RECORD, REPORT = "evaluation.json", "report.html"
HEADER = {"format": "dctnet-evaluation", "version": 1}
_MOST_CONFUSIONS = 30  # of the table on the page


def write_evaluation(folder: Path, evaluation: Evaluation, data: FrequencyDataModule, index: Sequence[int]) -> None:
    """Writes all files of an evaluation at once.

    Args:
        folder: It must not exist, or be empty.
        evaluation: The answers.
        data: The data, for the pictures.
        index: Position in the split of each image.

    Raises:
        OSError: The files cannot be written; then there are none.
    """
    with atomic_folder(folder) as temporary:
        mark_as_own(temporary)
        atomic_write(temporary / RECORD, dump_json({**HEADER, **_record(evaluation)}))
        _write_rows(temporary / "images.csv", _IMAGES, _image_rows(evaluation))
        _write_rows(temporary / "classes.csv", _CLASSES, _class_rows(evaluation))
        matrix = ([name, *row] for name, row in zip(evaluation.classes, evaluation.matrix.tolist(), strict=True))
        _write_rows(temporary / "confusion.csv", ["class", *evaluation.classes], matrix)
        _write_page(temporary, evaluation, data, index)


def _record(evaluation: Evaluation) -> dict[str, Any]:
    images = len(evaluation.target)
    low, high = share_interval(int(evaluation.right.sum()), images)
    return {
        "split": evaluation.split,
        "images": images,
        "skipped": len(evaluation.skipped),
        "unread": evaluation.unread,
        "top1": evaluation.top1,
        "top1_interval": [low, high],
        "top5": evaluation.top5,
        "balanced_top1": evaluation.balanced,
        "loss": evaluation.loss,
        "calibration_error": evaluation.calibration_error,
        "mean_probability": evaluation.confidence,
        "facts": dict(evaluation.facts),
    }


_IMAGES = ["path", "class", "predicted", "probability", "class_probability", "rank"]
_CLASSES = [
    "class",
    "images",
    "right",
    "accuracy",
    "low",
    "high",
    "predicted",
    "precision",
    "confused_with",
    "confused",
]


def _image_rows(evaluation: Evaluation) -> Iterable[list[Any]]:
    names = evaluation.classes
    for place in evaluation.worst():
        answer = f"{evaluation.probability[place]:.6g}", f"{evaluation.target_probability[place]:.6g}"
        true, predicted = names[evaluation.target[place]], names[evaluation.label[place]]
        yield [evaluation.paths[place], true, predicted, *answer, int(evaluation.rank[place])]


def _class_rows(evaluation: Evaluation) -> Iterable[list[Any]]:
    for each in evaluation.class_results:
        shares = each.accuracy, *(each.interval if each.images else (None, None))
        texts = ["" if share is None else f"{share:.6g}" for share in (*shares, each.precision)]
        yield [
            each.name, each.images, each.right, *texts[:3], each.predicted, texts[3], each.confused_with, each.confused
        ]  # fmt: skip


def _write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with atomic_open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def _write_page(folder: Path, evaluation: Evaluation, data: FrequencyDataModule, index: Sequence[int]) -> None:
    mistakes = worst_mistakes(evaluation, data, index)
    plots = [plot_classes(evaluation), plot_confusion(evaluation), plot_reliability(evaluation)]
    plots += [plot_mistakes(mistakes)] if mistakes else []
    write_page(
        folder / REPORT,
        files(__package__).joinpath("evaluation.html").read_text(encoding="utf-8"),
        title=f"{percent(evaluation.top1)} of {len(evaluation.target):,} {SPLITS[evaluation.split]} images are right",
        evaluation=evaluation,
        summary=summary(evaluation),
        plots=render_plots(plots, folder / "figures"),
        mistakes=mistakes,
        confusions=evaluation.confusions[:_MOST_CONFUSIONS],
        most_classes=MOST_CLASSES,
        from_store=data.store is not None,
        skipped=sorted(evaluation.skipped.items()),
        short=lambda text: shorten(text, 60),
        printable=printable,
        percent=percent,
        facts={key: printable(value) for key, value in evaluation.facts.items()},
    )
