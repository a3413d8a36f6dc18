"""Sections of the page about the units of one network."""

from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import torch
from torchvision.io import ImageReadMode, decode_image

from dctnet.frequency.color import ycbcr_to_rgb
from dctnet.studies.intervals import minus
from dctnet.studies.laboratory.detectors import figures, unit_figures
from dctnet.studies.laboratory.detectors.circuit_page import circuit_sections
from dctnet.studies.laboratory.detectors.measured import Measured
from dctnet.studies.laboratory.detectors.pictures import crop_field
from dctnet.studies.laboratory.detectors.polarity import canvas_for, largest_gap
from dctnet.studies.laboratory.detectors.results import Unit
from dctnet.studies.laboratory.detectors.stimuli import ORIENTATIONS, PHASES, boundaries
from dctnet.studies.laboratory.page import Section, Table
from dctnet.studies.laboratory.photographs import read_planes
from dctnet.studies.laboratory.study import Study
from dctnet.studies.page.page import Plot


def network_sections(
    study: Study, measured: Measured, number: int, units: list[Unit], null: list[Unit]
) -> list[Section]:
    """The sections on a network: polarity, pictures, circuits.

    Args:
        study: The study.
        measured: The network.
        number: Its number on the page.
        units: Its units that were judged.
        null: Those with shuffled weights.
    """
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
                unit_figures.plot_tuning(label, number, shown),
                "Mean response to a boundary by the direction of its fine side, at the best wavelength. A detector has "
                "one peak at 0 and responds little at ±180, where the textures are exchanged; two peaks mean that the "
                "order is indifferent. Ratio 1 has no difference of frequency.",
            ),
            (
                unit_figures.plot_invariance(label, number, shown),
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
    return [*sections, *circuit_sections(study, measured, number)]


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
    return f"{text} Turned to the same direction, their tuning curves correlate with {minus(f'{mean:.2f}')} on average."


def _pictures(study: Study, measured: Measured, number: int, shown: list[Unit]) -> list[tuple[Plot, str]]:
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
        plot = unit_figures.plot_pictures(
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


def _stimulus(measured: Measured, unit: Unit) -> np.ndarray[Any, Any]:
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
