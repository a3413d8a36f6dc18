"""Noise of different frequencies on the labels of handwritten digits: when is it learned, and what does it cost?"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dctnet.errors import UserError
from dctnet.studies.laboratory.mlp import make_mlp
from dctnet.studies.laboratory.seeds import generator
from dctnet.studies.laboratory.spectral_bias.training import Setting, descend
from dctnet.studies.laboratory.study import Measurement

# Mean norm of MNIST's images at 0 … 1, to which the digits are scaled, so that frequencies mean what they mean there.
_MNIST_NORM = 9.2
_STRENGTH = 0.5  # root mean square of the noise; the labels are 0 and 1


@dataclass(frozen=True)
class Digits:
    """Threes (label 0) and eights (label 1): (N, 64) and (N,), half for training."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor


def read_digits(seed: int) -> Digits:
    """The digits that come with scikit-learn, 357 of 8×8 pixels, split at random.

    Raises:
        UserError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UserError(
            "the experiment with label noise uses scikit-learn's digits: pip install 'dctnet[lab]', or --label_noise []"
        ) from error
    digits = load_digits()
    chosen = np.isin(digits.target, (3, 8))
    images, labels = digits.data[chosen], digits.target[chosen] == 8
    images = torch.from_numpy(images * (_MNIST_NORM / np.linalg.norm(images, axis=1).mean())).float()
    order = torch.randperm(len(images), generator=generator(seed, "split"))
    train, test = order[: len(order) // 2], order[len(order) // 2 :]
    marks = torch.from_numpy(labels).float()
    return Digits(images[train], marks[train], images[test], marks[test])


def wave(images: Tensor, frequency: float) -> Tensor:
    """Noise that is a function of an image's norm alone, sin(2πk‖x‖), with mean 0 and root mean square 1.

    Without these, noise of a low frequency would be mostly a constant and have less energy.

    Shape:
        - images: (N, D)
        - output: (N,)

    Source: Rahaman et al. 2019, section 3, experiment 3.
    """
    noise = torch.sin(2 * math.pi * frequency * images.norm(dim=1))
    noise = noise - noise.mean()
    return noise / noise.square().mean().sqrt().clamp(min=1e-12)


def learn_noisy(
    digits: Digits, frequency: float, setting: Setting, seed: int, check_stop: Callable[[], None]
) -> list[Measurement]:
    """Trains a classifier by squared error on labels with noise.

    Args:
        digits: The images.
        frequency: Of the noise, periods per unit of the norm; 0 for none.
        setting: Network and training.
        seed: Of the initial weights.
        check_stop: Is called at each step.

    Returns:
        Rows with x = step: ``label_error`` and ``label_accuracy`` (in %) on test images against the labels without
        noise, and ``label_noise``, the share of the noise that the outputs on the training images have taken over.
    """
    noise = _STRENGTH * wave(digits.train, frequency)
    network = make_mlp(digits.train.shape[1], 1, setting.width, setting.depth, setting.activation, seed)
    values = (digits.train_labels + noise)[:, None]
    rows: list[Measurement] = []
    # The mean and the labels' own direction are no noise: the share is a regression on all three.
    columns = torch.stack([noise, digits.train_labels, torch.ones_like(noise)], 1)
    for step, outputs in descend(network, digits.train, values, setting, check_stop):
        with torch.no_grad():
            predicted = network(digits.test)[:, 0]
        found = {
            "label_error": (predicted - digits.test_labels).square().mean(),
            "label_accuracy": 100 * ((predicted > 0.5) == (digits.test_labels > 0.5)).float().mean(),
        }
        if frequency:
            found["label_noise"] = torch.linalg.lstsq(columns, outputs[:, None]).solution[0, 0]
        rows += [{"measure": n, "x": step, "k": frequency, "value": round(float(v), 6)} for n, v in found.items()]
    return rows
