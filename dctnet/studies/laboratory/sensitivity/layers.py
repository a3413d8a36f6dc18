"""High frequencies in the feature maps of each layer, and whether attention follows regions of rapid change."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dctnet.frequency.bands import radius
from dctnet.studies.intervals import rank_correlation
from dctnet.studies.laboratory.photographs import Photographs
from dctnet.studies.laboratory.sensitivity.answers import chunks, interval, random_cycle, single
from dctnet.studies.laboratory.spectrum import gradient_energy, predicted_gradient_energy
from dctnet.studies.laboratory.study import Measurement
from dctnet.studies.laboratory.subject import Subject

_SMALLEST = 7  # side of the smallest feature map that has frequencies or places worth the name
_HALF_NYQUIST = 0.25


@dataclass(frozen=True)
class Layer:
    """A convolution and the frequencies of its output."""

    name: str
    depth: float  # its place among the convolutions, 0 … 1
    side: int  # of the feature map
    share: float  # of the power without the mean that lies above half Nyquist of the map


@contextmanager
def recorded(network: nn.Module, keep: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Passes the name and the output (N, C, H, W) of each convolution to a function while the network runs."""

    def hook(name: str) -> Callable[[nn.Module, object, object], None]:
        return lambda module, args, output: keep(name, output) if isinstance(output, Tensor) else None

    convolutions = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    handles = [module.register_forward_hook(hook(name)) for name, module in convolutions]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def high_share(maps: Tensor) -> Tensor:
    """Share of each map's power without the mean above half Nyquist: (N, C, S, S) to (N, C); NaN without any power."""
    side = maps.shape[-1]
    power = torch.fft.rfft2(maps.float()).abs().square()
    weight = torch.full((side // 2 + 1,), 2.0)  # rfft2 leaves out the conjugates
    weight[0] = 1
    if side % 2 == 0:
        weight[-1] = 1
    power *= weight
    power[..., 0, 0] = 0
    return (power * (radius(side) >= _HALF_NYQUIST)).sum((-2, -1)) / power.sum((-2, -1))


@torch.inference_mode()
def layer_profile(subject: Subject, photographs: Photographs, batch: int) -> list[Layer]:
    """Each convolution with square maps of at least 7×7, in the order in which they run."""
    sums: dict[str, list[float]] = {}
    sides: dict[str, int] = {}

    def keep(name: str, maps: Tensor) -> None:
        sides[name] = maps.shape[-1]
        if maps.ndim == 4 and maps.shape[-1] == maps.shape[-2] >= _SMALLEST:
            found = high_share(maps)
            sums.setdefault(name, []).extend(found[~found.isnan()].tolist())

    with recorded(subject.network, keep):
        for part in chunks(len(photographs), batch):
            subject(photographs.planes[part])
    names = list(sides)
    return [
        Layer(name, names.index(name) / max(1, len(names) - 1), sides[name], float(np.mean(found)))
        for name, found in sums.items()
    ]


def shuffled(subject: Subject, seed: int) -> Subject:
    """The same network with the weights of each convolution permuted: what its architecture does by itself."""
    twin, generator = copy.deepcopy(subject), torch.Generator().manual_seed(seed)
    for module in twin.network.modules():
        if isinstance(module, nn.Conv2d):
            flat = module.weight.data.flatten()
            module.weight.data = flat[torch.randperm(len(flat), generator=generator)].view_as(module.weight)
    return twin


@dataclass(frozen=True)
class Attention:
    """Grad-CAM of each image, and the gradient energy of its luma on the same grid; (N, side, side) each."""

    layer: str
    cam: Tensor
    energy: Tensor


def attention(subject: Subject, photographs: Photographs, batch: int) -> Attention | None:
    """Grad-CAM at the last convolution whose maps have at least 7×7 places; None if no layer has such maps.

    Source: Selvaraju et al., "Grad-CAM", ICCV 2017, equations 1 and 2.
    """
    outputs: dict[str, Tensor] = {}
    parts = []
    layer = ""
    with recorded(subject.network, outputs.__setitem__):
        for part in chunks(len(photographs), batch):
            outputs.clear()
            planes = photographs.planes[part].clone().requires_grad_()
            with torch.enable_grad():
                logits = subject(planes)
                fit = [n for n, m in outputs.items() if m.ndim == 4 and m.shape[-1] == m.shape[-2] >= _SMALLEST]
                if not fit:
                    return None
                layer = fit[-1]
                (gradient,) = torch.autograd.grad(
                    logits.gather(1, photographs.targets[part, None]).sum(), outputs[layer]
                )
            parts.append((gradient.mean((-2, -1), keepdim=True) * outputs[layer]).sum(1).relu().detach())
    cam = torch.cat(parts)
    energy = gradient_energy(photographs.planes[:, 0])
    return Attention(layer, cam, functional.adaptive_avg_pool2d(energy[:, None], cam.shape[-1])[:, 0])


def rank_correlations(found: Attention) -> tuple[np.ndarray, np.ndarray]:
    """Spearman's ρ of attention and gradient energy over the places of each image: of the same image, and of others.

    Images without any attention or without any gradient are NaN.
    """
    cam, energy = found.cam.flatten(1).numpy(), found.energy.flatten(1).numpy()
    own = [rank_correlation(a, b) for a, b in zip(cam, energy, strict=True)]
    # The order of the photographs is that of the classes: a neighbour would show the same thing.
    cycle = random_cycle(len(cam), torch.Generator().manual_seed(0)).numpy()
    others = [rank_correlation(a, b) for a, b in zip(cam, energy[cycle], strict=True)]
    return np.array(own), np.array(others)


def layer_rows(subject: Subject, photographs: Photographs, batch: int, seed: int) -> Iterator[Measurement]:
    """A row per convolution, of the network and of the one with permuted weights."""
    layers = layer_profile(subject, photographs, batch)
    if not layers:
        yield single("no_layers", "no convolution with places", 0, 0, 0.0, None)
        return
    for part, found in (
        ("layers", layers),
        ("layers_shuffled", layer_profile(shuffled(subject, seed), photographs, batch)),
    ):
        for layer in found:
            yield single(part, layer.name, layer.depth, len(photographs), layer.share, None)


def attention_rows(subject: Subject, photographs: Photographs, batch: int) -> Iterator[Measurement]:
    """Mean rank correlation of attention and gradient energy of the same image, of others, and their difference."""
    found = attention(subject, photographs, batch)
    own, others = rank_correlations(found) if found else (np.empty(0), np.empty(0))
    defined = ~(np.isnan(own) | np.isnan(others))
    for item, values in (("same image", own), ("other image", others), ("difference", own - others)):
        chosen = values[defined]
        if len(chosen):
            yield single("attention", item, 0, len(chosen), float(chosen.mean()), interval(chosen))
    if not defined.any():
        yield single("no_attention", "no layer with places", 0, 0, 0.0, None)


def identity_rows(photographs: Photographs) -> list[Measurement]:
    """Mean gradient energy of an image, by pixels and predicted from its spectrum; their largest relative difference.

    This is why gradients can stand in for frequency.
    """
    luma = photographs.planes[:, 0].double()
    measured, predicted = gradient_energy(luma).sum((-2, -1)), predicted_gradient_energy(luma)
    error = ((measured - predicted).abs() / measured.clamp(min=1e-9)).max()
    found = {"measured": measured.mean(), "predicted": predicted.mean(), "largest difference": error}
    return [single("identity", item, 0, len(luma), float(value), None) for item, value in found.items()]
