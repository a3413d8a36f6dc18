"""What a network computes for one photograph: channels, the gate's choice, probabilities, and sensitivities."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dctnet.data.images.photo import Photo, choose_decoder
from dctnet.data.preprocess import Preprocess
from dctnet.frequency.channels import NUM_CHANNELS, channels_to_planes, planes_to_channels
from dctnet.frequency.color import rgb_to_ycbcr, ycbcr_to_rgb
from dctnet.frequency.selections import named_channels
from dctnet.studies.laboratory.subject import Subject


@dataclass(frozen=True)
class Explanation:
    """One photograph as a network sees it.

    Args:
        photograph: The crop that the network sees, (3, S, S), RGB 0 … 255.
        reconstruction: The image that the kept channels describe, (3, S, S), RGB 0 … 255.
        channels: (192, S/8, S/8).
        kept: Which of the 192 channels reach the backbone for this image, (192,), bool.
        offered: The channels that the network computes or its gate can choose from, (192,), bool.
        probability: Of each class, (classes,).
        sensitivity: Norm of the gradient of the first class's log-probability in each channel, times how much the
            channel varies within the image, (192,); 0 for channels that are not read.
        contribution: Sum over the image of gradient times deviation from the channel's mean, (192,); its sign says
            whether the pattern of that channel speaks for the class.
    """

    photograph: Tensor
    reconstruction: Tensor
    channels: Tensor
    kept: Tensor
    offered: Tensor
    probability: Tensor
    sensitivity: Tensor
    contribution: Tensor

    @property
    def predicted(self) -> int:
        """The first class."""
        return int(self.probability.argmax())


def read_planes(subject: Subject, path: str) -> Tensor:
    """The evaluation crop of a photograph, (1, 3, S, S), Y, Cb, Cr, 0 … 255.

    Raises:
        ImageError: The file cannot be read.
    """
    read = Preprocess(named_channels("all"), subject.image_size, subject.crop_fraction, subject.kind)
    found = read(path)
    return channels_to_planes(found) if subject.kind == "channels" else rgb_to_ycbcr(found)


def image_text(path: str) -> str:
    """Size of a photograph, for the page."""
    photo = Photo(path, choose_decoder("auto"))
    return f"{photo.width}×{photo.height} pixels, {len(photo.data):,} bytes"


def explain_planes(subject: Subject, planes: Tensor) -> Explanation:
    """Measures one photograph.

    Args:
        subject: The network.
        planes: From :func:`read_planes`.
    """
    planes = planes.clone().requires_grad_()
    with torch.enable_grad():
        channels = planes_to_channels(planes)
        channels.retain_grad()
        logits = subject.from_channels(channels)
        logits.log_softmax(1)[0].max().backward()
    gradient = channels.grad
    assert gradient is not None
    channels, gradient = channels.detach()[0], gradient[0]
    offered = torch.zeros(NUM_CHANNELS, dtype=torch.bool)
    offered[list(range(NUM_CHANNELS)) if subject.channel_set is None else list(subject.channel_set.indices)] = True
    kept = _kept(subject, channels, offered)
    deviation = channels - channels.mean((1, 2), keepdim=True)
    return Explanation(
        photograph=_rgb(planes.detach()),
        reconstruction=_rgb(channels_to_planes(torch.where(kept[:, None, None], channels, 0.0)[None])),
        channels=channels,
        kept=kept,
        offered=offered,
        probability=logits.detach()[0].softmax(0),
        sensitivity=gradient.flatten(1).norm(dim=1) * channels.flatten(1).std(1),
        contribution=(gradient * deviation).sum((1, 2)),
    )


def _kept(subject: Subject, channels: Tensor, offered: Tensor) -> Tensor:
    """The channels that reach the backbone, under a gate of either kind."""
    kept = offered.clone()
    if subject.channel_set is not None and getattr(subject.network, "gate", None) is not None:
        indices = list(subject.channel_set.indices)
        kept[indices] = subject.network.kept_channels(channels[None, indices])[0]  # type: ignore[operator]
    return kept


def _rgb(planes: Tensor) -> Tensor:
    return ycbcr_to_rgb(planes)[0].round()
