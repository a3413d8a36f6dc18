"""Names, colours and markers of the selection methods, the same in all figures."""

from collections.abc import Sequence
from dataclasses import dataclass

from dctnet.studies.accuracy.report.arms import Arm
from dctnet.studies.page.page import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, VERMILLION, Style, shorten


@dataclass(frozen=True)
class Series:
    """A selection method or a pixel baseline."""

    name: str  # in legends
    meaning: str  # explanation for a reader of the page
    colour: str
    marker: str
    line: str = "-"


SERIES = {
    "learned": Series("learned", "the channels with the highest keep probability of a gate, trained beforehand on the "
                      "same training images", VERMILLION, "o"),
    "energy": Series("energy", "the channels with the largest variance over the training images", BLUE, "s"),
    "square": Series("square", "a square of low frequencies, larger for Y than for Cb and Cr", GREEN, "D"),
    "triangle": Series("triangle", "a triangle of low frequencies, with a larger share of Cb and Cr", PURPLE, "^"),
    "zigzag": Series("zigzag", "the lowest frequencies in JPEG’s zigzag order, dealt Y Cb Cr Y Y", ORANGE, "v"),
    "random": Series("random", "random channels, two thirds of them from Y; each selection is an arm", GREY, "X", ":"),
    "mask": Series("mask", "the channels of a given mask file or named set", BLUE, "H"),
    "all": Series("all 192", "all channels: the same for every method", INK, "*"),
    "rgb_matched": Series("RGB, matched GMAC", "RGB pixels with the network’s own stem, at the smallest image size "
                          "with at least the GMAC of all 192 channels", INK, "P"),
    "rgb_same_pixels": Series("RGB, same pixels", "the same at the image size from which the channels are computed",
                              INK, "<", "--"),
    "patchify": Series("patchify", "RGB pixels into a learned 8×8 convolution of stride 8 in place of the DCT", INK,
                       "h", ":"),
    "patchify_dct": Series("patchify, DCT init", "the same convolution, initialised with the DCT", INK, "p", "-."),
}  # fmt: skip
_MAX_LABEL = 12
_VARIANT_MARKERS = ">dHp<8"


def series_of(arm: Arm) -> Series:
    """The series of an arm; an unknown method is drawn in grey."""
    return SERIES.get(arm.first.choose, Series(shorten(arm.first.choose, 20), "unknown to this version", GREY, "."))


def order_of(arm: Arm) -> int:
    """The position of an arm's series in legends."""
    return list(SERIES).index(arm.first.choose) if arm.first.choose in SERIES else len(SERIES)


def legend_name(arm: Arm) -> str:
    """The name of an arm's series, with the label of a variant."""
    label = shorten(arm.first.label, _MAX_LABEL)
    return f"{series_of(arm).name}, {label}" if label else series_of(arm).name


def marks(arms: Sequence[Arm]) -> dict[str, Style]:
    """Styles of the marks by legend name: filled for channels, hollow for pixels and variants."""
    found = {}
    labels = sorted({arm.first.label for arm in arms} - {""})
    for arm in sorted(arms, key=order_of):
        series, label = series_of(arm), arm.first.label
        marker = _VARIANT_MARKERS[labels.index(label) % len(_VARIANT_MARKERS)] if label else series.marker
        found[legend_name(arm)] = {
            "marker": marker,
            "color": series.colour,
            "markerfacecolor": "none" if arm.first.channels == 0 or label else series.colour,
            "markersize": 10 if marker in "*P" else 7,
            "linestyle": "none",
        }
    return found
