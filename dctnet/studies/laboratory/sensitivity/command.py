"""dctnet lab sensitivity: measures, writes the page, and a mask of the channels that matter most."""

from pathlib import Path
from typing import Literal

from dctnet import __version__
from dctnet.errors import UserError, printable
from dctnet.frequency.bands import Band, bands_between, octave_bands
from dctnet.frequency.channels import NUM_CHANNELS, ChannelSet
from dctnet.frequency.maskfile import is_mask, read_mask, write_mask
from dctnet.signals import SignalRecorder
from dctnet.studies.laboratory.opening import open_subject
from dctnet.studies.laboratory.photographs import Photographs, read_photographs
from dctnet.studies.laboratory.sensitivity.answers import COLUMNS, collect, compare, single
from dctnet.studies.laboratory.sensitivity.bands import (
    band_units,
    change_planes,
    lower_contrast,
    map_units,
    noise_units,
)
from dctnet.studies.laboratory.sensitivity.channels import ChannelStudy, Method
from dctnet.studies.laboratory.sensitivity.layers import attention_rows, identity_rows, layer_rows
from dctnet.studies.laboratory.sensitivity.report.report import write_report
from dctnet.studies.laboratory.study import Study
from dctnet.studies.laboratory.subject import Subject

DATA_OPTIONS = ("root",)


def sensitivity(
    net: str,
    out: str = "checkpoints/sensitivity",
    root: str | None = None,
    weights: str | None = None,
    mean: list[float] | None = None,
    std: list[float] | None = None,
    image_size: int | None = None,
    classes: str | None = None,
    split: Literal["train", "val", "test"] = "val",
    images: int = 256,
    channel_images: int = 128,
    bands: list[float] | None = None,
    methods: list[Method] | None = None,
    contrast: float | None = None,
    full: bool = False,
    keep: int = 24,
    mask: str | None = None,
    gate: str | None = None,
    batch: int = 64,
    seed: int = 0,
    *,
    signals: SignalRecorder | None = None,
) -> None:
    """Measures which frequencies a trained network relies on.

    Args:
        net: A checkpoint of ``dctnet fit``; ``torchvision:NAME`` or ``timm:NAME`` with ``--weights``; or
            ``MODULE:FACTORY``, a function of yours that returns a network on RGB.
        out: Folder for rows.csv, figures/ and report.html. A stopped study goes on in it.
        root: The photographs, as for ``fit``. Default: those that the network was trained on.
        weights: State dict of a network that is not of dctnet.
        mean: Of R, G, B, 0 … 1, subtracted before such a network. Default: that of timm's network, else ImageNet's.
        std: Likewise, divided by.
        image_size: Side of its input in pixels. Default: that of timm's network, else 224.
        classes: File with its class names, one per line, in the order of its outputs. Default: the folders in order.
        split: Photographs to use.
        images: Number of photographs for bands, noise, map and gradients.
        channel_images: Number of them for the changes of single channels.
        bands: Ends of the frequency bands in cycles per pixel, ascending, up to 0.5. Default: octaves.
        methods: Changes of a channel: ``swap`` between images, ``mean``, ``noise_abs``, ``noise_rel``. Default: swap.
        contrast: Noise on grey photographs with the contrast reduced to this share (Subramanian et al. 2023: 0.2).
        full: Fourier map with every frequency instead of 64 cells; takes hours.
        keep: Number of channels of the mask.
        mask: File to write the most important channels to, for ``fit --data.channels``.
        gate: A gate's mask file to compare with.
        batch: Images per forward pass.
        seed: Of the selection of photographs, of noise and of permutations.
        signals: Recorder of the signals that stop the study.

    Raises:
        UserError: The network, the photographs or an option cannot be used.
        Stopped: A signal came.
    """
    _check(images, channel_images, batch, seed, keep, contrast)
    subject = open_subject(net, weights, mean, std, image_size, classes)
    chosen_bands = octave_bands(subject.image_size) if bands is None else bands_between(bands, subject.image_size)
    given_gate = None if gate is None else read_mask(gate)
    read = NUM_CHANNELS if subject.channel_set is None else len(subject.channel_set)
    if mask is not None and keep > read:
        raise UserError(f"--keep {keep}: {subject.name} reads {read} channels, and the mask cannot have more")
    chosen_methods: list[Method] = methods or ["swap"]
    if mask is not None:
        _check_mask(mask)
    options = {
        "net": subject.name, "root": root, "split": split, "images": images, "channel_images": channel_images,
        "bands": [str(band) for band in chosen_bands], "methods": chosen_methods, "contrast": contrast,
        "full": full, "seed": seed, "image_size": subject.image_size, "mean": mean, "std": std,
    }  # fmt: skip
    inputs = [path for path in (net, weights, classes) if path is not None and Path(path).is_file()]
    study = Study("sensitivity", out, COLUMNS, options, inputs, signals)
    photographs = read_photographs(subject, root, split, images, seed)
    ranked = _measure(
        study, subject, photographs, channel_images, chosen_bands, chosen_methods, contrast, full, batch, seed
    )
    kept = ChannelSet("sensitivity", tuple(sorted(ranked[:keep])))
    if mask is not None:
        write_mask(mask, kept, None, {"dctnet": __version__, "network": subject.name, "method": chosen_methods[0]})
        print(printable(f"{kept} -> {mask}"))
    page = write_report(study, subject, photographs, chosen_bands, ranked, keep, given_gate)
    print(f"report: {printable(str(page))}")


