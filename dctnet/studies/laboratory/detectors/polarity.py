"""Which units respond to a boundary between textures only when the fine one is on a certain side."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dctnet.errors import UserError
from dctnet.frequency.dct import BLOCK
from dctnet.studies.laboratory.detectors.layers import Field, Network
from dctnet.studies.laboratory.detectors.stimuli import ORIENTATIONS, RATIOS, to_planes

LEAST_INDEX = {4: 0.5, 2: 0.2}  # of a detector, by ratio
LEAST_DPRIME = 3.0
_BATCH = 32


@dataclass(frozen=True)
class Canvas:
    """Where stimuli are shown to a layer.

    Args:
        size: Side of the images in pixels.
        center: Coordinate at which the receptive field of the middle position is centred.
        first: The first central position, by both axes.
        count: Number of central positions along an axis, an odd number. The receptive fields of all lie in the image.
        jump: Distance of positions in pixels.
    """

    size: int
    center: float
    first: int
    count: int
    jump: int

    def crop(self, output: Tensor) -> Tensor:
        """The central positions of a layer's output (N, C, H, W)."""
        part = slice(self.first, self.first + self.count)
        return output[..., part, part]


def canvas_for(field: Field) -> Canvas:
    """The smallest canvas; central are the positions up to a quarter of the receptive field from the middle one."""
    reach = max(1, math.ceil(field.size / 4 / field.jump))
    first = max(0, math.ceil(-field.start / field.jump))
    last = first + 2 * reach
    end = field.start + field.jump * last + field.size
    step = max(field.jump, BLOCK)
    return Canvas(step * math.ceil(end / step), field.center(first + reach), first, 2 * reach + 1, field.jump)


def admissible(wavelength: float, field: Field) -> list[int]:
    """The ratios at which the coarse wavelength is at most half the receptive field."""
    return [ratio for ratio in RATIOS if ratio * wavelength <= field.size / 2]


def respond(
    network: Network,
    read: Callable[[Tensor], dict[str, Tensor]],
    layer: str,
    stimuli: Tensor,
    canvas: Canvas,
    check_stop: Callable[[], None] = lambda: None,
) -> Tensor:
    """Largest response of each unit over the central positions; negative ones count as 0.

    Shape:
        - stimuli: (D, P, S, S) in D directions and P phases, grey with mean 0
        - output: (D, P, units)
    """
    parts = []
    for batch in stimuli.flatten(0, 1).split(_BATCH):
        check_stop()
        with torch.inference_mode():
            output = read(network.input(to_planes(batch)))[layer]
        if output.ndim != 4:
            raise UserError(f"{network.subject.name}: layer {layer} has no positions: {tuple(output.shape)}")
        parts.append(canvas.crop(output).amax((-2, -1)).clamp(min=0))
    return torch.cat(parts).unflatten(0, stimuli.shape[:2]).clone()


@dataclass(frozen=True)
class Polarity:
    """Polarity of each unit, (units,) each.

    Args:
        index: (a − b) / (a + b); a is the mean response with the fine texture in the preferred direction, which has the
            largest response, b with the textures exchanged. The direction is chosen by half of the phases, index and
            d′ are measured by the other half; this is done both ways and averaged. 0 for a unit that does not respond.
        dprime: Difference of the two means in standard deviations over phases.
        orientation: Number of the preferred direction, by all phases.
        preferred: a.
        opposite: b.
    """

    index: Tensor
    dprime: Tensor
    orientation: Tensor
    preferred: Tensor
    opposite: Tensor


def polarity(responses: Tensor, guide: Tensor | None = None) -> Polarity:
    """Polarity of each unit from its responses.

    Args:
        responses: (ORIENTATIONS, PHASES, units).
        guide: Responses by which the preferred direction is chosen, of the same shape. Default: the same.
    """
    guide = responses if guide is None else guide
    parts = []
    for chosen, measured in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
        best = _preferred(guide[:, chosen])
        parts.append(
            [_take(responses[:, measured], each) for each in (best, (best + ORIENTATIONS // 2) % ORIENTATIONS)]
        )
    a, b = (torch.cat([part[side] for part in parts]) for side in (0, 1))  # (PHASES, units)
    preferred, opposite = a.mean(0), b.mean(0)
    spread = ((a.var(0) + b.var(0)) / 2).sqrt()
    difference, total = preferred - opposite, preferred + opposite
    return Polarity(
        torch.where(total > 0, difference / total.clamp(min=1e-12), 0),
        torch.where(total > 0, difference / spread.clamp(min=1e-12), 0).clamp(-99, 99),
        _preferred(guide),
        preferred,
        opposite,
    )


def tuning(responses: Tensor) -> Tensor:
    """Mean response to each direction: (D, P, units) to (D, units)."""
    return responses.mean(1)


def is_detector(index4: float, index2: float, dprime4: float) -> bool:
    """Whether a unit is a high–low frequency detector at one wavelength."""
    return index4 > LEAST_INDEX[4] and index2 > LEAST_INDEX[2] and dprime4 > LEAST_DPRIME


def _preferred(responses: Tensor) -> Tensor:
    # By the response, not by its difference from the opposite one: a unit that is tuned to a direction of stripes has
    # directions between its peaks in which a small response beside none would look like polarity.
    return responses.mean(1).argmax(0)


def _take(responses: Tensor, orientation: Tensor) -> Tensor:
    """(ORIENTATIONS, P, units) at an orientation a unit: (P, units)."""
    return responses.gather(0, orientation.expand(1, responses.shape[1], -1))[0]


def largest_gap(orientations: list[int]) -> float:
    """The widest range of directions, in degrees, in which no detector prefers one; 360 without detectors."""
    found = sorted(set(orientations))
    gaps = [(b - a) % ORIENTATIONS or ORIENTATIONS for a, b in zip(found, found[1:] + found[:1], strict=True)]
    return 360 * max(gaps, default=ORIENTATIONS) / ORIENTATIONS


def shuffle_weights(module: nn.Module, inputs: list[Tensor], generator: torch.Generator) -> None:
    """Permutes the weights of each filter in place, and fits the batch norms to the new activations.

    Args:
        module: Its convolutions and linear layers are shuffled.
        inputs: Batches of what the module reads, from photographs.
        generator: Of the permutations.
    """
    norms = [each for each in module.modules() if isinstance(each, nn.BatchNorm2d)]
    with torch.no_grad():
        for each in module.modules():
            if isinstance(each, nn.Conv2d | nn.Linear):
                flat = each.weight.data.flatten(1)
                order = torch.rand(flat.shape, generator=generator).argsort(1)
                each.weight.copy_(flat.gather(1, order).view_as(each.weight))
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
            norm.train()
        for batch in inputs:
            module(batch)
        for norm in norms:
            norm.eval()
