"""Sections of bands and of noise, with the Fourier map."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dctnet.frequency.bands import NYQUIST, Band, band_mask, project
from dctnet.frequency.color import ycbcr_to_rgb
from dctnet.studies.laboratory.page import Section, Table
from dctnet.studies.laboratory.photographs import Photographs
from dctnet.studies.laboratory.sensitivity.bands import (
    MAP_NOISE,
    NOISE,
    ORIENTATIONS,
    RINGS,
)
from dctnet.studies.laboratory.sensitivity.report.text import clean_accuracy, numbers_of, points, rows_of
from dctnet.studies.laboratory.sensitivity.thresholds import Thresholds
from dctnet.studies.laboratory.study import Measurement
from dctnet.studies.laboratory.subject import Subject
from dctnet.studies.page.page import BLUE, GREEN, GREY, ORANGE, VERMILLION, Plot, add_legend, new_figure

_NUMBERS = ("part", "item", "level", "accuracy", "change", "low", "high", "clipped")


def bands_section(
    rows: Sequence[Measurement], subject: Subject, photographs: Photographs, bands: Sequence[Band]
) -> Section:
    """Accuracy without and with only each band, and a photograph treated in these ways."""
    kinds = {kind: {row["item"]: row for row in rows_of(rows, kind)} for kind in ("removed", "only")}
    clean = clean_accuracy(rows)

    def draw() -> Figure:
        figure = new_figure(250)
        axes = figure.subplots()
        for kind, colour, marker, label in (
            ("removed", VERMILLION, "o", "without this band"),
            ("only", BLUE, "s", "with only this band"),
        ):
            _plot_accuracy(axes, [kinds[kind][str(band)] for band in bands], clean, colour, marker, label)
        _finish(figure, axes, bands, clean)
        return figure

    numbers = numbers_of(_NUMBERS, [row for found in kinds.values() for row in found.values()])
    table = Table(
        "Accuracy without and with only each band",
        ["Band, cycles per pixel", "Without: change, points", "Only: accuracy, %", "Clipped colours without, %"],
        [
            [
                name,
                (row["change"], points(row)),
                100 * kinds["only"][name]["accuracy"],
                100 * row["clipped"],
            ]
            for name, row in kinds["removed"].items()
        ],
    )
    return Section(
        "Bands",
        [
            "A band has all waves of some lengths, in every direction. 0.5 cycles per pixel is a wave of two pixels, "
            "the finest that an image can have; 0.25 one of four pixels."
        ],
        [
            (
                Plot(
                    "photograph",
                    "A photograph without and with only each band.",
                    _photograph(subject, photographs, bands, kinds, clean),
                    numbers,
                ),
                "One of the photographs without a band (top), and with nothing but the band and the mean (bottom). "
                "Below each picture: the accuracy on all photographs that are treated in this way.",
            ),
            (
                Plot("bands", "Accuracy without and with only each band.", draw, numbers),
                "Where the red line dips, the network relies on that band; where the blue one rises, that band alone "
                "tells it much. Bars are 95 % bootstrap intervals over images, paired with the unchanged images, whose "
                "accuracy is the dashed line.",
            ),
        ],
        [table],
    )


def _photograph(
    subject: Subject, photographs: Photographs, bands: Sequence[Band], kinds: Mapping[str, Any], clean: float
) -> Any:
    """A function that draws a photograph without and with only each band."""
    planes = photographs.planes[:1]

    def draw() -> Figure:
        figure = new_figure(185)
        axes = figure.subplots(2, len(bands) + 1)
        for column, band in enumerate([None, *bands]):
            content = planes if band is None else project(planes, band_mask(band, subject.image_size))
            without = planes if band is None else planes - content
            only = planes if band is None else content + planes.mean((-2, -1), keepdim=True)
            for row, (kind, image) in enumerate((("removed", without), ("only", only))):
                each = axes[row, column]
                each.imshow(ycbcr_to_rgb(image)[0].permute(1, 2, 0).round().byte().numpy())
                each.set(xticks=[], yticks=[])
                each.spines[:].set_visible(False)
                accuracy = clean if band is None else kinds[kind][str(band)]["accuracy"]
                each.set_xlabel(f"{100 * accuracy:.0f} %", fontsize=11)
            axes[0, column].set_title("all" if band is None else str(band), fontsize=10)
        axes[0, 0].set_ylabel("without", fontsize=11)
        axes[1, 0].set_ylabel("only", fontsize=11)
        return figure

    return draw


def _plot_accuracy(
    axes: Axes, found: Sequence[Measurement], clean: float, colour: str, marker: str, label: str
) -> None:
    values = np.array([100 * row["accuracy"] for row in found])
    ends = np.array([[100 * (clean + row[key]) for row in found] for key in ("low", "high")])
    axes.errorbar(range(len(found)), values, np.abs(ends - values), color=colour, marker=marker, capsize=3, label=label)


def _finish(figure: Figure, axes: Axes, bands: Sequence[Band], clean: float) -> None:
    axes.axhline(100 * clean, color=GREY, linestyle="--", linewidth=1)
    axes.set_xticks(range(len(bands)), [str(band) for band in bands], fontsize=11)
    axes.set(xlabel="band, cycles per pixel", ylabel="accuracy, %", ylim=(0, 102))
    add_legend(figure, axes.get_legend_handles_labels()[0])


def noise_section(rows: Sequence[Measurement], bands: Sequence[Band], thresholds: Thresholds) -> Section:
    """Accuracy under noise in each band, the noise that halves it, and the Fourier map."""
    clean = clean_accuracy(rows, "noise")
    noise = {(row["item"], row["level"]): row for row in rows_of(rows, "noise")}

    def draw() -> Figure:
        figure = new_figure(250)
        axes = figure.subplots()
        for rms, colour, marker in zip(NOISE, (GREEN, BLUE, ORANGE, VERMILLION), "osD^", strict=True):
            found = [noise[str(band), rms] for band in bands]
            _plot_accuracy(axes, found, clean, colour, marker, f"RMS {rms:g}")
        _finish(figure, axes, bands, clean)
        return figure

    table = Table(
        "Noise that halves the accuracy",
        ["Band, cycles per pixel", "RMS, with its 95 % interval", *(f"Clipped colours at {rms:g}, %" for rms in NOISE)],
        [
            [
                str(band),
                (float(thresholds.values[place]), thresholds.text(place)),
                *(100 * noise[str(band), rms]["clipped"] for rms in NOISE),
            ]
            for place, band in enumerate(bands)
        ],
    )
    told = []
    if thresholds.width is not None:
        told.append(
            f"Its band is {thresholds.width} wide: the width at half of the largest sensitivity, which is one over the "
            "RMS that halves the accuracy."
        )
    return Section(
        "Noise",
        [
            "Noise of one band is added to each photograph, equally strong at all frequencies of the band. Its RMS, "
            "the root of its mean square, is that of each colour, where 1 is the range from black to white.",
            *told,
        ],
        [
            (
                Plot("noise", "Accuracy under noise in each band.", draw, numbers_of(_NUMBERS, list(noise.values()))),
                "Accuracy with noise in one band, at four strengths; a dip is a band in which noise disturbs the "
                "network. Bars are 95 % intervals, paired with the images without noise, whose accuracy is the dashed "
                "line.",
            ),
            (
                _map_plot(rows_of(rows, "map")),
                f"Fourier map: change of the accuracy with noise of RMS {MAP_NOISE:g} in one cell. The distance from "
                "the centre is the frequency in cycles per pixel, logarithmic; the direction is that in which the "
                "wave runs: right and left are vertical stripes, top and bottom horizontal ones. Dark cells are waves "
                "that disturb the network, yellow ones it ignores. Empty cells have no frequency at this image size.",
            ),
        ],
        [table],
    )


def _map_plot(rows: Sequence[Measurement]) -> Plot:
    found = {tuple(map(int, row["item"].split())): 100 * row["change"] for row in rows}
    polar = all(0 <= ring < RINGS and 0 <= place < ORIENTATIONS for ring, place in found)

    def draw() -> Figure:
        figure = new_figure(330)
        axes: Any = figure.add_subplot(projection="polar" if polar else None)
        mesh = _draw_polar(axes, found) if polar else _draw_plane(axes, found)
        figure.colorbar(mesh, ax=axes, label="change of accuracy, points", shrink=0.8)
        return figure

    return Plot("map", "Fourier map of the sensitivity to noise.", draw, numbers_of(("item", "level", "change"), rows))


def _draw_polar(axes: Any, found: Mapping[tuple[int, ...], float]) -> Any:
    sectors, smooth = 2 * ORIENTATIONS, 12  # a wave has two directions; an arc is drawn as that many chords
    edges = (np.arange(sectors * smooth + 1) / smooth - 0.5) * 2 * np.pi / sectors
    values = np.full((RINGS, sectors), np.nan)
    for (ring, orientation), change in found.items():
        values[ring, [orientation, orientation + ORIENTATIONS]] = change
    mesh = axes.pcolormesh(
        edges, np.arange(RINGS + 1), values.repeat(smooth, 1), cmap="viridis", vmax=0, edgecolors="face"
    )
    rings = range(2, RINGS + 1, 2)
    axes.set_yticks(
        list(rings), [f"{NYQUIST * 2 ** ((ring - RINGS) / 2):.2g}" for ring in rings], fontsize=10, color="w"
    )
    for label in axes.get_yticklabels():  # readable on light cells too
        label.set_bbox({"facecolor": "k", "alpha": 0.45, "edgecolor": "none", "pad": 1})
    axes.set_xticks([])
    axes.grid(visible=False)
    return mesh


def _draw_plane(axes: Any, found: Mapping[tuple[int, ...], float]) -> Any:
    side = max(abs(each) for place in found for each in place)
    values = np.full((2 * side + 1, 2 * side + 1), np.nan)
    for (v, h), change in found.items():
        for sign in (1, -1):
            values[side + sign * v, side + sign * h] = change
    axes.set(xlabel="horizontal, cycles per image", ylabel="vertical, cycles per image")
    return axes.imshow(values, cmap="viridis", vmax=0, extent=(-side - 0.5, side + 0.5, side + 0.5, -side - 0.5))
