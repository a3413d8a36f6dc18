"""The page: networks compared band by band, and their noise, signs, layers and attention."""

from collections.abc import Sequence
from pathlib import Path

from dctnet.studies.intervals import Interval, mean_interval, mean_of_answers, minus
from dctnet.studies.laboratory.page import Section, Table, write_sections
from dctnet.studies.laboratory.sensitivity.channels import CODINGS
from dctnet.studies.laboratory.sensitivity.report.text import correlation, rows_of
from dctnet.studies.laboratory.sensitivity.summary.compare import RMS, Comparison, change, compare
from dctnet.studies.laboratory.sensitivity.summary.figures import (
    plot_by_band,
    plot_codings,
    plot_differences,
    plot_layers,
    plot_spans,
)
from dctnet.studies.laboratory.sensitivity.summary.groups import Group, Span, read_groups
from dctnet.studies.laboratory.sensitivity.thresholds import read_thresholds
from dctnet.studies.laboratory.study import Measurement

_INTERVALS = (
    "95 %, for other images and, where a network has several seeds, for other trainings: Student’s t with the degrees "
    "of freedom of Welch and Satterthwaite, variances of seeds and of images added. Differences between networks are "
    "paired by image and hold together (Bonferroni). Those of accuracies end at 0 and 100 %."
)


def write_summary(out: Path, folders: Sequence[Path]) -> Path:
    """Writes ``summary.html``, whose path is returned, from the sensitivity studies in some folders."""
    groups = read_groups(folders)
    comparisons = [compare(group, groups[0]) for group in groups[1:]]
    names = ", ".join(f"{group.name} ({group.seeds}, {group.size} px)" for group in groups)
    images = groups[0].answers("clean", "all").shape[1]
    return write_sections(
        out / "summary.html",
        "Which frequencies do networks rely on?",
        f"Some frequencies of {images} photographs were removed, or noise was added to them, and the networks "
        f"classified the photographs again: {names}. What a network can no longer classify tells which frequencies it "
        "relies on. Frequencies are in cycles per image, so that images of different sizes can be compared. Each study "
        "has a page of its own, which explains what was done.",
        [*(each.verdict for each in comparisons), *map(_words, groups)],
        [_bands(groups, comparisons), _alone(groups), _noise(groups), _codings(groups), _layers(groups)],
        {"photographs": groups[0].selection, "intervals": _INTERVALS},
    )


def _words(group: Group) -> str:
    changes = {span: change(group, "removed", span) for span in group.bands}
    worst = min(changes, key=lambda span: changes[span].value)
    accuracy = mean_of_answers(group.answers("clean", "all")).percent
    return (
        f"{group.name} ({group.seeds}) classifies {accuracy.fixed(1)} % of the unchanged photographs correctly. Of "
        f"all bands, removing {worst} cycles per image costs most: {changes[worst].fixed(1)} points."
    )


def _bands(groups: Sequence[Group], comparisons: Sequence[Comparison]) -> Section:
    spans = sorted({span for group in groups for span in group.bands})
    plots = [
        (
            plot_spans(spans),
            "What the bands look like: a random pattern of each, the square being the whole image. "
            f"{spans[0].high:g} cycles per image are {spans[0].high:g} dark and as many bright stripes from side to "
            "side. The highest band of each network also has "
            "the corners of the spectrum, which are finer still.",
        ),
        (
            plot_by_band("removed", groups, "change of accuracy, points", lambda g, span: change(g, "removed", span)),
            "Each band is removed from the photographs. The lower a point, the more the network relies on this band.",
        ),
    ]
    tables = [_changes_table(groups)]
    for number, each in enumerate(comparisons, 1):
        if each.differences:
            caption = (
                f"{each.one.name} minus {each.other.name}: how many points more (below 0) or less (above 0) "
                f"{each.one.name} loses, on the same photographs. An interval that crosses 0 shows no difference."
            )
            plots.append((plot_differences(f"differences-{number}", each), caption))
            tables.append(_differences_table(each))
    text = []
    if unmatched := sorted({span for each in comparisons for span in each.unmatched}):
        text.append(
            f"Not compared, because not all networks have them: {', '.join(map(str, unmatched))} cycles per image."
        )
    return Section("Which bands do they rely on?", text, plots, tables)


def _changes_table(groups: Sequence[Group]) -> Table:
    rows = [
        [f"{group.name}, {span}", *((found.value, found.fixed(1, "+")) for found in (
            change(group, "removed", span), change(group, "noise", span)))]
        for group in groups
        for span in group.bands
    ]  # fmt: skip
    return Table("Change of the accuracy, points", ["Network, band", "Without it", f"Noise of RMS {RMS:g} in it"], rows)


def _differences_table(comparison: Comparison) -> Table:
    texts = {"removed": "without", "noise": f"noise of RMS {RMS:g} in"}
    rows = [
        [f"{texts[each.kind]} {each.span}", (each.interval.value, each.interval.fixed(1, "+"))]
        for each in comparison.differences
    ]
    return Table(
        f"{comparison.one.name} minus {comparison.other.name}",
        ["Photographs", "Difference of the changes, points"],
        rows,
    )


