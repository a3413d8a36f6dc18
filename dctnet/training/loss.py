"""The training loss: cross-entropy with label smoothing and weights of the classes."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F


class ClassificationLoss(nn.Module):
    """Mean cross-entropy of a batch, of class indices or of soft targets.

    With weights, an image has −Σ w_c · t_c · log p_c, where t is its target after label smoothing, and the mean divides
    by the number of images. torch's mean of class indices would divide by the sum of their weights, so that the loss of
    an image would depend on its batch and on the rank, and not agree with that of one-hot targets.

    Args:
        label_smoothing: Share of each target that is spread evenly over all classes, 0…1.

    Attributes:
        class_weights: (classes,), or None for weights of 1.

    Shape:
        - logits: (N, classes)
        - target: (N,) class indices, or (N, classes) probabilities
        - output: ()
    """

    class_weights: Tensor | None

    def __init__(self, label_smoothing: float) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        # Computed from the data again by each fit, so that no checkpoint has to bring it.
        self.register_buffer("class_weights", None, persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Computes the loss."""
        if self.class_weights is None:
            return F.cross_entropy(logits, target, label_smoothing=self.label_smoothing)
        options: dict[str, Any] = {"reduction": "none", "label_smoothing": self.label_smoothing}
        return F.cross_entropy(logits, target, self.class_weights, **options).mean()
