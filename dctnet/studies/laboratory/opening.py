"""Opens the network under study: a checkpoint of dctnet, a network of torchvision or timm, or the user's own."""

import importlib
from collections.abc import Sequence
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from dctnet.data.preprocess import Preprocess
from dctnet.errors import UserError, did_you_mean, did_you_mean_path, first_line
from dctnet.io.safe_torch import load_torch_file
from dctnet.model.network import FrequencyNet
from dctnet.studies.laboratory.subject import Origin, Subject
from dctnet.training import checkpoint

# Of ImageNet, in units of 0 … 1; the normalisation of torchvision's networks.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_WRAPPERS = ("state_dict", "model", "model_state_dict", "state_dict_ema", "network")


def open_subject(
    net: str,
    weights: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    image_size: int | None = None,
    classes: str | None = None,
) -> Subject:
    """Opens a network.

    Args:
        net: A checkpoint of ``dctnet fit``; ``torchvision:NAME`` or ``timm:NAME``; or ``MODULE:FACTORY``, a function of
            the user that returns an ``nn.Module`` on RGB, whose module is imported and run.
        weights: State dict of a network that is not of dctnet, loaded as data only.
        mean: Of R, G, B, in units of 0 … 1. Default: that of timm's network, else ImageNet's.
        std: Likewise.
        image_size: Side of the input in pixels, a multiple of 8. Default: that of timm's network, else 224.
        classes: File with a class name per line, in the order of the logits.

    Raises:
        UserError: The network or a file cannot be read, the weights are those of another network, or an option does not
            apply to a checkpoint of dctnet, which has it itself.
    """
    source, colon, name = net.partition(":")
    if not colon or Path(net).exists():
        if not Path(net).exists():
            hint = did_you_mean_path(net)
            raise UserError(f"{net}: no such checkpoint.{hint} Or give torchvision:NAME, timm:NAME or MODULE:FACTORY")
        given = {"weights": weights, "mean": mean, "std": std, "image_size": image_size, "classes": classes}
        if wrong := [f"--{option}" for option, value in given.items() if value is not None]:
            raise UserError(f"{', '.join(wrong)}: not for a checkpoint of dctnet, which has its own; got {net}")
        return _from_checkpoint(net)
    if image_size is not None:
        _check_size(image_size)
    for option, values in (("mean", mean), ("std", std)):
        if values is not None and (len(values) != 3 or (option == "std" and min(values) <= 0)):
            raise UserError(f"--{option} must be three numbers{' above 0' * (option == 'std')}, got {list(values)}")
    names = None if classes is None else _read_classes(classes)
    state = None if weights is None else _read_state(weights)
    if source in ("torchvision", "timm"):
        if state is None:
            raise UserError(
                f"{net}: needs --weights FILE, a state dict: a network with random weights has learned nothing"
            )
        network = _build(source, name, state)
    else:
        network = _call_factory(source, name)
    if state is not None:
        _load(network, state, f"--weights {weights}", net)
    own = getattr(network, "pretrained_cfg", {}) if source == "timm" else {}
    size = image_size or own.get("input_size", (3, 224))[-1]
    _check_size(size)
    normalise = mean or own.get("mean", _MEAN), std or own.get("std", _STD)
    subject = Subject(net, network, size, classes=names, normalise=normalise)
    _check(subject)
    return subject


def _check_size(image_size: int) -> None:
    if image_size < 8 or image_size % 8:
        raise UserError(f"--image_size must be a multiple of 8, got {image_size}")


def _from_checkpoint(path: str) -> Subject:
    network: FrequencyNet = checkpoint.load(path)
    options = checkpoint.read_options(path)[1]
    assert isinstance(network.preprocess, Preprocess)
    fraction = network.preprocess.crop_fraction
    name = "/".join(Path(path).parts[-3:])
    return Subject(
        name,
        network,
        network.image_size,
        network.channels,
        network.classes,
        None,
        fraction,
        Origin(options["root"], options),
    )


