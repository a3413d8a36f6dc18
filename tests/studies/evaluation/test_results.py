"""The figures of an evaluation are those of slow definitions and of torchmetrics."""

from collections import Counter

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError

from dctnet.studies.evaluation.results import BINS
from tests.studies.evaluation.planted_answers import make_evaluation, random_evaluation


@pytest.fixture(scope="module")
def found():
    return random_evaluation(400, 8, 7)


def test_accuracies_are_those_of_torchmetrics(found):
    evaluation, logits = found
    answers = torch.from_numpy(logits), torch.from_numpy(evaluation.target)
    assert evaluation.top1 == pytest.approx(float(MulticlassAccuracy(8, average="micro")(*answers)))
    assert evaluation.top5 == pytest.approx(float(MulticlassAccuracy(8, top_k=5, average="micro")(*answers)))
    of_classes = MulticlassAccuracy(8, average=None)(*answers)[:7]  # class 7 has no images
    assert evaluation.balanced == pytest.approx(float(of_classes.mean()))


def test_the_calibration_error_is_that_of_torchmetrics_and_of_the_bins(found):
    evaluation, logits = found
    error = MulticlassCalibrationError(8, n_bins=BINS, norm="l1")
    expected = float(error(torch.from_numpy(logits).softmax(1), torch.from_numpy(evaluation.target)))
    assert evaluation.calibration_error == pytest.approx(expected, abs=1e-6)
    gaps = [each.images * abs(each.right / each.images - each.confidence) for each in evaluation.bins]
    assert sum(gaps) / 400 == pytest.approx(expected, abs=1e-6)
    assert sum(each.images for each in evaluation.bins) == 400
    assert all(each.low <= each.confidence <= each.high for each in evaluation.bins)


def test_matrix_classes_and_confusions_are_counts_of_pairs(found):
    evaluation, _ = found
    pairs = Counter(zip(evaluation.target.tolist(), evaluation.label.tolist(), strict=True))
    assert all(evaluation.matrix[pair] == pairs[pair] for pair in np.ndindex(8, 8))
    for number, result in enumerate(evaluation.class_results):
        assert result.images == sum(count for (true, _), count in pairs.items() if true == number)
        assert result.predicted == sum(count for (_, label), count in pairs.items() if label == number)
        assert result.right == pairs[number, number]
        wrong = [count for (true, label), count in pairs.items() if true == number != label]
        assert result.confused == max(wrong, default=0)
    wrong = {(f"class {true}", f"class {label}"): count for (true, label), count in pairs.items() if true != label}
    assert {(each.name, each.predicted): each.count for each in evaluation.confusions} == wrong
    counts = [each.count for each in evaluation.confusions]
    assert counts == sorted(counts, reverse=True)


def test_a_class_without_images_has_no_accuracy_and_does_not_count_in_the_mean(found):
    empty = found[0].class_results[7]
    assert (empty.images, empty.accuracy) == (0, None)
    assert empty.predicted > 0
    assert empty.precision == 0


def test_the_worst_images_have_the_largest_loss():
    logits = np.log(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]]))
    evaluation = make_evaluation(logits, np.array([0, 0, 1, 1]), ["a", "b"])
    assert evaluation.worst() == [1, 2, 3, 0]
    assert evaluation.right.tolist() == [True, False, False, True]


def test_probabilities_of_one_are_in_the_last_bin():
    evaluation = make_evaluation(np.array([[200.0, 0.0], [200.0, 0.0]]), np.array([0, 1]), ["a", "b"])
    assert [(each.images, each.right, each.high) for each in evaluation.bins] == [(2, 1, 1.0)]
    assert evaluation.calibration_error == 0.5