def _alone(groups: Sequence[Group]) -> Section:
    def accuracy(group: Group, span: Span) -> Interval:
        return mean_of_answers(group.answers("only", group.bands[span])).percent

    plot = plot_by_band("only", groups, "accuracy, %", accuracy)
    return Section(
        "What does one band alone tell them?",
        [],
        [
            (
                plot,
                "Nothing but one band and the mean of each colour is left of the photographs. The higher a point, the "
                "more this band tells the network without the others. Such images are unlike those it was trained on.",
            )
        ],
    )


def _noise(groups: Sequence[Group]) -> Section:
    plot = plot_by_band("noise", groups, "change of accuracy, points", lambda group, span: change(group, "noise", span))
    rows = []
    for group in groups:
        for seed, own in enumerate(group.studies):
            thresholds = read_thresholds(own, {name: (span.low + span.high) / 2 for span, name in group.bands.items()})
            rows += [
                [f"{group.name}, {seed}, {span}", (float(thresholds.values[place]), thresholds.text(place))]
                for place, span in enumerate(group.bands)
            ]
    return Section(
        "Which noise disturbs them?",
        [],
        [
            (
                plot,
                f"Noise in one band, with a root mean square (RMS) of {RMS:g}, where 1 is the range from black to "
                "white. The lower a point, the more it disturbs the network.",
            )
        ],
        [
            Table(
                "Noise that halves the accuracy",
                ["Network, number of the study, band", "RMS, interval over images"],
                rows,
            )
        ],
    )


def _codings(groups: Sequence[Group]) -> Section:
    own = {name: [group.changes("coding", name, clean="channels") for group in groups] for name in CODINGS}
    rows, shown = [], {}
    for name, text in CODINGS.items():
        found = [mean_of_answers(each) for each in own[name]]
        shown[text] = {group.name: each for group, each in zip(groups, found, strict=True)}
        found += [mean_of_answers(each, own[name][0], len(CODINGS)) for each in own[name][1:]]
        rows.append([text, *((each.value, each.fixed(1, "+")) for each in found)])
    columns = ["Destroyed", *(group.name for group in groups)]
    columns += [f"{group.name} minus {groups[0].name}" for group in groups[1:]]
    return Section(
        "Signs or magnitudes?",
        [
            "A block’s DCT coefficients say by their signs where an edge is, and by their magnitudes how strong it is; "
            "so do phases and amplitudes of the Fourier transform. One of them is destroyed, and the other is left as "
            "it is."
        ],
        [
            (
                plot_codings(shown),
                "Change of the accuracy. The further to the left, the more the network needs what was destroyed.",
            )
        ],
        [Table("Change of the accuracy, points", columns, rows)],
    )


def _layers(groups: Sequence[Group]) -> Section:
    rows = []
    for group in groups:
        for seed, own in enumerate(group.studies):
            trained = rows_of(own, "layers")
            trend = correlation([row["level"] for row in trained], [row["value"] for row in trained])
            rows.append([f"{group.name}, {seed}", trend, _attention_text(own)])
    plot = plot_layers(groups)
    caption = (
        "How much of the power of the feature maps lies above half of their highest frequency, by the depth of the "
        "layer; intervals are over seeds. A fall means that deep layers have smoother maps than early ones. Feature "
        "maps get smaller with depth, which changes what is high."
    )
    return Section(
        "Layers and attention",
        [_attention_words(groups)] if any(map(_attention, groups)) else [],
        [(plot, caption)] if plot is not None else (),
        [
            Table(
                "Each study",
                ["Network, number of the study", "Rank correlation of depth and high frequencies",
                 "Attention and gradient, same minus other image"],
                rows,
            )
        ],
    )  # fmt: skip


def _attention(group: Group) -> list[float]:
    """Of each seed, rank correlation of attention and gradient energy of the same image minus that of other images."""
    found = [row for rows in group.studies for row in rows_of(rows, "attention") if row["item"] == "difference"]
    return [float(row["value"]) for row in found]


def _attention_words(groups: Sequence[Group]) -> str:
    told = "; ".join(f"{g.name} {mean_interval(_attention(g)).fixed(2)}" for g in groups if _attention(g))
    return (
        "Do the places that speak for the right class (Grad-CAM) lie where the image changes rapidly? Rank correlation "
        f"of both, minus that with another photograph’s changes, mean over seeds: {told}. 0 would be no relation."
    )


def _attention_text(rows: Sequence[Measurement]) -> str:
    found = [row for row in rows_of(rows, "attention") if row["item"] == "difference"]
    if not found:
        return "–"
    return minus(f"{found[0]['value']:+.2f} [{found[0]['low']:+.2f}, {found[0]['high']:+.2f}]")
