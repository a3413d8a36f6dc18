"""Figures of an evaluation, from the answer to each image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torchmetrics.functional.classification import binary_calibration_error

from dctnet.studies.proportions import share_interval

BINS = 15  # of confidence, of equal width


@dataclass(frozen=True)
class ClassResult:
    """How the images of one class were classified, and how often it was the answer."""

    name: str
    images: int
    right: int
    predicted: int  # images of any class that were taken for it
    confused_with: str  # the most frequent wrong answer, or ""
    confused: int  # how often

    @property
    def accuracy(self) -> float | None:
        """Share of its images that are right (recall); None without images."""
        return self.right / self.images if self.images else None

    @property
    def precision(self) -> float | None:
        """Share of the images taken for it that are of it; None if there are none."""
        return self.right / self.predicted if self.predicted else None

    @cached_property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy, by Wilson's method."""
        return share_interval(self.right, self.images)


@dataclass(frozen=True)
class Confusion:
    """Images of one class that were taken for another."""

    name: str
    predicted: str
    count: int
    images: int  # of the class


@dataclass(frozen=True)
class Bin:
    """The images of which the predicted class has a probability in a range."""

    low: float
    high: float
    images: int
    right: int
    confidence: float  # mean probability


@dataclass(frozen=True)
class Evaluation:
    """What a network answered to the images of a split; (N,) arrays are those of the images that could be read.

    Args:
        split: ``val`` or ``test``.
        classes: Names of the network's classes.
        paths: File of each image.
        target: Index of the true class.
        label: Index of the predicted class.
        rank: Number of classes ranked before the true one.
        probability: Of the predicted class.
        target_probability: Of the true class.
        loss: Mean cross-entropy.
        skipped: Reason by path of files that could not be read.
        unread: Number of images beyond a limit of batches.
        facts: How it was measured, for the page and ``evaluation.json``.
    """

    split: str
    classes: Sequence[str]
    paths: Sequence[str]
    target: np.ndarray
    label: np.ndarray
    rank: np.ndarray
    probability: np.ndarray
    target_probability: np.ndarray
    loss: float
    skipped: Mapping[str, str]
    unread: int
    facts: Mapping[str, str]

    @cached_property
    def right(self) -> np.ndarray:
        """Whether each image is classified right."""
        return self.target == self.label

    @property
    def top1(self) -> float:
        """Share of the images that are right."""
        return float(self.right.mean())

    @property
    def top5(self) -> float:
        """Share of the images whose class is among the five best."""
        return float((self.rank < 5).mean())

    @property
    def balanced(self) -> float:
        """Mean accuracy of the classes that have images."""
        return float(np.mean([each.accuracy for each in self.class_results if each.images]))

    @property
    def confidence(self) -> float:
        """Mean probability of the predicted class."""
        return float(self.probability.mean())

    @cached_property
    def calibration_error(self) -> float:
        """Expected calibration error: mean over images of the difference of probability and accuracy in their bin.

        Source: Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015.
        """
        # That of several classes is that of the binary question whether the predicted class is right.
        answers = torch.from_numpy(self.probability), torch.from_numpy(self.right.astype(np.int64))
        return float(binary_calibration_error(*answers, n_bins=BINS, norm="l1"))

    @cached_property
    def matrix(self) -> np.ndarray:
        """Confusion matrix (classes, classes): images by true class (row) and predicted class (column)."""
        count = len(self.classes)
        return np.bincount(self.target * count + self.label, minlength=count**2).reshape(count, count)

    @cached_property
    def class_results(self) -> list[ClassResult]:
        """The results of each class, in the order of the classes."""
        wrong = self.matrix - np.diag(self.matrix.diagonal())
        most = wrong.argmax(1)
        counts = zip(
            self.matrix.sum(1).tolist(), self.matrix.diagonal().tolist(), self.matrix.sum(0).tolist(), strict=True
        )
        return [
            ClassResult(name, *count, self.classes[most[i]] if wrong[i].any() else "", int(wrong[i, most[i]]))
            for i, (name, count) in enumerate(zip(self.classes, counts, strict=True))
        ]

    @cached_property
    def confusions(self) -> list[Confusion]:
        """All pairs of classes that were confused, most frequent first."""
        rows, columns = np.nonzero(self.matrix - np.diag(self.matrix.diagonal()))
        counts = self.matrix[rows, columns]
        images = self.matrix.sum(1)
        return [
            Confusion(self.classes[rows[i]], self.classes[columns[i]], int(counts[i]), int(images[rows[i]]))
            for i in np.argsort(-counts, kind="stable")
        ]

    @cached_property
    def bins(self) -> list[Bin]:
        """The images by the probability of their predicted class; bins without images are left out."""
        place = np.minimum((self.probability * BINS).astype(int), BINS - 1)
        inside = [place == each for each in range(BINS)]
        return [
            Bin(
                i / BINS,
                (i + 1) / BINS,
                int(each.sum()),
                int(self.right[each].sum()),
                float(self.probability[each].mean()),
            )
            for i, each in enumerate(inside)
            if each.any()
        ]

    def worst(self) -> list[int]:
        """Places of all images, those first whose class has the lowest probability: the largest loss."""
        return np.argsort(self.target_probability, kind="stable").tolist()
