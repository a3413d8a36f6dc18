"""What each way of choosing is called and how it is drawn, the same in all pictures."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dctnet.studies.accuracy.report.arms import Arm
from dctnet.studies.accuracy.report.figures.canvas import INK, shown

# The colours of Okabe and Ito that stand out from white and from black by 3:1; the last, orange, had to be darkened.
_BLUE, _GREEN, _VERMILLION, _PURPLE, _ORANGE, _GREY = "#0072B2", "#009E73", "#D55E00", "#CC79A7", "#C18600", "#808080"


@dataclass(frozen=True)
class Series:
    """A way of choosing channels, or what reads pixels.

    Args:
        called: In a legend.
        means: In a sentence, for a reader who has seen nothing else.
        colour: Of its marks.
        marker: Matplotlib's.
        line: Style of its line.
    """

    called: str
    means: str
    colour: str
    marker: str
    line: str = "-"


SERIES = {
    "learned": Series(
        "learned",
        "the channels that a trained gate is likeliest to keep; the gate is trained first, on the same training images",
        _VERMILLION,
        "o",
    ),
    "energy": Series("energy", "the channels of the largest variance over the training images", _BLUE, "s"),
    "square": Series(
        "square", "the lowest frequencies in a square corner of the 8×8, more of Y than of Cb and Cr", _GREEN, "D"
    ),
    "triangle": Series("triangle", "the lowest frequencies in a triangular corner, as many of Cb and Cr", _PURPLE, "^"),
    "zigzag": Series("zigzag", "the lowest frequencies in JPEG's zigzag order, dealt Y Cb Cr Y Y", _ORANGE, "v"),
    "random": Series("random", "drawn blindly, two thirds from Y; every draw is an arm of its own", _GREY, "X"),
    "all": Series("all 192", "every channel, on which all ways agree", INK, "*"),
    "rgb_matched": Series(
        "RGB, matched GMAC",
        "pixels into the ordinary network, at the smallest size at which it computes no less than all 192 channels do",
        INK,
        "P",
        "-",
    ),
    "rgb_same_pixels": Series(
        "RGB, same pixels", "pixels into the ordinary network, at the size from which channels are computed", INK,
        "<", "--",
    ),
    "patches": Series(
        "patches", "pixels into a learned 8×8 convolution of stride 8 in place of the DCT", INK, "h", ":"
    ),
    "patches_dct": Series("patches, from DCT", "the same convolution, started as the DCT", INK, "p", "-."),
}  # fmt: skip
# Longest label of a variant in a legend.
LABEL = 12
# Of variants, in the order of their labels.
_MARKERS = ">dHp<8"


def series_of(arm: Arm) -> Series:
    """The series of an arm, variants included; a way of choosing that is not known is drawn in grey."""
    choose = shown(arm.first.choose)
    return SERIES.get(choose, Series(choose, "not known to this version", _GREY, "."))


def variant_markers(arms: Iterable[Arm]) -> dict[str, str]:
    """A marker for each label."""
    labels = sorted({arm.first.label for arm in arms} - {""})
    return {label: _MARKERS[place % len(_MARKERS)] for place, label in enumerate(labels)}


def mark(arm: Arm, markers: dict[str, str]) -> dict[str, Any]:
    """How an arm's point is drawn: filled of channels, hollow of pixels and variants.

    Args:
        arm: The arm.
        markers: Of the variants.
    """
    series = series_of(arm)
    hollow = arm.first.channels == 0 or arm.first.label
    drawn = arm.first.choose == "random"
    marker = "." if drawn else markers.get(arm.first.label, series.marker)
    return {
        "marker": marker,
        "color": series.colour,
        "markerfacecolor": "none" if hollow else series.colour,
        "markersize": 10 if marker in "*P" else 8 if drawn else 7,
        "linestyle": "none",
    }
