"""Mixup and cutmix: pairs of images of a training batch and their targets, by torchvision."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dctnet.frequency.dct import BLOCK


class Mixing:
    """Mixes each image of a batch with its neighbour in the batch, and their targets alike.

    The partner of an image is another one of its batch, so a mixed sample depends on the batch: on the batch size and
    the number of ranks, but not on the processes that read it. Share and box are drawn once a batch, from the seed, the
    epoch and the first index of the batch, which tells the steps and ranks of an epoch apart.

    Args:
        mixup: α of the Beta distribution of the shares of two whole images; 0 for none.
        cutmix: α of the Beta distribution of the area of a box of whole blocks that is replaced; 0 for none. With both,
            each batch is mixed by one of them, with probability ½.
        seed: Seed of the data.
        input: ``channels``, or ``rgb``, which is mixed in the same blocks, of 8 × 8 pixels.

    Source: Zhang et al., "mixup", ICLR 2018; Yun et al., "CutMix", ICCV 2019.
    """

    def __init__(self, mixup: float, cutmix: float, seed: int, input: Literal["channels", "rgb"]) -> None:
        self.mixup, self.cutmix, self.seed = mixup, cutmix, seed
        self._unit = BLOCK if input == "rgb" else 1

    def draw(self, epoch: int, indices: np.ndarray) -> int | None:
        """The seed of a batch of some samples; None if it is not mixed."""
        if len(indices) < 2 or not (self.mixup or self.cutmix):
            return None
        sequence = np.random.SeedSequence((self.seed, epoch, int(indices[0])), spawn_key=(2,))
        return int(sequence.generate_state(1)[0])

    def __call__(self, x: Tensor, target: Tensor, seed: int | None, num_classes: int) -> tuple[Tensor, Tensor]:
        """Mixes a batch.

        Args:
            x: Channels or RGB.
            target: Classes.
            seed: From :meth:`draw`; None changes nothing.
            num_classes: Number of classes.

        Shape:
            - x: (N, C, H, W)
            - target: (N,), long
            - output: (N, C, H, W); (N, num_classes), float32, sums to 1 for each image
        """
        if seed is None:
            return x, target
        from torchvision.transforms import v2  # here, because it takes more than a second to import

        kinds = [(v2.MixUp, self.mixup), (v2.CutMix, self.cutmix)]
        mix = v2.RandomChoice([kind(alpha=alpha, num_classes=num_classes) for kind, alpha in kinds if alpha])
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            mixed, soft = mix(F.pixel_unshuffle(x, self._unit), target)
        return F.pixel_shuffle(mixed, self._unit), soft
