"""dctnet lab detectors: does a network have high–low frequency detectors, and how are they computed and used?"""

from pathlib import Path
from typing import Any

from dctnet.errors import UserError, printable
from dctnet.signals import SignalRecorder
from dctnet.studies.laboratory.detectors import circuit
from dctnet.studies.laboratory.detectors.closer_look import IMAGES
from dctnet.studies.laboratory.detectors.measured import Measured
from dctnet.studies.laboratory.detectors.report import write_report
from dctnet.studies.laboratory.detectors.results import COLUMNS, read_units
from dctnet.studies.laboratory.study import Study

DATA_OPTIONS = ("root",)


def detectors(
    net: str | list[str],
    out: str = "checkpoints/detectors",
    root: str | None = None,
    weights: str | None = None,
    mean: list[float] | None = None,
    std: list[float] | None = None,
    image_size: int | None = None,
    layer: str | None = None,
    units: list[int] | None = None,
    wavelengths: list[float] = [4, 6, 8, 12],  # noqa: B006 — read only, and shown by --help
    images: int = 256,
    rank: int | None = None,
    steps: int = 128,
    show: int = 6,
    seed: int = 0,
    signals: SignalRecorder | None = None,
) -> None:
    """Finds high–low frequency detectors: units that respond to a fine texture on one side of a coarse one.

    Measured are the outputs of the residual blocks whose receptive field is not larger than the network's image (of a
    network without residual blocks, those of the activation functions). Every unit is shown boundaries between two
    textures in 16 directions; it is a detector at a wavelength if its polarity index is above 0.5 at a ratio of 4 and
    above 0.2 at 2, with d' above 3. Beside the count stand those of the network with shuffled weights, and of ratio 1.
    The strongest detectors are then studied one by one; of a network without any, the units that come closest.

    Args:
        net: A checkpoint of dctnet fit, torchvision:NAME, timm:NAME or MODULE:FACTORY; several to compare: '[A, B]'.
        out: Folder of the results.
        root: Photographs, as for fit. Default: those of the network's training.
        weights: State dict of a network that is not of dctnet.
        mean: Of R, G, B, in units of 0 … 1, for a network that is not of dctnet. Default: that of
            timm's network, else ImageNet's.
        std: Likewise.
        image_size: Side of its images in pixels. Default: that of timm's network, else 224.
        layer: Name of the one layer to measure.
        units: Channels of this layer to study one by one.
        wavelengths: Of the fine texture, in pixels.
        images: Photographs of the validation set, for mean activities and examples.
        rank: Largest number of factors of a circuit. Default: 4, or the number of input units if there are fewer.
        steps: Of gradient ascent for an image that excites a unit; 0 makes none.
        show: Units of each network to study one by one.
        seed: Of shuffling, photographs and images.
        signals: Stops the study.

    Raises:
        UserError: An option is invalid, a network cannot be opened or traced, or a layer does not exist.
    """
    nets = [net] if isinstance(net, str) else list(net)
    _check(nets, wavelengths, images, steps, show, seed, layer, units)
    circuit.load_nmf()
    opened = [Measured(name, layer, units, rank, root, images, seed, (weights, mean, std, image_size)) for name in nets]
    labels = [each.label for each in opened]
    if twice := next((label for place, label in enumerate(labels) if label in labels[:place]), None):
        same = [name for name, label in zip(nets, labels, strict=True) if label == twice]
        raise UserError(f"NET: {' and '.join(same)} have the same name, {twice}; rename a folder, or study them apart")
    files = [path for path in [*nets, weights] if path is not None and Path(path).is_file()]
    options = {
        "net": nets, "root": root, "mean": mean, "std": std, "image_size": image_size, "layer": layer, "units": units,
        "wavelengths": wavelengths, "images": images, "rank": rank, "steps": steps, "show": show, "seed": seed,
    }  # fmt: skip
    study = Study("detectors", out, COLUMNS, options, files, signals)
    for each in opened:
        each.prepare(study.check_stop)
    study.run({k: v for each in opened for k, v in each.screening(wavelengths, study.check_stop).items()})
    for each in opened:
        each.choose(read_units(study.rows), show)
    (study.out / IMAGES).mkdir(exist_ok=True)
    study.run({k: v for each in opened for k, v in each.closer_look(study, steps).items()})
    page = write_report(study, {each.label: each for each in opened}, _command(nets, out, options))
    print(f"report: {printable(str(page))}")


def _check(
    nets: list[str],
    wavelengths: list[float],
    images: int,
    steps: int,
    show: int,
    seed: int,
    layer: str | None,
    units: Any,
) -> None:
    if not nets or len(set(nets)) < len(nets):
        raise UserError(f"NET: expected one network or several different ones, got {nets}")
    if not wavelengths or min(wavelengths) < 3 or len(set(wavelengths)) < len(wavelengths):
        raise UserError(
            f"--wavelengths must be different numbers of pixels, at least 3, because finer textures alias; "
            f"got {wavelengths}"
        )
    for option, value, least in (("images", images, 1), ("steps", steps, 0), ("show", show, 1), ("seed", seed, 0)):
        if value < least:
            raise UserError(f"--{option} must be at least {least}, got {value}")
    if units is not None and layer is None:
        raise UserError("--units are channels of one layer: give it as --layer")


def _command(nets: list[str], out: str, options: dict[str, Any]) -> str:
    first = nets[0] if len(nets) == 1 else f"'[{', '.join(nets)}]'"
    defaults = {"wavelengths": [4, 6, 8, 12], "images": 256, "steps": 128, "show": 6, "seed": 0}
    given = {k: v for k, v in options.items() if k != "net" and v is not None and v != defaults.get(k)}
    names = {"root": "data.root"}
    return " ".join(
        ["dctnet lab detectors", first, "--out", out, *(f"--{names.get(k, k)} {v}" for k, v in given.items())]
    )