def _check_mask(mask: str) -> None:
    """Masks of earlier studies are written over, other files are not."""
    if not Path(mask).parent.is_dir():
        raise UserError(f"--mask {mask}: the folder {Path(mask).parent} does not exist")
    if Path(mask).exists() and not is_mask(mask):
        raise UserError(f"--mask {mask}: exists and is no mask; give the name of a new file, which will be written")
    if Path(mask).exists() and read_mask(mask)[1] is not None:
        raise UserError(f"--mask {mask}: the mask of a gate, which would be lost; --gate {mask} compares with it")


def _check(images: int, channel_images: int, batch: int, seed: int, keep: int, contrast: float | None) -> None:
    for name, value, least in (
        ("images", images, 2),
        ("channel_images", channel_images, 2),
        ("batch", batch, 1),
        ("seed", seed, 0),
    ):
        if value < least:
            raise UserError(f"--{name} must be at least {least}, got {value}")
    if not 1 <= keep <= NUM_CHANNELS:
        raise UserError(f"--keep must be 1…{NUM_CHANNELS}, got {keep}")
    if contrast is not None and not 0 < contrast <= 1:
        raise UserError(f"--contrast must be a share above 0 and at most 1, got {contrast}")


def _measure(
    study: Study, subject: Subject, photographs: Photographs, channel_images: int, bands: list[Band],
    methods: list[Method], contrast: float | None, full: bool, batch: int, seed: int,
) -> list[int]:  # fmt: skip
    """Runs all units; returns the channels that the network reads, the most important first."""
    clean = collect(lambda part: subject(photographs.planes[part]), photographs.targets, batch)
    changes = ChannelStudy(subject, photographs.spread(channel_images), batch, seed)
    clean_few = changes.answers({})
    without = clean  # noise
    if contrast is not None:
        without = change_planes(subject, photographs, batch, lambda planes, _: lower_contrast(planes, contrast))[0]
    unchanged = {"all": clean, "noise": without, "channels": clean_few}
    study.run(
        {
            "clean": lambda: [compare("clean", item, 0, answers, answers) for item, answers in unchanged.items()],
            **dict(band_units(subject, photographs, clean, bands, batch)),
            **dict(noise_units(subject, photographs, without, bands, batch, seed, contrast)),
            "gradient": ChannelStudy(subject, photographs, batch, seed).gradient_rows,
            **dict(changes.coding_units(clean_few)),
            "layers": lambda: layer_rows(subject, photographs, batch, seed),
            "attention": lambda: attention_rows(subject, photographs, batch),
            "identity": lambda: identity_rows(photographs),
            # So that a page across studies can tell whether they used the same photographs, in the same order.
            "photographs": lambda: [single("photographs", photographs.digest, 0, len(photographs), 0.0, None)],
            **dict(map_units(subject, photographs, clean, batch, seed, full)),
            **dict(changes.units(clean_few, methods)),
        }
    )
    ranked = ranking(study, methods[0])
    # On other photographs than those that the order comes from, which would flatter it.
    curves = ChannelStudy(subject, photographs.apart_from(channel_images), batch, seed)
    orders, clean_rest = {"importance": ranked, "frequency": curves.by_frequency()}, curves.answers({})
    study.run(
        {name: unit for key, order in orders.items() for name, unit in curves.curve_units(clean_rest, order, key)}
    )
    return ranked


def ranking(study: Study, method: Method) -> list[int]:
    """The channels that the network reads, the largest rise of the loss first."""
    rows = study.of(method)
    return [int(row["level"]) for row in sorted(rows, key=lambda row: -float(row["loss"]))]
