"""A benchmark's grid, data and folder; channels and configuration of each trial, checked before any training."""

import json
import threading
from pathlib import Path
from typing import Any

from dctnet.data.augmentation import Augmentation
from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.packed.manifest import read_manifest
from dctnet.errors import UserError
from dctnet.frequency.channels import NUM_CHANNELS, ChannelSet
from dctnet.frequency.maskfile import read_mask, resolve_channels, write_mask
from dctnet.frequency.selections import named_channels, rank_channels
from dctnet.io.atomic import atomic_write
from dctnet.studies.accuracy.costs import Costs
from dctnet.studies.accuracy.grid import PIXEL_NETWORKS, Grid, Trial, plan, ranking_trials
from dctnet.studies.accuracy.provenance import ENERGY, RANKING, first_difference, list_images, newest, without_later

# The data options that apply to a packed store.
_STORE_OPTIONS = (
    "batch_size", "residency", "on_error", "norm_images", "augment", "mixup", "cutmix", "progressive", "sampler",
    "class_weights",
)  # fmt: skip


class BenchmarkContext:
    """A grid with the data it runs on and the folder ``out`` of its results.

    Raises:
        UserError: The data, the packed store, the mask of the ranking, the options of a trial, or the folder cannot
            be used.
    """

    def __init__(self, grid: Grid, out: Path) -> None:
        self.grid, self.out = grid, out
        self.data = FrequencyDataModule(**grid.data)
        self._lock = threading.Lock()
        if self.data.store is not None:
            raise UserError(
                f"--data.root {grid.data['root']} is a packed store, which has no RGB for the baselines: give the "
                "photographs, and the store as --store"
            )
        self.data.source.check_output(out, "--out")
        self.costs = Costs(grid.model, self.data.class_names, self.data.size)
        self.images = list_images(self.data, grid.evaluate)
        self.data.files("train")  # raises now rather than after the start of the first trial
        self.store = read_manifest(grid.store) if grid.store else None
        if grid.store:
            self._check_store(FrequencyDataModule(**self._store_options()))
        if grid.ranking.mask:
            _keep_probability(grid.ranking.mask)
        for trial in [*ranking_trials(grid), *plan(grid)]:
            self._check_trial(trial)

    def _check_store(self, store: FrequencyDataModule) -> None:
        """Checks that the store was packed from the same images, with the same crops."""
        where, root = f"--store {self.grid.store}", self.grid.data["root"]
        packed, wanted = ({**data.hparams, "classes": data.class_names} for data in (store, self.data))
        for key in ("classes", "image_size", "crop_fraction"):
            if packed[key] != wanted[key]:
                raise UserError(f"{where} has {key} {packed[key]}, the photographs {wanted[key]}")
        images = list_images(store, self.grid.evaluate)
        if (place := first_difference(images, self.images)) is not None:
            one, other = ("/".join(each[place][:2]) if each[place:] else "none" for each in (images, self.images))
            raise UserError(
                f"{where} was packed from other images: evaluation image {place + 1} is {one}, in {root} {other}"
            )
        count, expected = len(store.files("train")) + len(store.source.left_out("train")), len(self.data.files("train"))
        if count != expected:
            raise UserError(f"{where} was packed from {count} training images, {root} has {expected}")

    def _store_options(self) -> dict[str, Any]:
        kept = {key: self.grid.data[key] for key in _STORE_OPTIONS if key in self.grid.data}
        return {**kept, "root": self.grid.store}

    def _check_trial(self, trial: Trial) -> None:
        """Checks the options of a trial and of its network."""
        if not isinstance(epochs := self.epochs(trial), int) or epochs < 1:
            raise UserError(f"--trainer.max_epochs must be a whole number of at least 1; {trial.arm} has {epochs}")
        try:
            self.costs.of(trial)
            options = {**self.grid.data, **trial.data, "image_size": self.costs.size(trial), "channels": None}
            data = FrequencyDataModule(**options, input="rgb" if trial.choose in PIXEL_NETWORKS else "channels")
            data.crop_sizes.plan(epochs)
        except UserError as error:
            raise UserError(f"{trial.arm}: {error}") from error

    def folder(self, trial: Trial) -> Path:
        """Folder of a trial's configuration, log and checkpoints."""
        return self.out / "runs" / trial.name

    def channels(self, trial: Trial) -> list[int]:
        """Channel indices of a trial, ascending; empty for pixels.

        Raises:
            UserError: The trial needs a ranking whose gated trials have not finished.
        """
        if trial.choose in PIXEL_NETWORKS:
            return []
        if trial.choose in ("gate", "all"):
            return list(range(NUM_CHANNELS))
        if trial.mask is not None:
            return list(resolve_channels(trial.mask).indices)
        if trial.choose in ("learned", "energy"):
            score = self.ranking(trial.seed) if trial.choose == "learned" else self.energies()
            return sorted(rank_channels(named_channels("all"), score)[: trial.count])
        draw = f"-{trial.draw}" if trial.choose == "random" else ""
        return list(named_channels(f"{trial.choose}-{trial.count}{draw}").indices)

    def ranking_file(self, seed: int) -> Path:
        """The mask file that ranks the channels of the learned arms with a seed."""
        return self.out / (f"ranking-s{seed}.json" if self.grid.ranking.seeds == "own" else RANKING)

    def ranked(self, gated: Trial) -> bool:
        """Whether the mask of a gated trial, or the ranking from it, exists."""
        return self.ranking_file(gated.seed).exists() or newest(self.folder(gated), "mask.json") is not None

    def gated_trials(self, seed: int) -> list[Trial]:
        """The gated trials that rank the channels of the learned arms with a seed."""
        own = self.grid.ranking.seeds == "own"
        return [trial for trial in ranking_trials(self.grid) if trial.seed == seed or not own]

    def ranking(self, seed: int) -> list[float]:
        """Keep probability of each of the 192 channels for the learned arms with a seed.

        It is the mean over the gated trials, or that of the gated trial with the same seed, or that of the given mask
        file. It is written as a mask file to ``out``, which is used from then on.

        Raises:
            UserError: A mask file is missing or has no probabilities.
        """
        path, given = self.ranking_file(seed), self.grid.ranking.mask
        with self._lock:
            if given is None and path.exists():
                return _keep_probability(path)
            masks = [given] if given else [newest(self.folder(t), "mask.json") for t in self.gated_trials(seed)]
            if None in masks:
                raise UserError("a gated trial of the ranking has not finished")
            found = [_keep_probability(mask) for mask in masks if mask is not None]
            mean = [sum(each) / len(found) for each in zip(*found, strict=True)]
            kept = sorted(rank_channels(named_channels("all"), mean)[: self.ranked_channels])
            write_mask(path, ChannelSet("ranking", tuple(kept)), mean, {"gates": len(found)})
            return _keep_probability(path)

    @property
    def ranked_channels(self) -> int:
        """Number of channels in the masks of the ranking, of which only the order is used."""
        return self.grid.ranking.model.get("keep") or 24

    def energies(self) -> list[float]:
        """Variance of each of the 192 channels over training images with the training crops; measured once."""
        path = self.out / ENERGY
        if not path.exists():
            std = FrequencyDataModule(**{**self.grid.data, "channels": "all"}).channel_statistics()[1]
            atomic_write(path, json.dumps({"variance": std.double().square().tolist()}).encode())
        return json.loads(path.read_text())["variance"]

    def epochs(self, trial: Trial) -> int:
        """Number of epochs of a trial."""
        return {**self.grid.trainer, **trial.trainer}.get("max_epochs")  # type: ignore[return-value]

    def fit_options(self, trial: Trial, channels: list[int] | None = None) -> dict[str, Any]:
        """The configuration of a trial for ``dctnet fit --config``; ``channels`` replaces those of the trial."""
        data = {**self.grid.data, **trial.data}
        if trial.choose in PIXEL_NETWORKS:
            data["image_size"] = self.costs.size(trial)
        else:
            data["channels"] = self.channels(trial) if channels is None else channels
            stored = self.store is not None and trial.data.keys() <= set(_STORE_OPTIONS)
            if stored and _read_channels(data) <= set(self.store.channels):  # type: ignore[union-attr]
                data = {**self._store_options(), **trial.data, "channels": data["channels"]}
        model = self.costs.options(trial)
        return {
            "seed_everything": trial.seed,
            "name": trial.name,
            "out_dir": str(self.out / "runs"),
            "data": without_later(data),
            "model": without_later(model),
            "trainer": {**self.grid.trainer, **trial.trainer, "enable_progress_bar": False},
        }


def _read_channels(data: dict[str, Any]) -> set[int]:
    """The channels that a training reads: those of the network, and those that its augmentation mixes with them."""
    augmentation = Augmentation(data.get("augment", "none"), resolve_channels(data["channels"]), "channels", 0)
    return set(augmentation.read.indices)


def _keep_probability(mask: str | Path) -> list[float]:
    probability = read_mask(mask)[1]
    if probability is None:
        raise UserError(f"{mask}: no keep_probability, which a ranking needs")
    return probability
