"""The LightningDataModule: folders of photographs to batches of channels on the training device."""

import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dctnet.data import folders
from dctnet.data.bad_files import BadFileLog
from dctnet.data.coefficients import CoefficientReader
from dctnet.data.config_checks import check_options, check_photograph_options, check_store_options
from dctnet.data.dataset import EpochSampler, PhotoDataset, Reader
from dctnet.data.images.photo import ImageError, choose_decoder, describe_decoder
from dctnet.data.packed.channels import choose_channels
from dctnet.data.packed.manifest import evaluation_scale, is_store, pick_split, read_manifest
from dctnet.data.packed.reader import PackedDataset
from dctnet.data.pixels import ChannelReader, RGBReader
from dctnet.data.sampler import ResumableLoader
from dctnet.data.sources import PhotoSource
from dctnet.data.statistics import ChannelSums
from dctnet.data.transforms import CenterCrop, TrainCrop
from dctnet.errors import UserError, printable
from dctnet.frequency.dct import BLOCK
from dctnet.frequency.maskfile import resolve_channels

Split = Literal["train", "val", "test"]
_STAGES: dict[str, tuple[Split, ...]] = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}
# Beyond any epoch that trains: the crops that normalisation sees are drawn apart from those of training.
_STATISTICS_EPOCH = 2**31 - 1


