"""From a run of the grid to its channels, its configuration and its cost."""

import functools
import json
from pathlib import Path
from typing import Any

import torch

from dctnet.data.datamodule import FrequencyDataModule, Split
from dctnet.data.packed.manifest import read_manifest
from dctnet.errors import UserError
from dctnet.frequency.channels import NUM_CHANNELS, named_channels, rank_channels
from dctnet.frequency.dct import BLOCK
from dctnet.frequency.maskfile import read_mask
from dctnet.model.classifier import FrequencyClassifier
from dctnet.study.benchmark.grid import PIXELS, Grid, Run, ranking_runs
from dctnet.study.benchmark.progress import newest
from dctnet.study.benchmark.record import ENERGY

# Of the data options, those that a packed store understands.
_OF_STORES = ("batch_size", "residency", "on_error", "norm_images")


class Bench:
    """A grid, the data that it is run on, and the folder of its results.

    Args:
        grid: What is run.
        out: Folder of the results.

    Raises:
        UserError: The data, the packed store or the mask of the ranking cannot be used.
    """

    def __init__(self, grid: Grid, out: Path) -> None:
        self.grid, self.out = grid, out
        self.data = FrequencyDataModule(**grid.data)
        if self.data.store is not None:
            raise UserError(
                f"--data.root {grid.data['root']} is a packed store, which has no RGB for the baselines: give the "
                "photographs, and the store as --store"
            )
        if not isinstance(grid.trainer.get("max_epochs"), int) or grid.trainer["max_epochs"] < 1:
            raise UserError("--trainer.max_epochs is missing: the budget that all arms share, in epochs")
        needed: list[Split] = ["train", *grid.evaluate]
        for split in needed:  # a missing one would else be found after the first training
            self.data.files(split)
        self.store = read_manifest(grid.store) if grid.store else None
        if grid.ranking.mask:
            self.ranking()

    def folder(self, run: Run) -> Path:
        """Where a run leaves what it writes."""
        return self.out / "runs" / run.name

    def channels(self, run: Run) -> list[int]:
        """The channels of a run, ascending; none for pixels.

        Raises:
            UserError: It takes a ranking that has not been made.
        """
        if run.choose in PIXELS:
            return []
        if run.choose in ("gate", "all"):
            return list(range(NUM_CHANNELS))
        if run.choose in ("learned", "energy"):
            worth = self.ranking() if run.choose == "learned" else self.energies()
            return sorted(rank_channels(named_channels("all"), worth)[: run.count])
        draw = f"-{run.draw}" if run.choose == "random" else ""
        return list(named_channels(f"{run.choose}-{run.count}{draw}").indices)

    def ranking(self) -> list[float]:
        """Keep probability of each of the 192 channels: mean over the gated runs, or of the mask that the grid names.

        Raises:
            UserError: There is no mask, or it has no probabilities.
        """
        masks = [newest(self.folder(run), "mask.json") for run in ranking_runs(self.grid)]
        found = []
        for mask in [self.grid.ranking.mask] if self.grid.ranking.mask else masks:
            if mask is None:
                raise UserError("the gated run that ranks the channels has left no mask")
            probability = read_mask(mask)[1]
            if probability is None:
                raise UserError(f"--ranking.mask {mask}: it has no keep_probability, so it ranks nothing")
            found.append(probability)
        return [sum(each) / len(found) for each in zip(*found, strict=True)]

    def energies(self) -> list[float]:
        """Variance of each of the 192 channels over training images under the training transform; measured once."""
        path = self.out / ENERGY
        if not path.exists():
            std = FrequencyDataModule(**{**self.grid.data, "channels": "all"}).channel_statistics()[1]
            partial = path.with_name(f".{ENERGY}.partial")
            partial.write_text(json.dumps({"variance": std.double().square().tolist()}))
            partial.rename(path)
        return json.loads(path.read_text())["variance"]

    def epochs(self, run: Run) -> int:
        """How many epochs a run is trained."""
        return {**self.grid.trainer, **run.trainer}["max_epochs"]

    def fit_options(self, run: Run, channels: list[int] | None = None) -> dict[str, Any]:
        """What ``dctnet fit --config`` reads for a run.

        Args:
            run: The run.
            channels: Its channels where they are not to be looked up.
        """
        data = dict(self.grid.data)
        if run.choose in PIXELS:
            data["image_size"] = self._size(run)
        else:
            data["channels"] = self.channels(run) if channels is None else channels
            if self.store is not None and set(data["channels"]) <= set(self.store.channels):
                kept = {key: data[key] for key in _OF_STORES if key in data}
                data = {**kept, "root": self.grid.store, "channels": data["channels"]}
        model = self._model_options(run)
        trainer = {**self.grid.trainer, **run.trainer, "enable_progress_bar": False}
        where = {"seed_everything": run.seed, "name": run.name, "out_dir": str(self.out / "runs")}
        return {**where, "data": data, "model": model, "trainer": trainer}

    def _model_options(self, run: Run) -> dict[str, Any]:
        model = {**self.grid.model, **run.model}
        if run.choose not in PIXELS:
            return model
        if run.choose.startswith("patches"):
            return {**model, "input": "rgb", "stem": run.choose}
        return {**model, "input": "rgb", "stem": "torchvision", "layer2_stride": 2}  # its network has that one

    def _size(self, run: Run) -> int:
        return self.matched_size if run.choose == "rgb_matched" else self.data.size

    def cost(self, run: Run) -> dict[str, float]:
        """GMAC, parameters and input values of a run's network, by its number of channels."""
        return self._count(self._model_options(run), run.count, self._size(run))

    def _count(self, model: dict[str, Any], channels: int, size: int) -> dict[str, float]:
        with torch.device("meta"):  # shapes alone: no network is built
            options = {**model, "weights": None, "compile": False}
            return FrequencyClassifier(self.data.class_names, list(range(channels)), size, **options).cost()

    @functools.cached_property
    def matched_size(self) -> int:
        """The smallest side at which RGB with its stem costs no less than all 192 channels: the baseline has the edge.

        Raises:
            UserError: There is none up to four times the channels' side.
        """
        wanted = self._count(self.grid.model, NUM_CHANNELS, self.data.size)["gmac"]
        rgb = self._model_options(Run("rgb_matched", "rgb_matched", 0, 0, "", 0, {}, {}))
        for side in range(BLOCK, 4 * self.data.size, BLOCK):
            if self._count(rgb, 0, side)["gmac"] >= wanted:
                return side
        raise UserError(f"no RGB up to {4 * self.data.size} px costs as much as all channels at {self.data.size} px")
