"""The page of the study of detectors."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
import torch
from torchvision.io import ImageReadMode, decode_image

from dctnet.frequency.color import ycbcr_to_rgb
from dctnet.studies.laboratory.detectors import figures
from dctnet.studies.laboratory.detectors.circuit import WAVELENGTHS, is_invariant_to_equivariant
from dctnet.studies.laboratory.detectors.pictures import crop_field
from dctnet.studies.laboratory.detectors.polarity import canvas_for, largest_gap
from dctnet.studies.laboratory.detectors.results import SHUFFLED, Count, Unit, count_layers, read_units, wilson
from dctnet.studies.laboratory.detectors.stimuli import ORIENTATIONS, PHASES, boundaries
from dctnet.studies.laboratory.page import Section, Table, write_study
from dctnet.studies.laboratory.photographs import read_planes
from dctnet.studies.laboratory.study import Measurement, Study
from dctnet.studies.page.page import Plot

if TYPE_CHECKING:
    from dctnet.studies.laboratory.detectors.command import Measured

_QUESTION = (
    "High–low frequency detectors are units that respond where a fine texture meets a coarse one, and only if the fine "
    "one is on a certain side. Schubert et al. (2021) found them in networks trained on ImageNet, where they help to "
    "see the boundaries of objects against a blurred background. Does {} have them?"
)


def write_report(study: Study, networks: Mapping[str, "Measured"], command: str) -> Path:
    """Writes the page from the rows; photographs of examples are read again. Returns its path."""
    rows = study.rows
    units, null, counts = read_units(rows), read_units(rows, SHUFFLED), count_layers(rows)
    sections = [_counts_section(counts, networks)]
    for number, (label, measured) in enumerate(networks.items(), 1):
        own = [unit for unit in units if unit.network == label and unit.judged]
        if own:
            own_null = [unit for unit in null if unit.network == label and unit.judged]
            sections += _network_sections(study, measured, number, own, own_null)
    names = " and ".join(networks) if len(networks) < 3 else f"each of {len(networks)} networks"
    summary = [_summary(label, counts) for label in networks] + [
        f"{label}, {layer}: {text}" for label in networks for layer, text in _circuit_texts(rows, label).items()
    ]
    if len(networks) > 1:
        summary.append("Each network is one training: differences between networks include that of their seeds.")
    return write_study(study, "High–low frequency detectors", _QUESTION.format(names), summary, sections, command)


def _summary(label: str, counts: list[Count]) -> str:
    own = [count for count in counts if count.network == label and count.judged]
    total, found = sum(c.judged for c in own), sum(c.found for c in own)
    if not total:
        return f"{label}: no layer has a receptive field that is large enough to judge."
    shuffled, ratio1 = sum(c.shuffled for c in own), sum(c.ratio1 for c in own)
    apart = wilson(found, total)[0] > wilson(shuffled, total)[1]
    text = f"{label}: {figures.share_text(found, total)} are detectors, against {shuffled} with shuffled weights "
    text += f"and {ratio1} for textures of equal frequency. "
    text += (
        "The intervals of trained and shuffled weights do not overlap."
        if apart
        else ("By this count, trained weights cannot be told from shuffled ones.")
    )
    if found:
        two, above = sum(c.invariant for c in own), sum(c.exceeding for c in own)
        text += (
            f" {two} of them pass at two wavelengths or more, and {above} respond more to the boundary than to either "
        )
        text += "texture alone."
        best = max(own, key=lambda count: count.found / count.judged)
        depth = f"at {100 * best.depth:.0f} % of the depth"
        text += f" The largest share is in {best.layer}, {depth}: {best.found} of {best.judged}."
    return text


def _counts_section(counts: list[Count], networks: Mapping[str, "Measured"]) -> Section:
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
        if measured.left_out:
            text.append(
                f"{label}: from {measured.left_out[0]} on, units see more than the image of "
                f"{measured.subject.image_size} px; they are measured with --layer."
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


def _network_sections(
    study: Study, measured: "Measured", number: int, units: list[Unit], null: list[Unit]
) -> list[Section]:
    label, found = measured.label, [unit for unit in units if unit.passed]
    shown = [unit for units in measured.shown.values() for unit in units]
    kind = "strongest detectors" if found and measured.units is None else "units chosen"
    if not found and measured.units is None:
        kind = "units that come closest, none of which is a detector"
    text = [f"Shown one by one: the {len(shown)} {kind}."] if shown else []
    plots = [
        (
            figures.plot_indices(label, number, units, null),
            "A dot is a unit. To the right of the dotted line its index is above 0.5; detectors (red) also pass at "
            "ratio "
            "2 and by d′.",
        )
    ]
    if shown:
        plots += [
            (
                figures.plot_tuning(label, number, shown),
                "Mean response to a boundary by the direction of its fine side, at the best wavelength. A detector has "
                "one peak at 0 and responds little at ±180, where the textures are exchanged; two peaks mean that the "
                "order is indifferent. Ratio 1 has no difference of frequency.",
            ),
            (
                figures.plot_invariance(label, number, shown),
                "Index at ratio 4 by the wavelength of the fine texture, and at the best wavelength by ratio. A unit "
                "that "
                "detects frequencies, not a certain shape, stays high over several wavelengths and grows with the "
                "ratio.",
            ),
        ]
    if found:
        plots.append(
            (
                figures.plot_directions(label, number, found),
                f"Where the fine side is, for all {len(found)} detectors; rings are layers, the first inside. "
                + _directions_text(found),
            )
        )
    plots.append(
        (
            figures.plot_edges(label, number, units),
            "Response to the preferred boundary (same brightness on both sides) against that to the best luminance "
            "edge. "
            "Units above the dotted line respond more to a change of frequency than to a change of brightness.",
        )
    )
    table = Table(
        f"Detectors of {label}" if found else f"Units of {label} that come closest",
        ["Unit", "Index", "d′", "Index at 2", "Direction, degrees", "Best wavelength, px", "Wavelengths passed",
         "Edge ÷ boundary", "Texture ÷ boundary"],
        [_unit_row(unit) for unit in sorted(found or shown, key=lambda u: -u.index)],
    )  # fmt: skip
    sections = [Section(f"{label}: polarity", text, plots, [table])]
    if shown:
        sections.append(
            Section(f"{label}: what excites these units", _PICTURES, _pictures(study, measured, number, shown))
        )
    return [*sections, *_circuit_sections(study, measured, number)]


_PICTURES = (
    "Top: the preferred boundary at ratio 4, then images made for the unit by gradient ascent. Below: the places in "
    "photographs that excite it most, one in a photograph, cut to its receptive field; grey is outside of the "
    "photograph. Places at the very border are left out: there, padding makes a boundary.",
)


def _unit_row(unit: Unit) -> list[Any]:
    four, two = unit.responses[unit.best, 4], unit.responses[unit.best, 2]
    edge, plain = (
        each / unit.preferred if unit.preferred > 0 else None for each in (unit.edge, unit.plain.get(unit.best, 0.0))
    )
    return [
        f"{unit.layer}, {unit.channel}", four.index, (four.dprime, f"{four.dprime:.1f}"), two.index,
        (unit.orientation, f"{360 * unit.orientation / ORIENTATIONS:g}"), unit.best,
        f"{len(unit.passed)} of {len(unit.judged)}",
        edge, plain,
    ]  # fmt: skip


def _directions_text(found: list[Unit]) -> str:
    gap = largest_gap([unit.orientation for unit in found])
    text = f"The widest range without any is {gap:g} degrees."
    if len(found) < 2:
        return text
    curves = np.array(
        [np.roll(u.responses[u.best, 4].curve, ORIENTATIONS // 2 - u.orientation) for u in found], dtype=float
    )
    curves = curves - curves.mean(1, keepdims=True)
    curves /= np.maximum(np.linalg.norm(curves, axis=1, keepdims=True), 1e-12)
    similar = curves @ curves.T
    mean = (similar.sum() - len(found)) / (len(found) * (len(found) - 1))
    return f"{text} Turned to the same direction, their tuning curves correlate with {_signed(mean)} on average."


def _pictures(study: Study, measured: "Measured", number: int, shown: list[Unit]) -> list[tuple[Plot, str]]:
    found = []
    for unit in shown:
        rows = [
            r
            for r in study.rows
            if (r["network"], r["layer"], r["channel"]) == (unit.network, unit.layer, unit.channel)
        ]
        examples = [r for r in rows if r["measure"] == "example"]
        field = measured.fields[unit.layer]
        places = [str(r["text"]).split(",", 2) for r in examples]
        planes = read_planes(measured.subject, [unquote(p[2], errors="surrogateescape") for p in places])
        crops = [crop_field(p, field, int(y), int(x)) for p, (y, x, _) in zip(planes, places, strict=True)]
        activations = [float(r["value"]) for r in examples]
        images = [_read_images(study.out / str(r["text"])) for r in rows if r["measure"] == "image"]
        plot = figures.plot_pictures(
            f"pictures-{number}-{unit.layer.replace('.', '_')}-{unit.channel}", unit, _stimulus(measured, unit),
            images[0] if images else [], [_array(ycbcr_to_rgb(crop) / 255) for crop in crops], activations,
        )  # fmt: skip
        index = unit.responses[unit.best, 4].index
        direction = 360 * unit.orientation / ORIENTATIONS
        found.append(
            (
                plot,
                f"{unit.layer}, unit {unit.channel}: index {index:.2f} at {unit.best:g} px, fine side at {direction:g} "
                f"degrees. Activation in the photographs {activations[0]:.2f} to {activations[-1]:.2f}.",
            )
        )
    return found


def _stimulus(measured: "Measured", unit: Unit) -> np.ndarray[Any, Any]:
    field = measured.fields[unit.layer]
    canvas = canvas_for(field)
    images = boundaries(unit.best, 4, canvas.size, canvas.center, canvas.jump)
    top = field.start + field.jump * (canvas.first + canvas.count // 2)
    image = images[unit.orientation, PHASES // 2, top : top + field.size, top : top + field.size]
    return ((image + 128) / 255).clamp(0, 1).numpy()


def _read_images(path: Path) -> list[np.ndarray[Any, Any]]:
    strip = decode_image(str(path), ImageReadMode.RGB).float() / 255
    return [_array(image) for image in strip.split(strip.shape[1], 2)]


def _array(image: torch.Tensor) -> np.ndarray[Any, Any]:
    return image.clamp(0, 1).permute(1, 2, 0).numpy()


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _of(rows: list[Measurement], label: str, layer: str, measure: str) -> list[Measurement]:
    return [r for r in rows if (r["network"], r["layer"], r["measure"]) == (label, layer, measure)]


def _circuit_texts(rows: list[Measurement], label: str) -> dict[str, str]:
    """What the factorisation says, by layer."""
    texts = {}
    for layer in dict.fromkeys(
        str(r["layer"]) for r in rows if r["network"] == label and r["measure"] == "factor_center"
    ):
        explained, bound = (
            {int(r["item"]): float(r["value"]) for r in _of(rows, label, layer, m)} for m in ("nmf", "nmf_bound")
        )
        fine, coarse = (float(r["value"]) for r in _of(rows, label, layer, "factor_center"))
        similar = [float(r["value"]) for r in _of(rows, label, layer, "map_correlation")]
        share, mean = explained[2] / bound[2] if bound[2] else 0.0, float(np.mean(similar))
        rule = is_invariant_to_equivariant(share, coarse - fine, mean)
        texts[layer] = (
            f"two factors explain {explained[2]:.2f} of the input weights of {len(similar)} units, {share:.2f} of "
            "what is "
            f"possible with two; their centres are {coarse - fine:.1f} octaves apart ({2**fine:.0f} and "
            f"{2**coarse:.0f} px); "
            f"their maps correlate with {_signed(mean)}. "
            + (
                "This is the pattern Invariant→Equivariant: a fine and a coarse input, the same for all, on opposite "
                "sides."
                if rule
                else "This is not the pattern Invariant→Equivariant, which needs 0.8, half an octave, and below −0.5."
            )
        )
    return texts


def _circuit_sections(study: Study, measured: "Measured", number: int) -> list[Section]:
    sections = []
    for layer, verdict in _circuit_texts(study.rows, measured.label).items():

        def of(measure: str, layer: str = layer) -> list[Measurement]:
            return _of(study.rows, measured.label, layer, measure)

        tuning = np.zeros((len(WAVELENGTHS), 2))
        for each in of("factor_tuning"):
            tuning[WAVELENGTHS.index(int(each["wavelength"])), int(each["item"])] = each["value"]
        maps: dict[int, Any] = {}
        for each in of("map"):
            values = np.array([float(v) for v in str(each["text"]).split()])
            side = round(len(values) ** 0.5)
            maps.setdefault(int(each["channel"]), []).append(values.reshape(side, side))
        maps = {channel: np.array(pair) for channel, pair in list(maps.items())[:8]}
        plot = figures.plot_circuit(
            f"circuit-{number}-{layer.replace('.', '_')}", layer, [float(r["value"]) for r in of("nmf")],
            [float(r["value"]) for r in of("nmf_bound")], tuning, maps,
        )  # fmt: skip
        caption = (
            "Left: share of the input weights that a sum of so many factors explains, and the largest possible share. "
            "Right: response of the two factors to textures by wavelength. Below: spatial maps of the fine factor "
            "(upper "
            "row) and of the coarse one, a column a unit; red excites, blue inhibits."
        )
        text = [
            f"Input weights of {of('nmf')[0]['text']}, times the factor of the batch norm and the mean activity of "
            "each "
            f"input, as a sum of a channel factor times a spatial map: {verdict}",
            *_use_text(of),
        ]
        sections.append(Section(f"{measured.label}: circuit of {layer}", text, [(plot, caption)], _use_table(of)))
    return sections


def _use_text(of: Any) -> list[str]:
    used, mean = of("use"), of("use_mean")
    if not used:
        return []
    top = float(np.mean([float(r["value"]) for r in used]))
    text = (
        f"Behind: in the {len(used)} units that read them most, these units have {100 * top:.1f} % of the input "
        "weights, "
        f"in all units of that layer {100 * float(mean[0]['value']):.1f} %."
    )
    if same := of("same_sign"):
        text += (
            f" Of {same[0]['item']} pairs with opposite directions, both have the same sign in "
            f"{100 * float(same[0]['value']):.0f} % of these units, all pairs of units of the layer in "
            f"{100 * float(of('same_sign_null')[0]['value']):.0f} %: a layer that ignores polarity gives both the "
            "same sign."
        )
    else:
        text += " No two have opposite directions, so it cannot be said whether polarity is ignored."
    return [text]


def _use_table(of: Any) -> list[Table]:
    rows = [
        [f"{r['text']}, {r['channel']}", (float(r["value"]), f"{100 * float(r['value']):.1f} %")] for r in of("use")
    ]
    return (
        [Table("Units behind that read these units most", ["Unit", "Share of its input weights"], rows)] if rows else []
    )
