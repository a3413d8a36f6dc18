"""How detectors are computed from the layer before, and used in the layer behind.

Source: Schubert, Voss, Cammarata, Goh & Olah, "High-Low Frequency Detectors", Distill 2021.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dctnet.errors import UserError
from dctnet.studies.laboratory.detectors.layers import Network
from dctnet.studies.laboratory.detectors.stimuli import textures, to_planes

WAVELENGTHS = (4, 6, 8, 12, 16, 24, 32, 48, 64)  # of the tuning of factors
# Of "Invariant→Equivariant": share of the bound that two factors reach, octaves between their centres, correlation of
# their spatial maps.
LEAST_SHARE, LEAST_OCTAVES, LARGEST_CORRELATION = 0.8, 0.5, -0.5
DOWNSTREAM = 20
INPUTS = 5  # of each factor that are listed
_OPPOSITE = (7, 8, 9)  # differences of directions, in sixteenths of a turn, that count as opposite
_BATCH = 32


@dataclass(frozen=True)
class Factors:
    """Inputs of units as a sum of products of a factor of channels, at least 0, and signed spatial maps.

    Args:
        channels: (inputs, rank), columns of length 1.
        maps: (units, rank, k, k).
        explained: Share of the squared weights that the sum explains.
        bound: The share that no sum of this rank can exceed, by the singular values.
    """

    channels: Tensor
    maps: Tensor
    explained: float
    bound: float


def load_nmf() -> Any:
    """scikit-learn's NMF.

    Raises:
        UserError: It is not installed.
    """
    try:
        from sklearn.decomposition import NMF
    except ImportError as error:
        raise UserError("detectors: scikit-learn is not installed: pip install 'dctnet[lab]'") from error
    return NMF


def choose_rank(rank: int | None, conv: nn.Conv2d, name: str) -> int:
    """The largest rank of a factorisation of the inputs of a convolution: as asked for, or up to 4.

    Raises:
        UserError: There are fewer input units.
    """
    inputs = conv.in_channels // conv.groups
    if rank is not None and not 1 <= rank <= inputs:
        raise UserError(f"--rank {rank}: {name} has {inputs} input units; the rank must be 1 … {inputs}")
    return min(4, inputs) if rank is None else rank


def factorise(weights: Tensor, rank: int) -> Factors:
    """Non-negative factorisation of signed weights, by positive and negative parts side by side.

    The spatial maps are then fitted again by least squares, without a sign.

    Args:
        weights: (units, inputs, k, k).
        rank: At most the number of inputs.
    """
    units, _, *shape = weights.shape
    matrix = weights.double().transpose(0, 1).flatten(1)  # (inputs, units · k · k)
    split = torch.cat([matrix.clamp(min=0), (-matrix).clamp(min=0)], 1)
    model = load_nmf()(rank, init="nndsvda", max_iter=3000, tol=1e-6, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about convergence: the share that is explained says how good the result is
        channels = torch.from_numpy(model.fit_transform(split.numpy()))
    channels = channels / channels.norm(dim=0).clamp(min=1e-12)
    # gelsd also solves for factors of which one is 0 or two are equal.
    maps = torch.linalg.lstsq(channels, matrix, driver="gelsd").solution
    total = float(matrix.square().sum())
    left = float((matrix - channels @ maps).square().sum())
    bound = float(torch.linalg.svdvals(matrix)[:rank].square().sum())
    return Factors(
        channels,
        maps.unflatten(1, (units, *shape)).transpose(0, 1).contiguous(),
        1 - left / total if total else 0.0,
        bound / total if total else 0.0,
    )


def correlation(maps: Tensor) -> Tensor:
    """Correlation of the two spatial maps (units, 2, k, k) of each unit over positions: (units,)."""
    centred = maps.flatten(2) - maps.flatten(2).mean(-1, keepdim=True)
    a, b = centred.unbind(1)
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)).clamp(min=1e-12)


def log_center(tuning: Tensor) -> Tensor:
    """Centre of tunings (len(WAVELENGTHS), F) in octaves of wavelength above 1 px, weighted by the response: (F,)."""
    octaves = torch.tensor(WAVELENGTHS, dtype=tuning.dtype).log2()[:, None]
    return (octaves * tuning).sum(0) / tuning.sum(0).clamp(min=1e-12)


def is_invariant_to_equivariant(share: float, octaves: float, map_correlation: float) -> bool:
    """Whether two factors are a fine and a coarse one, the same for all detectors, on opposite sides of each.

    Args:
        share: What rank 2 explains, as a share of the bound.
        octaves: Between the centres of the two factors.
        map_correlation: Mean correlation of the two maps of a detector.
    """
    return share >= LEAST_SHARE and abs(octaves) >= LEAST_OCTAVES and map_correlation < LARGEST_CORRELATION


def expand_weights(network: Network, conv: str, units: Sequence[int] | None, activity: Tensor) -> Tensor:
    """Weights × factor of the batch norm × mean activity of the input: (units, inputs, k, k).

    Args:
        network: The network.
        conv: Name of a convolution.
        units: Its outputs; None for all.
        activity: Mean of each input over photographs, (C,).

    Raises:
        UserError: The convolution is in groups, whose outputs have different inputs.
    """
    module = network.conv(conv)
    if module.groups != 1:
        raise UserError(f"{conv}: a convolution in {module.groups} groups; its units have no common inputs")
    weights = module.weight.detach() * network.scale_after(conv)[:, None, None, None] * activity[:, None, None]
    return weights if units is None else weights[list(units)]


def input_activity(network: Network, layer: str, conv: str, planes: Tensor) -> Tensor:
    """Mean of each input of a convolution in front of a layer over images and positions, (N, C) for N images."""
    read, seen = network.read([layer]), []

    def record(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0].mean((-2, -1)))

    hook = network.conv(conv).register_forward_pre_hook(record)
    with torch.inference_mode():
        for batch in planes.split(_BATCH):
            read(network.input(batch))
    hook.remove()
    return torch.cat(seen).clone()


def input_tuning(network: Network, layer: str, conv: str, size: int) -> Tensor:
    """Rise of each input of a convolution above its activity on grey, by wavelength: (len(WAVELENGTHS), inputs)."""
    grey = input_activity(network, layer, conv, to_planes(torch.zeros(1, size, size)))
    rows = [
        input_activity(network, layer, conv, to_planes(textures(w, size).flatten(0, 1))).mean(0) for w in WAVELENGTHS
    ]
    return (torch.stack(rows) - grey).clamp(min=0)


@dataclass(frozen=True)
class Use:
    """The units of the layer behind whose inputs from detectors are strongest.

    Args:
        units: Convolution and output, strongest first, with the share of its input weights that come from detectors.
        mean_share: The same share over all outputs.
        pairs: Pairs of detectors with opposite directions.
        same_sign: Share of such pairs, over the units, whose two weights have the same sign; None without a pair.
        same_sign_null: The same for all pairs of units of the layer.
    """

    units: list[tuple[str, int, float]]
    mean_share: float
    pairs: int
    same_sign: float | None
    same_sign_null: float


def downstream(
    network: Network, layer: str, detectors: Sequence[int], orientations: Sequence[int], activity: Tensor
) -> Use | None:
    """Use of detectors in the layer behind; None if no convolution reads them.

    Args:
        network: The network.
        layer: The layer of the detectors.
        detectors: Their channels.
        orientations: Their preferred directions.
        activity: Mean of each channel of the layer over photographs.
    """
    convs = [name for name in network.convs_after(layer) if network.conv(name).groups == 1]
    convs = [name for name in convs if network.conv(name).in_channels == len(activity)]
    if not convs:
        return None
    names = [(name, unit) for name in convs for unit in range(network.conv(name).out_channels)]
    weights = [expand_weights(network, name, None, activity).flatten(2) for name in convs]
    net = torch.cat([each.sum(2) for each in weights])  # (outputs, inputs)
    size = torch.cat([each.abs().sum(2) for each in weights])
    strength = size[:, list(detectors)].sum(1)
    share = strength / size.sum(1).clamp(min=1e-12)
    top = strength.argsort(descending=True)[:DOWNSTREAM]
    sign = net[top].sign()
    turns = [
        (i, j)
        for n, i in enumerate(detectors)
        for m, j in enumerate(detectors)
        if n < m and (orientations[n] - orientations[m]) % 16 in _OPPOSITE
    ]
    agreement = (sign.T @ sign) / len(top)  # (inputs, inputs), −1 … 1
    others = agreement[~torch.eye(len(agreement), dtype=torch.bool)]
    same = None if not turns else float(sum((1 + agreement[i, j]) / 2 for i, j in turns) / len(turns))
    return Use(
        [(*names[i], float(share[i])) for i in top.tolist()],
        float(share.mean()),
        len(turns),
        same,
        float((1 + others.mean()) / 2),
    )