class FrequencyDataModule(pl.LightningDataModule):
    """Photographs, or a packed store of them, as batches of DCT channels, or of RGB for the baseline.

    Of photographs, workers decode no more than a crop needs and compute its kept channels. Of a packed store, crops of
    integers are cut without workers and become channels on the training device.
    A batch is a dict: ``input`` (N, K, S/8, S/8) float channels or (N, 3, S, S) RGB 0 … 255, ``target`` (N,),
    ``index`` (N,) the place in the split's files, and ``bad``, path and reason of files left out of this batch.

    Args:
        root: A folder with ``train/`` and ``val/`` (or ``validation/``), optionally ``test/``, a folder a class; or one
            folder of classes, with ``val_fraction``; or a store that ``dctnet pack`` made. To predict: any folder or a
            single file.
        channels: A name (``all``, ``square-24``, ``zigzag-N``, …), a mask file, or a list of indices; of a store also
            ``first-K``, its K most important. Unless given, all 192; of a store, all that were packed.
        input: ``channels``, or ``rgb`` for a network with its stem.
        image_size: Side of the crop in source pixels, a multiple of 8; channels have image_size / 8. Unless given, 224;
            of a store, what it was packed for.
        batch_size: Images a batch on each device.
        num_workers: Decoding processes for each device; a packed store needs none and has none.
        val_fraction: Share held out for validation from a root without splits, by a hash of the path.
        classes: ``imagenette``, ``imagewoof``, ``imagenet100``, a file with one class name a line, or the names.
        per_class: Cap on training images a class.
        download: ``imagenette`` downloads it into ``root`` first; ``planted`` generates the sample data set there.
        min_scale: Smallest share of the area that a training crop takes; of a store, its scales say.
        crop_fraction: Evaluation square as a share of the short side. Unless given, 0.875; of a store, what it was
            packed for.
        decoder: For JPEG files: ``turbojpeg``, ``pillow``, or whichever is found (``auto``).
        source: ``pixels``, decoded and resized; or ``coefficients``, straight from the JPEG files: aligned crops
            without resizing, for photographs of one known size.
        dct: Where the channels of photographs are computed: by the ``loader``'s processes, or on the ``device``, to
            which the decoded samples then travel.
        residency: Where a packed store is read from: ``disk`` (mapped into memory), ``ram``, or the ``device``.
        on_error: What a file that cannot be used does: ``stop`` the run, or be left out, counted and listed (``skip``).
        max_bad_fraction: Share of the files of a split, 0…1, beyond which ``skip`` stops the training or evaluation all
            the same: so many are no damaged photographs but a fault of disk, path or decoder. None: no limit.
        norm_images: Training images from which the normalisation is computed.
        seed: Seeds order, crops and flips.

    Raises:
        UserError: An option that cannot be. Says what would be right.
    """

    def __init__(
        self,
        root: str,
        channels: str | list[int] | None = None,
        input: Literal["channels", "rgb"] = "channels",
        image_size: int | None = None,
        batch_size: int = 64,
        num_workers: int = 2,
        val_fraction: float = 0.0,
        classes: str | list[str] | None = None,
        per_class: int | None = None,
        download: Literal["imagenette", "planted"] | None = None,
        min_scale: float = 0.08,
        crop_fraction: float | None = None,
        decoder: Literal["auto", "turbojpeg", "pillow"] = "auto",
        source: Literal["pixels", "coefficients"] = "pixels",
        dct: Literal["loader", "device"] = "loader",
        residency: Literal["disk", "ram", "device"] = "disk",
        on_error: Literal["stop", "skip"] = "stop",
        max_bad_fraction: float | None = 0.1,
        norm_images: int = 2048,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)  # names that the model's have too, with other values: those are logged
        self.store = read_manifest(root) if is_store(root) else None
        packed = (
            {}
            if self.store is None
            else {"image_size": self.store.image_size, "crop_fraction": self.store.crop_fraction}
        )
        for name, otherwise in (("image_size", 224), ("crop_fraction", 0.875)):
            if self.hparams[name] is None:
                self.hparams[name] = packed.get(name, otherwise)
        check_options(self.hparams)
        if self.store is None:
            check_photograph_options(self.hparams)
            self.channel_set = resolve_channels("all" if channels is None else channels)
        else:
            check_store_options(self.hparams)
            self.channel_set = choose_channels(self.store, channels)
        self.decoder = choose_decoder(decoder)
        if source == "coefficients" and self.decoder != "turbojpeg":
            raise UserError("--data.source coefficients needs libjpeg-turbo; dctnet doctor says how to install it")
        self.bad_files = BadFileLog()
        self.raises_bad_files = True  # unless somebody else sees to it that all ranks stop at one
        self._datasets: dict[str, PhotoDataset | PackedDataset] = {}
        self._files: dict[str, folders.Files] = {}
        self._classes: list[str] | None = None
        self._photographs = PhotoSource(self.hparams, rank_zero_warn)

    @property
    def skipped(self) -> dict[str, str]:
        """Path and reason of the files left out so far."""
        return self.bad_files.left_out

    @property
    def by_pixels(self) -> dict[str, str]:
        """The same of those read by pixels where coefficients were asked for."""
        return dict(self.bad_files.of_kind("by_pixels"))

    @property
    def size(self) -> int:
        """Side of the crop in source pixels."""
        return self.hparams["image_size"]

    @property
    def root(self) -> Path:
        """The folder that holds the splits, fetched first if ``download`` asks for it."""
        return self._photographs.root

    @property
    def class_names(self) -> list[str]:
        """Names of the classes; the place in this list is the target."""
        if self._classes is None:
            self._classes = list(self._photographs.classes() if self.store is None else self.store.classes)
        return self._classes

    @class_names.setter
    def class_names(self, names: list[str]) -> None:
        """Sets a trained network's classes, in its order, whatever folders there are."""
        self._classes = list(names)

    def files(self, split: Split) -> folders.Files:
        """The files of a split, with targets.

        Raises:
            UserError: The root has no such split, a class of it is unknown, or it holds no file.
        """
        if split not in self._files:
            list_split = functools.partial(self._photographs.list, classes=self.class_names)
            self._files[split] = list_split(split) if self.store is None else self._list_packed(split)
        return self._files[split]

    def _list_packed(self, split: Split) -> folders.Files:
        assert self.store is not None
        dataset = self._packed(split, train=split == "train")
        if unknown := sorted(set(self.store.classes) - set(self.class_names)):
            count = len(self.class_names)
            raise UserError(f"{self.store.root}: class {unknown[0]!r} is not among the {count} of training")
        places = [self.class_names.index(name) for name in self.store.classes]
        dataset.targets = tuple(places[target] for target in dataset.targets)
        left_out = pick_split(self.store, split).skipped
        if left_out:
            root = printable(str(self.store.root))
            rank_zero_warn(f"{root}: {len(left_out)} files of {split} were left out when it was packed")
            self.bad_files.add("packing", left_out)
        self._datasets[split] = dataset
        return folders.Files(dataset.paths, dataset.targets)

    def _packed(self, split: Split, train: bool) -> PackedDataset:
        options = self.hparams
        evaluation = evaluation_scale(options["image_size"], options["crop_fraction"])
        return PackedDataset(
            self.store, split, self.channel_set, self.size, train, evaluation, options["residency"], options["seed"]  # type: ignore[arg-type]
        )  # fmt: skip

    def setup(self, stage: str) -> None:
        """Lists the files that the stage needs, so that a missing folder stops the run before it starts."""
        for split in _STAGES.get(stage, ()):
            self.files(split)
        if self.store is not None:
            scales = ", ".join(map(str, pick_split(self.store, _STAGES.get(stage, ("train",))[0]).scales))
            rank_zero_info(
                printable(
                    f"{self.store.root}: packed, {self.channel_set}; crops come from whole images at {scales} px, "
                )
                + "--data.min_scale, decoder and num_workers play no part"
            )

    def train_dataloader(self) -> DataLoader:
        """Shuffled random crops; full batches only."""
        if self.hparams["batch_size"] < 2:
            raise UserError("--data.batch_size must be at least 2 to train: batch statistics need two images")
        sampler = self._sampler(len(self.files("train")), train=True)
        loader = self._loader("train", sampler, kind=ResumableLoader)
        if self.trainer is not None:
            # Lightning tells the epoch only when workers have begun to fetch: too late where a training is resumed.
            progress: Any = self.trainer.fit_loop
            sampler.set_epoch(progress.epoch_progress.current.processed)
            loader.trained = lambda: progress.epoch_loop.batch_progress.current.processed
        return loader

    def val_dataloader(self) -> DataLoader:
        """Every validation image once, centre crop."""
        return self._eval_loader("val", self.files("val"))

    def test_dataloader(self) -> DataLoader:
        """Every test image once, centre crop."""
        return self._eval_loader("test", self.files("test"))

    def predict_files(self) -> folders.Files:
        """The files to predict: a single file, or all below the root, labelled or not."""
        if self.store is not None:
            raise UserError(
                f"{self.store.root}: a packed store; dctnet predict reads photographs, dctnet validate a store"
            )
        root = Path(self.hparams["root"])
        paths = [str(root)] if root.is_file() else folders.list_files(root)
        if not paths:
            folders.class_folders(root)  # names the nearest folder if this one does not exist
            raise UserError(f"{root}: no file in it")
        return folders.Files(tuple(paths), (-1,) * len(paths))

    def predict_dataloader(self) -> DataLoader:
        """Every file once, centre crop; targets are −1."""
        return self._eval_loader("predict", self.predict_files())

    def _eval_loader(self, split: str, files: folders.Files) -> DataLoader:
        world = self._rank()[1]
        if len(files) < world:
            raise UserError(f"{len(files)} images cannot be shared out among {world} processes: --trainer.devices 1")
        return self._loader(split, self._sampler(len(files), train=False), files)

    def _dataset(self, split: str, files: folders.Files) -> PhotoDataset | PackedDataset:
        if split not in self._datasets:
            self._datasets[split] = PhotoDataset(
                files, self._reader(split == "train"), self.decoder, self.hparams["seed"]
            )
        return self._datasets[split]

    def _reader(self, train: bool) -> Reader:
        options = self.hparams
        crop = TrainCrop(options["min_scale"]) if train else CenterCrop(options["crop_fraction"])
        if options["input"] == "rgb":
            return RGBReader(crop, self.size)
        if options["source"] == "coefficients":
            return CoefficientReader(crop, self.size, self.channel_set)
        return ChannelReader(crop, self.size, self.channel_set, options["dct"])

    def _sampler(self, length: int, train: bool) -> EpochSampler:
        rank, world = self._rank()
        return EpochSampler(
            length, self.hparams["batch_size"] if train else None, train, self.hparams["seed"], rank, world
        )

    def _rank(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(
        self, split: str, sampler: Any, files: folders.Files | None = None, kind: type[DataLoader] = DataLoader
    ) -> DataLoader:
        dataset = self._dataset(split, files or self.files(split))  # type: ignore[arg-type]
        workers = self.hparams["num_workers"] if self.store is None else 0
        return kind(
            dataset,
            batch_size=self.hparams["batch_size"],
            sampler=sampler,
            num_workers=workers,
            collate_fn=functools.partial(_collate, dataset, split),
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
        )

    def on_before_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Stops at a bad file, or notes it, in the process that trains: a worker could do neither in one line."""
        if batch["bad"] and self.hparams["on_error"] == "stop" and self.raises_bad_files:
            raise ImageError(*batch["bad"][0]).with_advice()
        self.bad_files.add(batch["split"], batch["bad"])
        if self.hparams["source"] == "coefficients":
            self.bad_files.add("by_pixels", batch["refused"])
        return batch

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Turns what was sent into what the network reads, on the device that it has reached."""
        batch["input"] = self._datasets[batch.pop("split")].to_device(batch.pop("payload"))
        return batch

    def state_dict(self) -> dict[str, Any]:
        """What read the pixels, and which files there were: the record in the checkpoint."""
        decoder = describe_decoder(self.decoder) if self.store is None else self.store.content["decoder"]
        return {"decoder": decoder, **self.fingerprint}

    @functools.cached_property
    def fingerprint(self) -> dict[str, Any]:
        """Of train and val, how many images, and a SHA-256 of their names and classes, and of a store's manifest.

        What is in the files is not read: ``dctnet verify`` does that.
        """
        found: dict[str, Any] = {}
        for split in _STAGES["fit"]:
            files = self.files(split)
            digest = hashlib.sha256(json.dumps(self.class_names).encode())
            for path, target in zip(files.paths, files.targets, strict=True):
                digest.update(json.dumps(["/".join(Path(path).parts[-2:]), target]).encode())
            if self.store is not None:
                digest.update(self.store.content["sha256"].encode())
            found[split] = {"images": len(files), "sha256": digest.hexdigest()}
        return found

    def channel_statistics(self, transform: Callable[[Tensor], Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each input channel over training images under the training transform.

        Ranks share the images and add up their sums in float64, so that any number of them finds the same figures.

        Args:
            transform: Makes other channels of a batch of the input; the statistics are of those.

        Returns:
            Mean and standard deviation, float32.

        Shape:
            - output: (K,), (K,), K channels, 3 for RGB, or as many as ``transform`` makes
        """
        files = self.files("train")
        rank, world = self._rank()
        count = min(self.hparams["norm_images"], len(files))
        # Spread over the list, which is sorted by class.
        chosen = [(_STATISTICS_EPOCH, i * len(files) // count) for i in range(count)][rank::world]
        shape = (1, 3, BLOCK, BLOCK) if self.hparams["input"] == "rgb" else (1, len(self.channel_set), 1, 1)
        transform = transform or nn.Identity()
        sums = ChannelSums(transform(torch.zeros(shape)).shape[1])
        for batch in self._loader("train", chosen):
            batch = self.on_after_batch_transfer(self.on_before_batch_transfer(batch, 0), 0)
            if len(batch["target"]):
                sums.add(transform(batch["input"]))
        if world > 1:
            strategy = self.trainer.strategy  # type: ignore[union-attr]
            sums.sums = strategy.reduce(sums.sums.to(strategy.root_device), reduce_op="sum").cpu()  # NCCL adds on GPUs
        if not sums.count:
            raise UserError(f"{self.root}: none of the first {count} training images can be read")
        return sums.statistics()


def _collate(dataset: PhotoDataset | PackedDataset, split: str, samples: Any) -> dict[str, Any]:
    return {**dataset.collate(samples), "split": split}
