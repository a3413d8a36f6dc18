"""The page of the study of detectors."""

from collections.abc import Mapping
from pathlib import Path

from dctnet.studies.laboratory.detectors import figures
from dctnet.studies.laboratory.detectors.circuit_page import circuit_texts
from dctnet.studies.laboratory.detectors.measured import Measured
from dctnet.studies.laboratory.detectors.network_page import network_sections
from dctnet.studies.laboratory.detectors.results import (
    SHUFFLED,
    Count,
    count_layers,
    read_units,
    share_text,
)
from dctnet.studies.laboratory.page import Section, Table, write_study
from dctnet.studies.laboratory.study import Study
from dctnet.studies.proportions import share_interval

_QUESTION = (
    "High–low frequency detectors are units that respond where a fine texture meets a coarse one, and only if the fine "
    "one is on a certain side. Schubert et al. (2021) found them in networks trained on ImageNet, where they help to "
    "see the boundaries of objects against a blurred background. Does {} have them?"
)


def write_report(study: Study, networks: Mapping[str, Measured], command: str) -> Path:
    """Writes the page from the rows; photographs of examples are read again. Returns its path."""
    rows = study.rows
    units, null, counts = read_units(rows), read_units(rows, SHUFFLED), count_layers(rows)
    sections = [_counts_section(counts, networks)]
    for number, (label, measured) in enumerate(networks.items(), 1):
        own = [unit for unit in units if unit.network == label and unit.judged]
        if own:
            own_null = [unit for unit in null if unit.network == label and unit.judged]
            sections += network_sections(study, measured, number, own, own_null)
    names = " and ".join(networks) if len(networks) < 3 else f"each of {len(networks)} networks"
    summary = [_summary(label, counts) for label in networks] + [
        f"{label}, {layer}: {text}" for label in networks for layer, text in circuit_texts(rows, label).items()
    ]
    if len(networks) > 1:
        summary.append("Each network is one training: differences between networks include that of their seeds.")
        if len({measured.subject.image_size for measured in networks.values()}) > 1:
            summary.append("Wavelengths are in pixels of each network's own image, and these images differ in size.")
    return write_study(study, "High–low frequency detectors", _QUESTION.format(names), summary, sections, command)


def _summary(label: str, counts: list[Count]) -> str:
    own = [count for count in counts if count.network == label and count.judged]
    total, found = sum(c.judged for c in own), sum(c.found for c in own)
    if not total:
        return f"{label}: no layer has a receptive field that is large enough to judge."
    shuffled, ratio1 = sum(c.shuffled for c in own), sum(c.ratio1 for c in own)
    apart = share_interval(found, total)[0] > share_interval(shuffled, total)[1]
    text = f"{label}: {share_text(found, total)} are detectors, against {shuffled} with shuffled weights "
    text += f"and {ratio1} for textures of equal frequency. "
    text += (
        "The intervals of trained and shuffled weights do not overlap."
        if apart
        else ("By this count, trained weights cannot be told from shuffled ones.")
    )
    if found:
        two, above = sum(c.invariant for c in own), sum(c.exceeding for c in own)
        text += (
            f" Of the {found}, {two} pass at two wavelengths or more, and {above} respond more to the boundary than to "
            "either texture alone"
        )
        if at_8 := sum(c.at_8 for c in own):
            text += f"; of {at_8} measured at ratio 8, {sum(c.kept_at_8 for c in own)} stay above 0.5 there"
        text += "."
        best = max(own, key=lambda count: count.found / count.judged)
        depth = f"at {100 * best.depth:.0f} % of the depth"
        text += f" The largest share is in {best.layer}, {depth}: {best.found} of {best.judged}."
    return text


def _counts_section(counts: list[Count], networks: Mapping[str, Measured]) -> Section:
    text = [
        "A unit is a detector at a wavelength if its polarity index is above 0.5 where the coarse texture is four "
        "times "
        "as long as the fine one, above 0.2 at twice, and d′ is above 3. The index is (a − b) / (a + b): a is the "
        "response with the fine texture on the preferred side, b with the textures exchanged; 1 means that only one "
        "order excites the unit, 0 that the order is indifferent. The preferred side, that of the largest response, "
        "is chosen by half of the phases and "
        "the index measured by the other half.",
        "Two counts say what chance gives: the same network with the weights of each filter shuffled, and boundaries "
        "between textures of the same frequency (ratio 1), judged by the same thresholds.",
    ]
    for label, measured in networks.items():
        if measured.layers.left_out:
            text.append(
                f"{label}: from {measured.layers.left_out[0]} on, units see more than the image of "
                f"{measured.subject.image_size} px; they are measured with --layer."
            )
        without = [layer for layer in measured.fields if layer not in measured.layers.ranks]
        if without:
            text.append(
                f"{label}: no circuit is given of {', '.join(without)}: no spatial convolution stands right in front "
                "of their output. In bottleneck blocks the last convolution is 1×1, and reads the spatial one through "
                "an activation function, so that no weights from its inputs to the units exist. Give the layer of "
                "that spatial convolution’s activation as --layer to see its circuit."
            )
        small = [c.layer for c in counts if c.network == label and not c.judged]
        if small:
            text.append(f"{label}: {', '.join(small)} cannot be judged: the receptive field is too small for ratio 4.")
    table = Table(
        "All layers",
        ["Layer", "Depth", "Receptive field, px", "Units", "Detectors", "Share", "95 % interval", "Shuffled weights",
         "Ratio 1", "At two wavelengths", "Above either texture"],
        [
            [
                f"{c.network}, {c.layer}", (c.depth, f"{100 * c.depth:.0f} %"), c.field, c.judged, c.found,
                (c.found / c.judged, f"{100 * c.found / c.judged:.1f} %") if c.judged else None,
                (c.interval[0], f"{100 * c.interval[0]:.1f}–{100 * c.interval[1]:.1f} %") if c.judged else None,
                c.shuffled, c.ratio1, c.invariant, c.exceeding,
            ]
            for c in counts
        ],
    )  # fmt: skip
    caption = (
        "Share of the units of each residual block that are detectors, with its 95 % interval, against the depth of "
        "the "
        "block; rings: the same network with shuffled weights. Schubert et al. found theirs at 29 to 33 % of the depth."
    )
    plots = [(figures.plot_counts(counts), caption)] if any(c.judged for c in counts) else []
    return Section("How many, and where", text, plots, [table])
