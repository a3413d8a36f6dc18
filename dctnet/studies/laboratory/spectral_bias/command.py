"""The command: options, arms of a sweep, and the units of the study."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

from dctnet.errors import UserError, did_you_mean, printable
from dctnet.signals import SignalRecorder
from dctnet.studies.laboratory.mlp import Activation
from dctnet.studies.laboratory.seeds import STREAMS
from dctnet.studies.laboratory.spectral_bias.labels import learn_noisy, read_digits
from dctnet.studies.laboratory.spectral_bias.perturbation import perturb
from dctnet.studies.laboratory.spectral_bias.report import write_report
from dctnet.studies.laboratory.spectral_bias.targets import make_target
from dctnet.studies.laboratory.spectral_bias.training import Optimizer, Setting, learn
from dctnet.studies.laboratory.study import Measurement, Place, Study

COLUMNS = ("arm", "seed", "measure", "x", "k", "value")
# What a sweep compares unless --values says otherwise; the first value is what the others are compared with.
SWEEPS: dict[str, list[Any]] = {
    "activation": ["relu", "tanh", "sigmoid", "gelu", "sin"],
    "depth": [6, 3, 2, 1],
    "width": [128, 64, 32, 16],
    "optimizer": ["adam", "sgd", "momentum", "rmsprop"],
    "weight_decay": [0.0, 0.01, 0.1, 1.0],
    "amplitudes": ["equal", "rising"],
    "petals": [0, 4, 9, 16],
}
_PRESETS = {"small": {"width": 128, "steps": 15_000}, "paper": {"width": 256, "steps": 60_000}}
_LABEL_SHARE = 10  # the classifiers of the experiment with label noise take steps / 10


def spectral_bias(
    preset: Literal["small", "paper"] = "small",
    frequencies: list[int] = [5, 10, 15, 20, 25, 30, 35, 40, 45, 50],  # noqa: B006
    amplitudes: Literal["equal", "rising"] = "equal",
    petals: int | None = None,
    points: int = 200,
    activation: Activation = "relu",
    depth: int = 6,
    width: int | None = None,
    optimizer: Optimizer = "adam",
    lr: float | None = None,
    weight_decay: float = 0.0,
    steps: int | None = None,
    sweep: Literal["activation", "depth", "width", "optimizer", "weight_decay", "amplitudes", "petals"] | None = None,
    values: list[int | float | str] | None = None,
    norms: list[float] = [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5],  # noqa: B006
    directions: int = 100,
    label_noise: list[float] = [0.05, 0.2, 1.0],  # noqa: B006
    seeds: int = 3,
    seed: int = 0,
    out: str = "checkpoints/spectral-bias",
    *,
    signals: SignalRecorder | None = None,
    place: Place | None = None,
) -> None:
    """Measures the order in which a network learns the frequencies of a function.

    A fully connected network learns a sum of sines, as in Rahaman et al. 2019; its outputs are analysed at about a
    hundred iterations. Then its parameters are moved in random directions, and networks of the same kind learn to tell
    threes from eights with noise of different frequencies on the labels. A sweep repeats the first two measurements for
    several values of one factor, and says whether it changes the order.

    Args:
        preset: ``small``: width 128, 15,000 steps, about a minute per seed. ``paper``: width 256, 60,000 steps.
        frequencies: Of the sines, periods over all points.
        amplitudes: ``equal``, or ``rising`` from 1/K to 1.
        petals: Learn on a closed curve with this number of petals, 0 for a circle; default: on an interval.
        points: Number of points.
        activation: relu, tanh, sigmoid, gelu or sin.
        depth: Number of hidden layers.
        width: Units per hidden layer; default: of the preset.
        optimizer: adam, sgd, momentum (0.9) or rmsprop, with all points in each step.
        lr: Learning rate. Default: adam and rmsprop 3e-4, sgd 0.1, momentum 0.01.
        weight_decay: Decoupled for adam, an L2 penalty for the others.
        steps: Number of steps; default: of the preset. The classifiers take a tenth of them.
        sweep: Factor to vary. A sweep omits the label noise.
        values: Values of the factor, the first of which the others are compared with; default: a choice per factor.
        norms: Distances by which the parameters are moved.
        directions: Number of random directions; 0 omits this measurement.
        label_noise: Frequencies of the noise on labels, periods per unit of an image's norm, which is 9.2 on average
            as MNIST's; [] omits this measurement.
        seeds: Number of seeds; each has its own phases, initial weights and directions.
        seed: The first seed.
        out: Folder for rows.csv, figures and report.html.
        signals: Recorder of the signals that stop the study.
        place: Where the units are measured; None for this process.

    Raises:
        UserError: An option is out of range, a training diverges, or scikit-learn is missing for the label noise.
        Stopped: A signal came; the finished units are recorded.
    """
    options = {key: value for key, value in locals().items() if key not in ("out", "signals", "place")}
    width = _PRESETS[preset]["width"] if width is None else width
    steps = _PRESETS[preset]["steps"] if steps is None else steps
    base = Setting(activation, depth, width, optimizer, lr, weight_decay, steps, amplitudes, petals)
    _check(options | {"width": width, "steps": steps})
    arms = _arms(base, sweep, values)
    study = Study(
        "spectral-bias", out, COLUMNS, options | {"width": width, "steps": steps}, signals=signals, streams=STREAMS
    )
    units: dict[str, Callable[[], list[Measurement]]] = {}
    all_seeds = range(seed, seed + seeds)

    def measure(arm: str, setting: Setting, own: int) -> list[Measurement]:
        target = make_target(frequencies, setting.amplitudes, setting.petals, points, own)
        network, rows = learn(target, setting, own, study.check_stop)
        if directions:
            rows += perturb(network, target, norms, directions, own, study.check_stop)
        return [{"arm": arm, "seed": own, **row} for row in rows]

    def measure_labels(noise: float, own: int) -> list[Measurement]:
        setting = dataclasses.replace(base, steps=max(steps // _LABEL_SHARE, 2))
        rows = learn_noisy(read_digits(own), noise, setting, own, study.check_stop)
        return [{"arm": "labels", "seed": own, **row} for row in rows]

    for own in all_seeds:
        for arm, setting in arms.items():
            units[f"{arm}/seed {own}"] = lambda a=arm, s=setting, o=own: measure(a, s, o)  # type: ignore[misc]
    if label_noise and sweep is None:
        read_digits(seed)  # fails at once without scikit-learn
        for own in all_seeds:
            for noise in (0.0, *label_noise):
                units[f"labels/{noise:g}/seed {own}"] = lambda n=noise, o=own: measure_labels(n, o)  # type: ignore[misc]
    study.run(units, place)
    page = write_report(study, arms, sweep)
    print(f"report: {printable(str(page))}")


def _check(options: dict[str, Any]) -> None:
    least = {
        "points": 4,
        "depth": 1,
        "width": 1,
        "steps": 2,
        "seeds": 1,
        "directions": 0,
        "petals": 0,
        "weight_decay": 0,
    }
    for name, limit in least.items():
        if options[name] is not None and not options[name] >= limit:
            raise UserError(f"--{name} must be at least {limit}, got {options[name]}")
    if options["lr"] is not None and not 0 < options["lr"] < float("inf"):
        raise UserError(f"--lr must be a positive number, got {options['lr']}")
    k, points = options["frequencies"], options["points"]
    if not k or len(set(k)) < len(k) or min(k) < 1 or 2 * max(k) >= points:
        raise UserError(
            f"--frequencies must be different numbers from 1 to {(points - 1) // 2}, below half of --points {points}; "
            f"got {k}"
        )
    for name in ("norms", "label_noise"):
        wrong = [value for value in options[name] if not 0 <= value < float("inf")]
        if wrong or len(set(options[name])) < len(options[name]):
            raise UserError(f"--{name} must be different numbers of at least 0, got {options[name]}")
    # Rows are found by the names of their units.
    if len(set(map("{:g}".format, options["label_noise"]))) < len(options["label_noise"]):
        raise UserError(f"--label_noise: two of them have the same first six digits; got {options['label_noise']}")
    if 0 in options["label_noise"]:
        raise UserError("--label_noise: labels without noise are always measured; give frequencies above 0")
    if options["directions"] and 0 not in options["norms"]:
        raise UserError(f"--norms must contain 0, with which the others are compared; got {options['norms']}")


def _arms(base: Setting, sweep: str | None, values: list[int | float | str] | None) -> dict[str, Setting]:
    """The settings to measure by name."""
    if sweep is None:
        if values is not None:
            raise UserError(f"--values {values}: of which factor? Give --sweep, one of {', '.join(SWEEPS)}")
        return {"base": base}
    chosen = SWEEPS[sweep] if values is None else [_value(sweep, str(each)) for each in values]
    if len(chosen) < 2 or len(set(chosen)) < len(chosen):
        raise UserError(f"--values must be at least two different values of {sweep}, got {values}")
    return {f"{sweep} {value}": dataclasses.replace(base, **{sweep: value}) for value in chosen}


def _value(sweep: str, text: str) -> Any:
    """A value of a factor from its text."""
    known = SWEEPS[sweep]
    if isinstance(known[0], str):
        if text not in known:
            raise UserError(f"--values: no {sweep} {text!r}.{did_you_mean(text, known)} Known: {', '.join(known)}")
        return text
    least = {"depth": 1, "width": 1, "petals": 0, "weight_decay": 0}[sweep]
    try:
        number = type(known[0])(text)
    except ValueError as error:
        raise UserError(f"--values: {sweep} must be a number, got {text!r}") from error
    if not least <= number < float("inf"):
        raise UserError(f"--values: {sweep} must be at least {least}, got {text}")
    return number
