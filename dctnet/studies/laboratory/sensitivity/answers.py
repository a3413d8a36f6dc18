"""Answers of a network to changed images, image by image, and their differences to those to the clean images."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dctnet.frequency.color import rgb_to_ycbcr, ycbcr_to_rgb
from dctnet.studies.laboratory.study import Measurement

RESAMPLES = 2000
# accuracy: of the changed images. change, loss: accuracy and loss minus those of the unchanged images; low, high,
# loss_low, loss_high: ends of their 95 % intervals. clipped: share of colours out of range. value: what is no accuracy.
# right: a character per image, r right, w wrong, so that networks and seeds can be compared image by image.
COLUMNS = (
    "part", "item", "level", "images", "accuracy", "change", "low", "high", "loss", "loss_low", "loss_high", "clipped",
    "value", "right",
)  # fmt: skip
_ROUNDING = 1e-2  # of float32, on values of 0 … 255


@dataclass(frozen=True)
class Answers:
    """Right (1) or wrong (0), and cross-entropy in nats, of each image: (N,) each."""

    right: np.ndarray
    loss: np.ndarray

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float(self.right.mean())


def chunks(count: int, size: int) -> Iterator[slice]:
    """Slices of at most ``size`` that cover ``count``."""
    return (slice(start, start + size) for start in range(0, count, size))


@torch.inference_mode()
def collect(logits_of: Callable[[slice], Tensor], targets: Tensor, batch: int) -> Answers:
    """Answers to all images; ``logits_of`` computes the logits of some of them."""
    right, loss = [], []
    for part in chunks(len(targets), batch):
        logits, wanted = logits_of(part).float(), targets[part]
        right.append((logits.argmax(1) == wanted).numpy())
        loss.append(functional.cross_entropy(logits, wanted, reduction="none").numpy())
    return Answers(np.concatenate(right).astype(float), np.concatenate(loss).astype(float))


def clip(planes: Tensor) -> tuple[Tensor, float]:
    """Planes whose R, G and B are within 0 … 255, and the share of values that had to be clipped."""
    rgb = ycbcr_to_rgb(planes, clamp=False)
    clipped = (rgb < -_ROUNDING) | (rgb > 255 + _ROUNDING)
    return rgb_to_ycbcr(rgb.clamp(0, 255)), float(clipped.float().mean())


def random_cycle(count: int, generator: torch.Generator) -> Tensor:
    """For each image another one, so that each is used once: (N,)."""
    order = torch.randperm(count, generator=generator)
    result = torch.empty_like(order)
    result[order] = order.roll(1)
    return result


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of a mean over images; of paired differences, if the values are such."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def right_of(row: Measurement) -> np.ndarray:
    """Right (1) or wrong (0) of each image of a row: (N,)."""
    return np.array([each == "r" for each in row["right"]], float)


def compare(part: str, item: str, level: float, changed: Answers, clean: Answers, clipped: float = 0.0) -> Measurement:
    """A row: accuracy, and accuracy and loss minus those of the unchanged images, paired by image."""
    drop, rise = changed.right - clean.right, changed.loss - clean.loss
    low, high = interval(drop)
    loss_low, loss_high = interval(rise)
    return {
        "part": part, "item": item, "level": level, "images": len(drop), "accuracy": changed.accuracy,
        "change": float(drop.mean()), "low": low, "high": high,
        "loss": float(rise.mean()), "loss_low": loss_low, "loss_high": loss_high, "clipped": clipped, "value": "",
        "right": "".join("r" if each else "w" for each in changed.right),
    }  # fmt: skip


def single(
    part: str, item: str, level: float, images: int, value: float, ends: tuple[float, float] | None
) -> Measurement:
    """A row of a quantity that is no accuracy, with the ends of its interval if there is one."""
    low, high = ends or ("", "")
    given = {"part": part, "item": item, "level": level, "images": images, "low": low, "high": high, "value": value}
    return {**dict.fromkeys(COLUMNS, ""), **given}