def _read_classes(path: str) -> list[str]:
    try:
        names = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--classes {path}: cannot be read: {first_line(error)}") from error
    names = [name for name in names if name]
    if len(set(names)) < len(names) or len(names) < 2:
        raise UserError(f"--classes {path}: expected two or more different names, one per line; got {len(names)}")
    return names


def _read_state(path: str) -> dict[str, Tensor]:
    """A state dict from a file, without a wrapping dict and without a common prefix."""
    if not Path(path).is_file():
        raise UserError(f"--weights {path}: no such file.{did_you_mean_path(path)}")
    try:
        content = load_torch_file(path)
    except Exception as error:  # torch raises many types of exception on files of other programs
        raise UserError(f"--weights {path}: not a weights file: {first_line(error)}") from error
    for name in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    if not tensors:
        raise UserError(f"--weights {path}: not a state dict; expected tensors by name")
    prefix = next((p for p in ("module.", "model.", "network.") if all(k.startswith(p) for k in tensors)), "")
    return {key.removeprefix(prefix): value for key, value in tensors.items()}


def _build(source: str, name: str, state: dict[str, Tensor]) -> nn.Module:
    """A network of torchvision or timm with as many classes as the last bias of the weights."""
    outputs = next((len(v) for k, v in reversed(state.items()) if k.endswith("bias") and v.ndim == 1), 1000)
    if source == "torchvision":
        known = torchvision.models.list_models(module=torchvision.models)
        if name not in known:
            raise UserError(f"torchvision:{name}: no such classifier.{did_you_mean(name, known)}")
        return torchvision.models.get_model(name, weights=None, num_classes=outputs)
    import timm  # takes a second

    if not timm.is_model(name):
        raise UserError(f"timm:{name}: no such model.{did_you_mean(name, timm.list_models())}")
    return timm.create_model(name, pretrained=False, num_classes=outputs)


def _call_factory(module: str, name: str) -> nn.Module:
    """Runs the user's code, and says so."""
    print(f"running {name}() of the module {module}")
    try:
        network = getattr(importlib.import_module(module), name)()
    except (Exception, SystemExit) as error:  # of the user's code
        raise UserError(
            f"{module}:{name}: {first_line(error)}; expected a function that returns an nn.Module"
        ) from error
    if not isinstance(network, nn.Module):
        raise UserError(f"{module}:{name}: returned {type(network).__name__}, expected an nn.Module")
    return network


def _load(network: nn.Module, state: dict[str, Tensor], where: str, net: str) -> None:
    own = network.state_dict()
    missing, unknown = [k for k in own if k not in state], [k for k in state if k not in own]
    shapes = [k for k in own if k in state and own[k].shape != state[k].shape]
    missing = [k for k in missing if not k.endswith("num_batches_tracked")]  # old versions of torch do not save it
    if wrong := [*missing, *unknown, *shapes]:
        counts = f"{len(missing)} tensors missing, {len(unknown)} unknown, {len(shapes)} of another shape"
        raise UserError(f"{where}: not the weights of {net}: {counts}, such as {wrong[0]!r}")
    network.load_state_dict(state, strict=False)


def _check(subject: Subject) -> None:
    """Checks that the network takes its input and returns logits for its classes."""
    planes = torch.full((2, 3, subject.image_size, subject.image_size), 128.0)
    try:
        with torch.inference_mode():
            logits = subject(planes)
    except Exception as error:  # of a network that we do not know
        raise UserError(f"{subject.name}: fails on RGB at {subject.image_size} px: {first_line(error)}") from error
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != 2:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UserError(f"{subject.name}: must return logits (2, classes) for two images, got {got}")
    if subject.classes is not None and len(subject.classes) != logits.shape[1]:
        raise UserError(f"{subject.name}: {logits.shape[1]} logits, but {len(subject.classes)} names in --classes")
