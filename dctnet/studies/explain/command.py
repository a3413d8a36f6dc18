"""The verb ``explain``: a page that shows one photograph as a network sees it."""

import tempfile
from importlib.resources import files
from pathlib import Path

from dctnet import __version__
from dctnet.data.ignored import is_note
from dctnet.errors import UserError, did_you_mean_path, printable
from dctnet.frequency.channels import COMPONENTS, PER_COMPONENT
from dctnet.io.files import file_sha256
from dctnet.studies.explain.figures import channel_name, probability_plot, sensitivity_plot
from dctnet.studies.explain.measure import Explanation, explain_planes, image_text, read_planes
from dctnet.studies.explain.pictures import as_pixels, mosaic, picture
from dctnet.studies.laboratory.opening import open_subject
from dctnet.studies.laboratory.subject import Subject
from dctnet.studies.page.page import render_plots, write_page

_NAMED = 5  # channels in the summary


def explain(net: str, photo: str, *, out: str = "explain.html", weights: str | None = None) -> Path:
    """Shows one photograph as a network sees it: its 192 channels, those that are kept, and those that decided.

    Args:
        net: A checkpoint of ``dctnet fit``; or ``torchvision:NAME`` or ``timm:NAME`` with --weights.
        photo: An image file.
        out: The page to write, one file.
        weights: State dict of a network that is not of dctnet.

    Returns:
        The path of the page.

    Raises:
        UserError: The network or the photograph cannot be read, or ``out`` cannot be written.
    """
    target = Path(out)
    if not target.parent.is_dir():
        raise UserError(f"{out}: no such folder {target.parent}.{did_you_mean_path(target.parent)}")
    if target.suffix != ".html":
        raise UserError(f"{out}: --out must be the name of a page, such as explain.html")
    if target.exists() or target.is_symlink():
        raise UserError(f"{out}: exists; explain does not replace files, give another --out")
    if Path(photo).is_dir() or is_note(photo):
        raise UserError(f"{photo}: expected an image file")
    subject = open_subject(net, weights)
    planes = read_planes(subject, photo)
    found = explain_planes(subject, planes)
    classes = subject.classes or [f"class {i}" for i in range(len(found.probability))]
    with tempfile.TemporaryDirectory() as folder:
        plots = render_plots([probability_plot(found, classes), sensitivity_plot(found)], Path(folder))
    name = Path(photo).name
    write_page(
        target,
        files(__package__).joinpath("explain.html").read_text(encoding="utf-8"),
        title=f"{printable(name)} as a network sees it",
        summary=_summary(found, classes),
        photograph=picture(as_pixels(found.photograph), "The photograph"),
        reconstruction=picture(as_pixels(found.reconstruction), "The image that the kept channels describe"),
        size=subject.image_size,
        kept=int(found.kept.sum()),
        gate=_describe_gate(subject, found),
        mosaics=[
            (each, picture(mosaic(found.channels, found.kept, i), f"Maps of the 64 channels of {each}", crisp=True),
             int(found.kept[i * PER_COMPONENT : (i + 1) * PER_COMPONENT].sum()))
            for i, each in enumerate(COMPONENTS)
        ],
        predicted=classes[found.predicted],
        rows=_rows(found),
        plots=plots,
        facts={
            "photograph": f"{printable(photo)}: {image_text(photo)}",
            "network": printable(subject.name),
            **({"checkpoint": f"SHA-256 {file_sha256(net)}"} if Path(net).is_file() else {}),
            "versions": f"dctnet {__version__}",
            **_note(subject),
        },
    )  # fmt: skip
    first = found.probability[found.predicted].item()
    print(printable(f"{out}: {classes[found.predicted]}, {100 * first:.1f} %; {int(found.kept.sum())} channels in use"))
    return target


def _note(subject: Subject) -> dict[str, str]:
    """What the page shows otherwise than the network reads it."""
    if subject.origin is None or subject.origin.options.get("source") != "coefficients":
        return {}
    text = "the network reads coefficients of JPEG files without resizing; the page shows the resized photograph"
    return {"note": text}


def _shares(found: Explanation) -> list[tuple[int, float]]:
    """Index and share of the sensitivity, in %, of each channel in use, largest first."""
    used = [i for i in range(len(found.kept)) if found.kept[i]]
    total = max(float(found.sensitivity[found.kept].sum()), 1e-12)
    shares = [(i, 100 * float(found.sensitivity[i]) / total) for i in used]
    return sorted(shares, key=lambda pair: -pair[1])


def _rows(found: Explanation) -> list[tuple[str, int, float, float]]:
    return [(channel_name(i), i, share, float(found.contribution[i])) for i, share in _shares(found)]


def _summary(found: Explanation, classes: list[str]) -> list[str]:
    best = found.predicted
    shares = _shares(found)
    first = ", ".join(channel_name(i) for i, _ in shares[:_NAMED])
    covered = sum(share for _, share in shares[:_NAMED])
    return [
        f"The network says “{classes[best]}” with a probability of {100 * found.probability[best].item():.1f} %.",
        f"It uses {int(found.kept.sum())} of the 192 frequency channels of this photograph. The prediction is most "
        f"sensitive to {first} (component, vertical and horizontal frequency): {covered:.0f} % of the sensitivity of "
        "all channels in use.",
    ]


def _describe_gate(subject: Subject, found: Explanation) -> str:
    kept, offered = int(found.kept.sum()), int(found.offered.sum())
    if subject.channel_set is None:
        return "This network reads RGB pixels, and with them all frequencies; nothing is selected."
    gate = getattr(subject.network, "gate", None)
    if gate is None:
        return f"This network was trained on {offered} fixed channels, the same for all photographs."
    how = "for this photograph" if subject.kept_channels(found.channels[None]) is not None else "for all photographs"
    return f"The gate of this network keeps {kept} of {offered} channels {how}."
