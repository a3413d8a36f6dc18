"""From a run of the grid to its channels, its configuration and its cost."""

import json
import threading
from pathlib import Path
from typing import Any

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.packed.manifest import read_manifest
from dctnet.errors import UserError
from dctnet.frequency.channels import NUM_CHANNELS, ChannelSet
from dctnet.frequency.maskfile import read_mask, write_mask
from dctnet.frequency.selections import named_channels, rank_channels
from dctnet.studies.accuracy.costs import Costs
from dctnet.studies.accuracy.grid import PIXELS, Grid, Run, plan, ranking_runs
from dctnet.studies.accuracy.images import first_difference, list_images
from dctnet.studies.accuracy.progress import newest
from dctnet.studies.accuracy.provenance import ENERGY, RANKING

# Of the data options, those that a packed store understands.
_OF_STORES = ("batch_size", "residency", "on_error", "norm_images")


class BenchmarkContext:
    """A grid, the data that it is run on, and the folder of its results.

    Args:
        grid: What is run.
        out: Folder of the results.

    Raises:
        UserError: The data, the packed store, the mask of the ranking or the options of a run cannot be used.
    """

    def __init__(self, grid: Grid, out: Path) -> None:
        self.grid, self.out = grid, out
        self.data = FrequencyDataModule(**grid.data)
        self._one_at_a_time = threading.Lock()
        if self.data.store is not None:
            raise UserError(
                f"--data.root {grid.data['root']} is a packed store, which has no RGB for the baselines: give the "
                "photographs, and the store as --store"
            )
        self.costs = Costs(grid.model, self.data.class_names, self.data.size)
        self.images = list_images(self.data, grid.evaluate)
        self.data.files("train")  # a missing one would else be found after the start of the first training
        self.store = read_manifest(grid.store) if grid.store else None
        if grid.store:
            self._check_store()
        if grid.ranking.mask:
            _probabilities(grid.ranking.mask)
        for run in [*ranking_runs(grid), *plan(grid)]:
            self._check_run(run)

    def _check_store(self) -> None:
        """Refuses a store that was packed from other data, or in another way than the photographs are read."""
        store = FrequencyDataModule(**self._store_options())
        found = {"classes": store.class_names, **{key: store.hparams[key] for key in ("image_size", "crop_fraction")}}
        wanted = {**{key: self.data.hparams[key] for key in found}, "classes": self.data.class_names}
        for key, value in wanted.items():
            if found[key] != value:
                raise UserError(f"--store {self.grid.store} has {key} {found[key]}, the photographs {value}")
        of_store = list_images(store, self.grid.evaluate)
        if (place := first_difference(of_store, self.images)) is not None:
            images = [
                "/".join(images[place][:2]) if place < len(images) else "no more" for images in (of_store, self.images)
            ]
            raise UserError(
                f"--store {self.grid.store} was packed from other images: at place {place + 1} of those that are "
                f"evaluated it has {images[0]}, {self.data.root} has {images[1]}"
            )
        packed, there = len(store.files("train")), len(self.data.files("train"))
        if packed + len(store.source.left_out("train")) != there:
            raise UserError(f"--store {self.grid.store} holds {packed} training images, {self.data.root} has {there}")

    def _store_options(self) -> dict[str, Any]:
        kept = {key: self.grid.data[key] for key in _OF_STORES if key in self.grid.data}
        return {**kept, "root": self.grid.store}

    def _check_run(self, run: Run) -> None:
        """Refuses options that cannot be together before anything is trained."""
        if not isinstance(epochs := self.epochs(run), int) or epochs < 1:
            raise UserError(f"--trainer.max_epochs must be a number of epochs from 1 on; {run.arm} has {epochs}")
        try:
            self.costs.of(run)
            if run.choose in PIXELS:
                FrequencyDataModule(**{**self.grid.data, "channels": None, "input": "rgb"})
        except UserError as error:
            raise UserError(f"{run.arm}: {error}") from error

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

        It is kept as ``ranking.json``, a mask file itself, to be found when the gated runs are gone.

        Raises:
            UserError: There is no mask, or it has no probabilities.
        """
        path, named = self.out / RANKING, self.grid.ranking.mask
        with self._one_at_a_time:
            if named is None and path.exists():
                return _probabilities(path)
            masks = [named] if named else [newest(self.folder(run), "mask.json") for run in ranking_runs(self.grid)]
            if None in masks:
                raise UserError("a gated run that ranks the channels has not ended")
            found = [_probabilities(mask) for mask in masks if mask is not None]
            mean = [sum(each) / len(found) for each in zip(*found, strict=True)]
            kept = sorted(rank_channels(named_channels("all"), mean)[: self.ranked_for])
            write_mask(path, ChannelSet("ranking", tuple(kept)), mean, {"gates": len(found)})
            return _probabilities(path)

    @property
    def ranked_for(self) -> int:
        """How many channels the masks that rank hold; a ranking is read for its order alone."""
        return self.grid.ranking.model.get("keep") or 24

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
        return {**self.grid.trainer, **run.trainer}.get("max_epochs")  # type: ignore[return-value]

    def fit_options(self, run: Run, channels: list[int] | None = None) -> dict[str, Any]:
        """What ``dctnet fit --config`` reads for a run.

        Args:
            run: The run.
            channels: Its channels where they are not to be looked up.
        """
        data = dict(self.grid.data)
        if run.choose in PIXELS:
            data["image_size"] = self.costs.size(run)
        else:
            data["channels"] = self.channels(run) if channels is None else channels
            if self.store is not None and set(data["channels"]) <= set(self.store.channels):
                data = {**self._store_options(), "channels": data["channels"]}
        model = self.costs.options(run)
        trainer = {**self.grid.trainer, **run.trainer, "enable_progress_bar": False}
        where = {"seed_everything": run.seed, "name": run.name, "out_dir": str(self.out / "runs")}
        return {**where, "data": data, "model": model, "trainer": trainer}


def _probabilities(mask: str | Path) -> list[float]:
    """Keep probabilities of a mask file.

    Raises:
        UserError: It cannot be read, or has none.
    """
    probability = read_mask(mask)[1]
    if probability is None:
        raise UserError(f"{mask}: it has no keep_probability, so it ranks nothing")
    return probability
