"""What the networks of a benchmark cost, counted without building them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from dctnet.errors import UserError
from dctnet.frequency.channels import NUM_CHANNELS
from dctnet.frequency.dct import BLOCK
from dctnet.studies.accuracy.grid import PIXELS, Run
from dctnet.training.module import FrequencyClassifier


class Costs:
    """Options, crop size and cost of the network of each run.

    Args:
        model: Options of the model that all runs share.
        classes: Class names.
        size: Side of the channels' crops in source pixels.
    """

    def __init__(self, model: Mapping[str, Any], classes: Sequence[str], size: int) -> None:
        self.model, self.classes, self.side = model, list(classes), size
        self._counted: dict[str, dict[str, float]] = {}

    def options(self, run: Run) -> dict[str, Any]:
        """Options of the model of a run."""
        model = {**self.model, **run.model}
        if run.choose not in PIXELS:
            return model
        if run.choose.startswith("patches"):
            return {**model, "input": "rgb", "stem": run.choose}
        return {**model, "input": "rgb", "stem": "torchvision", "layer2_stride": 2}  # its network has that one

    def of(self, run: Run) -> dict[str, float]:
        """``gmac``, ``parameters`` and input ``values`` of a run's network, by its number of channels.

        Raises:
            UserError: There can be no such network.
        """
        return self._count(self.options(run), run.count, self.size(run))

    def size(self, run: Run) -> int:
        """Side of a run's crops in source pixels.

        Of ``rgb_matched`` it is the smallest at which RGB with its stem costs no less than all 192 channels would with
        the same options of the model: the baseline has the edge.

        Raises:
            UserError: There is none up to four times the channels' side.
        """
        if run.choose != "rgb_matched":
            return self.side
        wanted = self._count({**self.model, **run.model}, NUM_CHANNELS, self.side)["gmac"]
        rgb = self.options(run)
        for side in range(BLOCK, 4 * self.side, BLOCK):
            if self._count(rgb, 0, side)["gmac"] >= wanted:
                return side
        raise UserError(f"no RGB up to {4 * self.side} px costs as much as all channels at {self.side} px")

    def _count(self, model: Mapping[str, Any], channels: int, size: int) -> dict[str, float]:
        key = json.dumps([model, channels, size], sort_keys=True)
        if key not in self._counted:
            with torch.device("meta"):  # shapes alone: no network is built
                options = {**model, "weights": None, "compile": False}
                self._counted[key] = FrequencyClassifier(
                    self.classes, list(range(channels)), size, **options
                ).network.cost()
        return self._counted[key]
