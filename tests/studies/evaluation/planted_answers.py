"""Answers with a known confusion, for tests of the evaluation."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dctnet.studies.evaluation.results import Evaluation


def make_evaluation(logits: np.ndarray, target: np.ndarray, classes: Sequence[str], **options: Any) -> Evaluation:
    """The evaluation of some logits (N, classes)."""
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    shares = (shifted / shifted.sum(1, keepdims=True)).astype(np.float32)
    own = shares[np.arange(len(target)), target]
    return Evaluation(
        **{
            "split": "val",
            "classes": classes,
            "paths": [f"{number}.jpg" for number in range(len(target))],
            "target": target,
            "label": shares.argmax(1),
            "rank": (shares > own[:, None]).sum(1),
            "probability": shares.max(1),
            "target_probability": own,
            "loss": float(-np.log(np.maximum(own, 1e-30)).mean()),
            "skipped": {},
            "unread": 0,
            "facts": {"checkpoint": "last.ckpt"},
            **options,
        }
    )


def random_evaluation(images: int, classes: int, used: int, seed: int = 0) -> tuple[Evaluation, np.ndarray]:
    """An evaluation of random logits, whose last classes have no images; and the logits."""
    draw = np.random.default_rng(seed)
    target = draw.integers(0, used, images)
    logits = draw.normal(0, 2, (images, classes)).astype(np.float32)
    logits[np.arange(images), target] += 2
    return make_evaluation(logits, target, [f"class {number}" for number in range(classes)]), logits
