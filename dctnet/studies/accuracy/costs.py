"""Model options, crop size and cost of the network of each trial, counted on the meta device."""

import bisect
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from dctnet.errors import UserError
from dctnet.frequency.channels import NUM_CHANNELS
from dctnet.model.backbones.build import geometry
from dctnet.model.network import OWN_STEM
from dctnet.studies.accuracy.grid import PIXEL_NETWORKS, Trial
from dctnet.training.module import FrequencyClassifier


class Costs:
    """Model options, crop size and cost of the network of each trial.

    Args:
        model: Model options, shared by all trials.
        classes: Class names.
        side: Side of the channels' crops in source pixels, unless a trial has its own.
    """

    def __init__(self, model: Mapping[str, Any], classes: Sequence[str], side: int) -> None:
        self.model, self.classes, self.side = model, list(classes), side
        self._counted: dict[str, dict[str, float]] = {}

    def options(self, trial: Trial) -> dict[str, Any]:
        """Model options of a trial."""
        model = {**self.model, **trial.model}
        if trial.choose not in PIXEL_NETWORKS:
            return model
        if trial.choose.startswith("patchify"):
            return {**model, "input": "rgb", "stem": trial.choose}
        # As the library builds it.
        return {**model, "input": "rgb", "stem": "torchvision", "entry": "stem", "layer2_stride": 2}

    def of(self, trial: Trial) -> dict[str, float]:
        """``gmac``, ``parameters`` and input ``values`` of the network of a trial.

        Raises:
            UserError: The model options are invalid.
        """
        return self._count(self.options(trial), trial.count, self.size(trial))

    def native_size(self, trial: Trial) -> int:
        """Size of the image in pixels at which the network sees the grids that it was made for."""
        model = self.options(trial)
        own_stem = model.get("input") == "rgb" and model.get("stem") in OWN_STEM
        return geometry(model.get("backbone", "resnet18"), None if own_stem else model.get("entry", "stem")).native

    def size(self, trial: Trial) -> int:
        """Side of the crops of a trial in source pixels.

        For ``rgb_matched`` it is the smallest that the network can read at which RGB with the stem costs at least as
        much as all 192 channels with the same model options, so that the baseline never has less compute.

        Raises:
            UserError: No size below four times the side of the channels' crops costs as much.
        """
        side = trial.data.get("image_size", self.side)
        if trial.choose != "rgb_matched":
            return side
        target = self._count({**self.model, **trial.model}, NUM_CHANNELS, side)["gmac"]
        rgb = self.options(trial)
        allowed = geometry(rgb.get("backbone", "resnet18"), None)
        sizes = range(allowed.least, 4 * side, allowed.step)
        place = bisect.bisect_left(sizes, target, key=lambda size: self._count(rgb, 0, size)["gmac"])
        if place == len(sizes):
            raise UserError(f"no RGB up to {4 * side} px costs as much as all channels at {side} px")
        return sizes[place]

    def _count(self, model: Mapping[str, Any], channels: int, size: int) -> dict[str, float]:
        key = json.dumps([model, channels, size], sort_keys=True)
        if key not in self._counted:
            options = {**model, "weights": None, "compile": False}
            with torch.device("meta"):  # shapes only, no weights
                classifier = FrequencyClassifier(self.classes, list(range(channels)), size, **options)
                self._counted[key] = classifier.network.cost()
        return self._counted[key]
