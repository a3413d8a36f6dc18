"""What excites a unit: photographs that do it most, and an image made for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dctnet.studies.laboratory.detectors.layers import Field, Network
from dctnet.studies.laboratory.detectors.polarity import canvas_for
from dctnet.studies.laboratory.photographs import rgb_planes

EXAMPLES = 9
_BATCH = 32
_LEARNING_RATE = 0.05
_DIVERSITY = 0.3  # weight of the similarity of the images, in units of the mean activation


@dataclass(frozen=True)
class Example:
    """A photograph that excites a unit, and where."""

    image: int
    activation: float
    y: int  # position in the layer
    x: int


def best_examples(
    network: Network, layer: str, units: Sequence[int], planes: Tensor, field: Field, check_stop: Callable[[], None]
) -> tuple[dict[int, list[Example]], Tensor]:
    """The photographs with the largest activation of each unit, one place in each photograph.

    Places are centred at least a quarter of the receptive field, or of the photograph if that is smaller, from the
    border of the photograph, whose padding would excite units that detect boundaries.

    Returns:
        Up to nine examples by unit, strongest first; and the mean activation of every unit of the layer, (C,).
    """
    read, peaks, places, means = network.read([layer]), [], [], []
    for batch in planes.split(_BATCH):
        check_stop()
        with torch.inference_mode():
            output = read(network.input(batch))[layer]
        size = planes.shape[-1]
        margin = min(field.size, size) / 4
        inside = torch.tensor([margin <= field.center(o) <= size - 1 - margin for o in range(output.shape[-1])])
        chosen = output[:, list(units)].masked_fill(~(inside[:, None] & inside), -torch.inf)
        peak, place = chosen.flatten(2).max(-1)
        peaks.append(peak)
        places.append(place)
        means.append(output.mean((-2, -1)))
        width = output.shape[-1]
    peak, place = torch.cat(peaks), torch.cat(places)
    found = {}
    for column, unit in enumerate(units):
        order = peak[:, column].argsort(descending=True, stable=True)[:EXAMPLES].tolist()
        found[unit] = [
            Example(image, float(peak[image, column]), *divmod(int(place[image, column]), width)) for image in order
        ]
    return found, torch.cat(means).mean(0).clone()


def crop_field(planes: Tensor, field: Field, y: int, x: int) -> Tensor:
    """The receptive field of a position, (3, size, size); what is outside of the image is grey.

    Args:
        planes: (3, S, S).
        field: Of the layer.
        y: Position in the layer.
        x: Likewise.
    """
    top, left = (field.start + field.jump * place for place in (y, x))
    margin = field.size
    padded = F.pad(planes, (margin,) * 4, value=128.0)
    top, left = (min(max(each + margin, 0), padded.shape[-1] - field.size) for each in (top, left))
    return padded[:, top : top + field.size, left : left + field.size]


def visualise(
    network: Network,
    layer: str,
    unit: int,
    field: Field,
    steps: int,
    count: int,
    seed: int,
    check_stop: Callable[[], None],
) -> Tensor:
    """Images that excite a unit, found by gradient ascent.

    An image is given by its Fourier coefficients, each scaled by 1/frequency, and shifted at random in every step. The
    unit is read before its activation function, which has no gradient where it is 0. The similarity of the images'
    activations over channels is subtracted, so that they show different aspects.

    Args:
        network: The network.
        layer: Name of the layer.
        unit: Its channel.
        field: Its receptive field.
        steps: Of Adam.
        count: Number of images.
        seed: Of the start and the shifts.
        check_stop: Called in each step.

    Returns:
        The receptive field of the unit in each image: (count, 3, size, size), RGB, 0 … 1.

    Source: Olah, Mordvintsev & Schubert, "Feature Visualization", Distill 2017.
    """
    canvas = canvas_for(field)
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.fft.fftfreq(canvas.size), torch.fft.rfftfreq(canvas.size)
    scale = 1 / (rows[:, None].square() + columns.square()).sqrt().clamp(min=1 / canvas.size)
    spectrum = torch.randn(count, 3, *scale.shape, 2, generator=generator).mul_(0.01).requires_grad_()
    optimizer = torch.optim.Adam([spectrum], lr=_LEARNING_RATE)
    source = network.before_activation(layer)
    read = network.read([source])
    middle, reach = canvas.first + canvas.count // 2, max(1, canvas.jump // 2)

    def image() -> Tensor:
        waves = torch.fft.irfft2(torch.view_as_complex(spectrum) * scale, s=(canvas.size, canvas.size), norm="ortho")
        luminance, blue, red = (waves / 4).unbind(1)  # colours are weaker, as in photographs
        rgb = torch.stack([luminance + 0.3 * red, luminance - 0.15 * (red + blue), luminance + 0.3 * blue], 1)
        return torch.sigmoid(rgb)

    for _ in range(steps):
        check_stop()
        shift = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
        output = read(network.input(rgb_planes(image().roll(shift, (-2, -1)))))[source]
        activation = output[:, unit, middle, middle]
        gain = activation.mean()
        if count > 1:
            profile = F.normalize(canvas.crop(output).flatten(2).relu().mean(-1), dim=1)
            similarity = (profile @ profile.T).triu(1).sum() / (count * (count - 1) / 2)
            gain = gain - _DIVERSITY * activation.detach().abs().mean() * similarity
        optimizer.zero_grad()
        (-gain).backward()
        optimizer.step()
    top = field.start + field.jump * middle
    part = slice(top, top + field.size)
    return image().detach()[..., part, part]
