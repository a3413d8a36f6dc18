"""The network: normalise → gate → backbone → logits."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self, cast, get_args

import torch
from torch import Tensor, nn

from dctnet.errors import UserError, did_you_mean
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.dct import BLOCK
from dctnet.frequency.maskfile import resolve_channels
from dctnet.model.backbones.build import Entry, build_backbone, build_rgb_backbone, geometry
from dctnet.model.backbones.families import find_family
from dctnet.model.gates import DynamicGate, StaticGate, sample_gate
from dctnet.model.metrics import count_gmac
from dctnet.model.normalisation import ChannelNorm, Companding

Input = Literal["channels", "rgb"]
Stem = Literal["torchvision", "own", "patchify", "patchify_dct"]
Gate = Literal["none", "static", "dynamic"]
# The network's own stem; the first name is older than the networks of timm.
OWN_STEM = ("torchvision", "own")
# The options that decide what the weights mean, beside classes and channels.
SHAPE_OPTIONS = ("input", "stem", "backbone", "entry", "layer2_stride", "gate", "squeeze", "companding")


class FrequencyNet(nn.Module):
    """Classifies images by their frequency channels; an ordinary module for any training loop.

    Before the first step, fit ``normalisation`` to the mean and standard deviation of each channel of the training
    data. A gate needs the loss of :class:`~dctnet.model.sparsity.SparsityPenalty`, an optimizer with a larger learning
    rate than the backbone's (Adam, 0.02), and ``tau`` lowered from 1 to 0.5 during training::

        logits, gate_logits = network.forward_gated(channels)
        penalty.update((gate_logits > 0).sum(1).float().mean().item(), step / steps)
        loss = cross_entropy(logits, target) + penalty(gate_logits)

    ``dctnet.load`` returns a trained network with ``preprocess`` set.

    Args:
        classes: Class names, in the order of the logits.
        channels: The input channels: a set, its name (``square-24``), a mask file, or ascending indices; not for RGB.
        image_size: Side of the crop in source pixels, a multiple of 8.
        input: ``channels``, or ``rgb`` for the baseline.
        stem: How the baseline reads RGB: ``torchvision`` or ``own``, the network's own stem; ``patchify``, a learned
            8×8 convolution of stride 8 in place of the channels; ``patchify_dct``, the same, initialised as the DCT of
            all 192 channels.
        backbone: A network of torchvision or timm, as in :func:`~dctnet.model.backbones.families.find_family`.
        entry: Where the channels enter: ``stem``, in place of the stem; ``stride8``, where the network itself has come
            down to 1/8, as in :func:`~dctnet.model.backbones.build.build_backbone`.
        layer2_stride: 2, or 1 as in the reference's released ResNets.
        gate: ``none``; ``static``, one set of channels for all images; ``dynamic``, a set for each image.
        squeeze: What the dynamic gate reads of each channel: its ``energy``, or its ``mean`` as in the paper.
        companding: Curve behind the normalisation of channels, ``none`` or ``asinh``; pixels have none.
        channels_last: Memory format of the backbone.

    Attributes:
        classes: Class names.
        channels: The input channels, or None for RGB.
        tau: Gumbel-softmax temperature of the gate in training.
        family: What is known of the backbone.
        enters: Where the channels enter, the option ``entry``.
        own_stem: Whether the network reads pixels by its own stem.
        native_size: Side of the image in source pixels at which the layers see the same grids as those of the RGB
            network at the size that it was made for.
        frozen: Whether :meth:`freeze` was called.
        preprocess: Converts a path, bytes or PIL image to an input (1, …); set by ``dctnet.load``, else None.

    Shape:
        - input: (N, K, S/8, S/8), K channels; RGB: (N, 3, S, S), 0 … 255
        - output: (N, number of classes)

    Raises:
        UserError: An unknown name, or two options that exclude each other.

    Source: Xu et al., "Learning in the Frequency Domain", CVPR 2020.
    """

    def __init__(
        self,
        classes: Sequence[str],
        channels: ChannelSet | str | Sequence[int] = (),
        image_size: int = 224,
        input: Input = "channels",
        stem: Stem = "torchvision",
        backbone: str = "resnet18",
        entry: Entry = "stem",
        layer2_stride: Literal[1, 2] = 2,
        gate: Gate = "none",
        squeeze: Literal["energy", "mean"] = "energy",
        companding: Companding = "none",
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        for option, name, known in (
            ("input", input, get_args(Input)),
            ("stem", stem, get_args(Stem)),
            ("entry", entry, get_args(Entry)),
            ("gate", gate, get_args(Gate)),
            ("squeeze", squeeze, ("energy", "mean")),
            ("companding", companding, get_args(Companding)),
        ):
            if name not in known:
                raise UserError(f"{option} {name!r}: not one of {', '.join(known)}.{did_you_mean(name, known)}")
        self.own_stem = input == "rgb" and stem in OWN_STEM
        _check_combination(len(classes), input, stem, entry, layer2_stride, gate)
        if image_size < BLOCK or image_size % BLOCK:
            raise UserError(f"image_size must be a multiple of {BLOCK}, got {image_size}")
        self.classes, self.image_size, self.backbone_name = list(classes), image_size, backbone
        self.family, self.enters = find_family(backbone), entry
        sizes = geometry(backbone, None if self.own_stem else entry)
        sizes.check(backbone, image_size)
        self.native_size = sizes.native
        self.channels: ChannelSet | None = None
        if input == "channels":
            self.channels = channels if isinstance(channels, ChannelSet) else resolve_channels(channels)
        self.tau = 1.0
        self.frozen = False
        self.preprocess: Callable[[Any], Tensor] | None = None
        num_inputs = 3 if self.channels is None else len(self.channels)
        self.normalisation = ChannelNorm(num_inputs, companding if input == "channels" else "none")
        self.gate: nn.Module | None = None
        if gate != "none":
            self.gate = StaticGate(num_inputs) if gate == "static" else DynamicGate(num_inputs, squeeze)
        if self.own_stem:
            self.backbone = build_rgb_backbone(backbone, len(classes), image_size)
        else:
            patch = BLOCK if input == "rgb" else 1
            self.backbone = build_backbone(backbone, num_inputs, len(classes), layer2_stride, patch, entry, image_size)
        if channels_last:
            self.backbone.to(memory_format=cast(Any, torch.channels_last))

    def forward(self, input: Tensor) -> Tensor:
        """Computes logits (N, classes)."""
        return self.forward_gated(input)[0]

    def forward_gated(self, input: Tensor) -> tuple[Tensor, Tensor | None]:
        """Computes logits (N, classes) and the gate's log-odds (N, K), or None without a gate, for a sparsity loss."""
        normalised = self.normalisation(input)
        if self.gate is None:
            return self.backbone(normalised), None
        # In float32: bfloat16 cannot represent small changes of a probability near one.
        with torch.autocast(input.device.type, enabled=False):
            gate_logits = self.gate(normalised)
            mask = sample_gate(gate_logits, self.tau, self.gate.training)
        return self.backbone(normalised * mask[..., None, None]), gate_logits

    @torch.no_grad()
    def kept_channels(self, input: Tensor) -> Tensor:
        """Returns which channels the gate keeps for each image at evaluation; all of them without a gate.

        Shape:
            - input: (N, K, S/8, S/8)
            - output: (N, K), bool
        """
        if self.gate is None:
            return torch.ones(input.shape[:2], dtype=torch.bool, device=input.device)
        training = self.gate.training
        kept = self.gate.eval()(self.normalisation(input)) > 0
        self.gate.train(training)
        return kept

    def freeze(self) -> None:
        """Fixes everything but the head: gate, weights, and the statistics of batch norms, also in training mode."""
        self.frozen = True
        self.requires_grad_(False)
        self.head.requires_grad_(True)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Sets training mode; of a frozen network, in the head alone."""
        super().train(mode and not self.frozen)
        self.head.train(mode)
        return self

    @property
    def entry(self) -> nn.Conv2d:
        """The convolution that reads the input; the stems of some RGB networks are several."""
        return cast(nn.Conv2d, self.backbone.get_submodule(self.family.entry))

    @property
    def head(self) -> nn.Module:
        """The part of the backbone that computes the logits."""
        return self.backbone.get_submodule(self.family.head)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one input."""
        if self.channels is None:
            return 3, self.image_size, self.image_size
        return len(self.channels), self.image_size // BLOCK, self.image_size // BLOCK

    def cost(self) -> dict[str, float]:
        """Counts ``gmac`` of one image, ``parameters``, and ``values``, the numbers that one input consists of."""
        return {
            "gmac": count_gmac(self.backbone, self.input_shape),
            "parameters": sum(p.numel() for p in self.parameters()),
            "values": math.prod(self.input_shape),
        }


def _check_combination(num_classes: int, input: str, stem: str, entry: str, layer2_stride: int, gate: str) -> None:
    if num_classes < 2:
        raise UserError(f"a classifier needs at least two classes, got {num_classes}")
    if stem not in OWN_STEM and input != "rgb":
        raise UserError(f"--model.stem {stem} reads pixels: it needs --model.input rgb")
    if layer2_stride != 2 and input == "rgb" and stem in OWN_STEM:
        raise UserError("--model.layer2_stride 1 is for channels and patches; torchvision's network has stride 2")
    if entry != "stem" and input == "rgb" and stem in OWN_STEM:
        raise UserError(
            f"--model.entry {entry} is for channels and patches; with its own stem the network has no entry"
        )
    if gate != "none" and input == "rgb":
        raise UserError("--model.gate selects frequency channels; with --model.input rgb it must be none")
