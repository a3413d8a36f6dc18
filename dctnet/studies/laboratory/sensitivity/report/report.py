"""The page: question, summary and sections."""

from collections.abc import Sequence
from pathlib import Path

from dctnet.frequency.bands import Band
from dctnet.studies.laboratory.page import write_study
from dctnet.studies.laboratory.photographs import Photographs
from dctnet.studies.laboratory.sensitivity.answers import interval, right_of
from dctnet.studies.laboratory.sensitivity.report.bands import bands_section, noise_section
from dctnet.studies.laboratory.sensitivity.report.channels import GateMask, channel_section, coding_section
from dctnet.studies.laboratory.sensitivity.report.layers import attention_section, layer_section
from dctnet.studies.laboratory.sensitivity.report.text import channel_name, percent, points, rows_of, with_interval
from dctnet.studies.laboratory.sensitivity.thresholds import Thresholds, read_thresholds
from dctnet.studies.laboratory.study import Measurement, Study
from dctnet.studies.laboratory.subject import Subject

_CHANGES = {
    "swap": "are swapped between images",
    "mean": "are set to their means",
    "noise_abs": "have noise of equal strength",
    "noise_rel": "have noise as strong as they vary",
}
_EXAMPLES = 4  # photographs whose attention is shown


def write_report(
    study: Study,
    subject: Subject,
    photographs: Photographs,
    bands: Sequence[Band],
    ranked: Sequence[int],
    keep: int,
    gate: GateMask | None,
) -> Path:
    """Writes ``report.html``, whose path is returned, and ``figures/`` from the rows of a study.

    Args:
        study: The finished study.
        subject: The network.
        photographs: Those of the study, for the pictures.
        bands: The bands, lowest first.
        ranked: The channels that the network reads, the most important first.
        keep: Number of channels of the mask.
        gate: Channels and keep probabilities of a gate to compare with.
    """
    rows = study.rows
    clean = rows_of(rows, "clean")[0]
    reads = "R, G and B" if subject.channel_set is None else str(subject.channel_set).partition(": ")[2]
    question = (
        f"{subject.name} reads {reads} of images of {subject.image_size} px, and classifies "
        f"{percent(clean['accuracy'])} of {clean['images']} photographs correctly. Which of their frequencies does it "
        "use? Each frequency is removed or changed, and the answers are compared image by image. A changed image is "
        "unlike those of the training: a frequency that matters here is used by this network, which does not mean "
        "that another one needs it."
    )
    if any(str(row["part"]).endswith("_fixed") for row in rows):
        question += (
            " Its gate chooses channels for each image, and reacts to a change; for single channels, the result with "
            "its choice for the unchanged image is shown too."
        )
    thresholds = read_thresholds(rows, {str(band): band.center for band in bands})
    sections = [
        bands_section(rows, subject, photographs, bands),
        noise_section(rows, bands, thresholds),
        channel_section(rows, subject, ranked, keep, gate),
        coding_section(rows),
        layer_section(rows),
        attention_section(rows, subject, photographs.spread(_EXAMPLES)),
    ]
    title = "Which frequencies does the network use?"
    summary = _summary(rows, thresholds, ranked, study.content["options"]["methods"][0])
    return write_study(study, title, question, summary, sections)


def lowest(rows: Sequence[Measurement], sign: int = 1) -> tuple[Measurement, str]:
    """The row of the lowest accuracy, or with −1 of the highest, and its band; with the next if they may be equal."""
    first, *others = sorted(rows, key=lambda row: sign * row["accuracy"])
    if not others:
        return first, first["item"]
    low, high = interval(right_of(first) - right_of(others[0]))
    if low > 0 or high < 0:
        return first, first["item"]
    return first, f"{first['item']} or {others[0]['item']} (not shown to differ)"


def _summary(rows: Sequence[Measurement], thresholds: Thresholds, ranked: Sequence[int], method: str) -> list[str]:
    worst, without = lowest(rows_of(rows, "removed"))
    best, alone = lowest(rows_of(rows, "only"), -1)
    told = [
        f"Removing the band {without} cycles per pixel costs most: {points(worst)} points. Of single bands, "
        f"{alone} alone gives the highest accuracy: {percent(best['accuracy'])}."
    ]
    if thresholds.most_disturbed is not None:
        told.append(f"Noise disturbs it most in the band {thresholds.most_disturbed}.")
    names = ", ".join(channel_name(channel) for channel in ranked[:5])
    told.append(f"The channels that matter most when they {_CHANGES[method]}: {names}.")
    for row in rows_of(rows, "attention"):
        if row["item"] == "difference":
            follows = "follows" if row["low"] > 0 else "avoids" if row["high"] < 0 else "is not shown to follow"
            told.append(
                f"Attention {follows} regions of rapid change: its rank correlation with the gradient energy of the "
                f"same image minus that with another image is {with_interval(row)}."
            )
    return told
