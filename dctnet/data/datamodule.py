"""The LightningDataModule: photographs or a packed store to batches of channels on the training device."""

import functools
from collections.abc import Callable
from typing import Any, Literal, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dctnet.data.augmentation import Augmentation
from dctnet.data.bad_files import BadFileLog
from dctnet.data.config_checks import check_data_options
from dctnet.data.dataset import PhotoDataset, make_dataset
from dctnet.data.folders import Files
from dctnet.data.images.photo import ImageError, choose_decoder, describe_decoder
from dctnet.data.mixing import Mixing
from dctnet.data.packed.reader import PackedDataset, choose_channels
from dctnet.data.progressive import crop_sizes, parse_shares
from dctnet.data.sampler import BalancedSampler, EpochSampler, Loader, ResumableLoader, SequentialEpochSampler
from dctnet.data.sources import StoreSource, open_source
from dctnet.data.statistics import balanced_weights, channel_statistics, choose_samples
from dctnet.errors import UserError, printable
from dctnet.frequency.dct import BLOCK
from dctnet.frequency.maskfile import resolve_channels

Split = Literal["train", "val", "test"]
_STAGES: dict[str, tuple[Split, ...]] = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}


class FrequencyDataModule(pl.LightningDataModule):
    """Photographs or a packed store as batches of DCT channels, or of RGB for the pixel baseline.

    For photographs, workers decode only what a crop needs and compute its kept channels. For a packed store, the main
    process cuts crops of integers, which become channels on the training device.
    A batch is a dict: ``input`` (N, K, S/8, S/8) float channels or (N, 3, S, S) RGB 0 … 255, ``target`` (N,),
    ``index`` (N,) into the split's files, and ``bad``: path and reason of the files left out of this batch. With
    mixup or cutmix, ``target`` of a training batch is (N, classes), the share of each class.

    Args:
        root: Folder with ``train/``, ``val/`` and perhaps ``test/``, each with a folder per class; or class folders
            alone, with ``val_fraction``; or a store of ``dctnet pack``. To predict: any folder or file.
        channels: A name (``all``, ``square-24``, ``zigzag-N``, …), a mask file, or a list of indices; for a store also
            ``first-K``, its K most important. Default: all 192, or all channels of the store.
        input: ``channels``, or ``rgb`` for a network on pixels.
        image_size: Side of the crop in source pixels, a multiple of 8. Default: 224, or what the store was packed for.
        batch_size: Images per batch on each device.
        num_workers: Decoding processes per device; a packed store uses none.
        val_fraction: Share held out for validation from a root without splits, by a hash of the path.
        classes: ``imagenette``, ``imagewoof``, ``imagenet100``, a file with one class name per line, or the names.
        per_class: Maximum number of training images per class.
        download: ``imagenette`` downloads that data set into ``root`` first; ``planted`` generates the sample data set.
        min_scale: Smallest share of the image's area that a training crop takes; a store has fixed scales instead.
        progressive: Sides of the training crops as shares of image_size, each for an equal part of the epochs:
            ``0.5,0.75,1`` trains a third of them on crops of half the side. Default: all at image_size.
        augment: Further operations on training crops, separated by commas: ``basic`` (colours and sharpness),
            ``randaugment``, or single ones such as ``erasing``; docs/augmentation.md lists them.
        mixup: α of mixup, which blends pairs of training images and their targets; 0 for none.
        cutmix: α of cutmix, which exchanges boxes of whole blocks; 0 for none.
        crop_fraction: Side of the evaluation crop as a share of the short side. Default: 0.875, or as for image_size.
        decoder: For JPEG files: ``turbojpeg``, ``pillow``, or ``auto``: libjpeg-turbo if it is installed.
        source: ``pixels``: decoded and resized; or ``coefficients``: read from the JPEG files as aligned crops without
            resizing, for photographs of one known size.
        dct: Where the channels of photographs are computed: in the ``loader``'s processes, or on the ``device``, which
            then receives the decoded samples.
        residency: Where a packed store is read from: ``disk`` (memory-mapped), ``ram``, or the ``device``.
        on_error: ``stop`` the run at a file that cannot be used, or ``skip`` it: leave it out, count and list it.
        max_bad_fraction: Share of bad files in a split, 0…1, above which ``skip`` stops the run. None: no limit.
        norm_images: Number of training images from which the normalisation is computed.
        sampler: ``shuffle`` reads each training image once in an epoch; ``balanced`` reads each class equally often, in
            as many samples: repeated images of small classes, a part of large ones.
        class_weights: ``balanced`` weights the training loss of an image by images / (classes · images of its class);
            excludes ``sampler balanced``.
        seed: Seeds order, crops, flips and augmentation.

    Raises:
        UserError: An option is out of range or does not fit the others. Names the valid values.
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
        progressive: str | list[float] | None = None,
        augment: str | list[str] = "none",
        mixup: float = 0.0,
        cutmix: float = 0.0,
        crop_fraction: float | None = None,
        decoder: Literal["auto", "turbojpeg", "pillow"] = "auto",
        source: Literal["pixels", "coefficients"] = "pixels",
        dct: Literal["loader", "device"] = "loader",
        residency: Literal["disk", "ram", "device"] = "disk",
        on_error: Literal["stop", "skip"] = "stop",
        max_bad_fraction: float | None = 0.1,
        norm_images: int = 2048,
        sampler: Literal["shuffle", "balanced"] = "shuffle",
        class_weights: Literal["none", "balanced"] = "none",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)  # the model's are logged; equal names with other values are an error
        self.source = open_source(self.hparams, rank_zero_warn)
        self.store = self.source.manifest if isinstance(self.source, StoreSource) else None
        for name, default in (("image_size", 224), ("crop_fraction", 0.875)):
            if self.hparams[name] is None:
                self.hparams[name] = default if self.store is None else getattr(self.store, name)
        check_data_options(self.hparams)
        self.hparams["progressive"] = parse_shares(progressive)
        self.crop_sizes = crop_sizes(self.hparams["progressive"], self.size)
        self.source.check_options(self.hparams)
        if self.store is None:
            self.channel_set = resolve_channels("all" if channels is None else channels)
        else:
            self.channel_set = choose_channels(self.store, channels)
        self.augmentation = Augmentation(augment, self.channel_set, input, seed)
        self.mixing = Mixing(mixup, cutmix, seed, input)
        self.decoder = choose_decoder(decoder)
        if source == "coefficients" and self.decoder != "turbojpeg":
            raise UserError("--data.source coefficients needs libjpeg-turbo; dctnet doctor says how to install it")
        self.bad_files = BadFileLog()
        self.raises_bad_files = True  # False if a callback stops all ranks together
        self._datasets: dict[str, PhotoDataset | PackedDataset] = {}

    @property
    def size(self) -> int:
        """Side of the crop in source pixels."""
        return self.hparams["image_size"]

    @property
    def class_names(self) -> list[str]:
        """Class names; a target is an index into this list."""
        return self.source.class_names

    @class_names.setter
    def class_names(self, names: list[str]) -> None:
        self.source.class_names = list(names)

    def files(self, split: str) -> Files:
        """Files of ``train``, ``val``, ``test`` or ``predict`` with their targets."""
        return self.source.files(split)

    def setup(self, stage: str) -> None:
        """Lists the files of a stage, so that a missing folder is an error before the run starts."""
        for split in _STAGES.get(stage, ()):
            self._dataset(split)
        if self.store is not None:
            scales = ", ".join(map(str, cast(PackedDataset, self._dataset(_STAGES.get(stage, ("train",))[0])).scales))
            rank_zero_info(
                printable(f"{self.store.root}: packed store, {self.channel_set}; crops from images at {scales} px; ")
                + "--data.min_scale, decoder and num_workers have no effect"
            )

    def train_dataloader(self) -> DataLoader:
        """Shuffled random crops, or in the order of the files to overfit some batches; full batches only.

        Raises:
            UserError: Batches of one image, or the trainer has no epochs that progressive sizes could divide.
        """
        if self.hparams["batch_size"] < 2:
            raise UserError("--data.batch_size must be at least 2 to train: batch statistics need two images")
        count, batch_size, seed = len(self.files("train")), self.hparams["batch_size"], self.hparams["seed"]
        sampler = EpochSampler(count, batch_size, True, seed, *self._rank())
        if self.hparams["sampler"] == "balanced":
            sampler = BalancedSampler(self.files("train").targets, batch_size, seed, *self._rank())
        if getattr(self.trainer, "overfit_batches", 0):
            if self.hparams["sampler"] == "balanced":
                raise UserError("--trainer.overfit_batches reads files in order: not with --data.sampler balanced")
            sampler = SequentialEpochSampler(count, batch_size, *self._rank())
        loader = self._loader("train", sampler, ResumableLoader)
        if self.trainer is not None:
            # Lightning sets the epoch after the workers have begun to read, which is too late for a resumed training.
            self.crop_sizes.plan(self.trainer.max_epochs, bool(getattr(self.trainer, "fast_dev_run", False)))
            progress: Any = self.trainer.fit_loop
            sampler.set_epoch(progress.epoch_progress.current.processed)
            loader.trained = lambda: progress.epoch_loop.batch_progress.current.processed
        return loader

    def val_dataloader(self) -> DataLoader:
        """Center crop of every validation image."""
        return self._eval_loader("val")

    def test_dataloader(self) -> DataLoader:
        """Center crop of every test image."""
        return self._eval_loader("test")

    def predict_dataloader(self) -> DataLoader:
        """Center crop of every file below the root, or of the root if that is a file; targets are −1."""
        return self._eval_loader("predict")

    def _eval_loader(self, split: str) -> DataLoader:
        count, world = len(self.files(split)), self._rank()[1]
        if count < world:
            raise UserError(f"{count} images cannot be divided among {world} processes: --trainer.devices 1")
        return self._loader(split, SequentialEpochSampler(count, None, *self._rank()))

    def _rank(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(self, split: str, sampler: Any, kind: type[Loader] = Loader) -> DataLoader:
        dataset = self._dataset(split)
        workers = self.hparams["num_workers"] if self.store is None else 0
        return kind(
            dataset,
            batch_size=self.hparams["batch_size"],
            sampler=sampler,
            num_workers=workers,
            collate_fn=dataset.collate,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
        )

    def _dataset(self, split: str) -> PhotoDataset | PackedDataset:
        if split not in self._datasets:
            channel_set = self.augmentation.read if split == "train" else self.channel_set
            if self.store is not None and split == "train":
                self.augmentation.check_store(self.store.channels, self.store.root)
            of_split = self.source, split, channel_set, self.decoder
            self._datasets[split] = make_dataset(*of_split, self.hparams, self.crop_sizes)
            self.bad_files.add("packing", self.source.left_out(split))
        return self._datasets[split]

    def on_before_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Logs bad files, or raises an error for the first, in the training process: a worker can do neither."""
        if batch["bad"] and self.hparams["on_error"] == "stop" and self.raises_bad_files:
            raise ImageError(*batch["bad"][0]).with_advice()
        self.bad_files.add(batch["split"], batch["bad"])
        if self.hparams["source"] == "coefficients":
            self.bad_files.add("by_pixels", batch["refused"])
        sampled = batch.pop("drawn")  # before the transfer: the device need not be waited for
        if batch["split"] == "train":
            batch["draws"] = self.augmentation.draw(*sampled), self.mixing.draw(*sampled)
        return batch

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Converts the transferred payload to the network's input on the training device, and augments it to train."""
        split, (numbers, mix_seed) = batch.pop("split"), batch.pop("draws", (None, None))
        batch["input"] = self._datasets[split].to_device(batch.pop("payload"))
        if split == "train":
            x = self.augmentation(batch["input"], numbers)
            batch["input"], batch["target"] = self.mixing(x, batch["target"], mix_seed, len(self.class_names))
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Decoder and fingerprint of the data, for the checkpoint."""
        decoder = describe_decoder(self.decoder) if self.store is None else self.store.content["decoder"]
        return {"decoder": decoder, **self.fingerprint}

    @functools.cached_property
    def fingerprint(self) -> dict[str, Any]:
        """Number of images, and SHA-256 of names and classes, of the training and validation split."""
        return self.source.fingerprint()

    def loss_weights(self) -> Tensor | None:
        """Weights of the classes in the training loss, (classes,), or None without ``class_weights``."""
        if self.hparams["class_weights"] == "none":
            return None
        return balanced_weights(self.files("train").targets, len(self.class_names))

    def channel_statistics(self, transform: Callable[[Tensor], Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each input channel over training crops, without augmentation.

        The images are divided among the ranks and their sums are added in float64, so that the result does not depend
        on the number of ranks. ``transform`` converts an input batch to other channels first.

        Shape:
            - output: (K,), (K,), float32; K channels of the input, 3 for RGB, or of the output of ``transform``

        Raises:
            UserError: None of the images can be read.
        """
        rank, world = self._rank()
        keys = choose_samples(len(self.files("train")), self.hparams["norm_images"])
        loader, transform = self._loader("train", keys[rank::world]), transform or nn.Identity()
        shape = (1, 3, BLOCK, BLOCK) if self.hparams["input"] == "rgb" else (1, len(self.channel_set), 1, 1)
        batches = (self.on_before_batch_transfer(batch, 0) | {"draws": (None, None)} for batch in loader)
        inputs = (
            transform(self.on_after_batch_transfer(batch, 0)["input"]) for batch in batches if len(batch["index"])
        )
        found = channel_statistics(inputs, transform(torch.zeros(shape)).shape[1], self._add_ranks)
        if found is None:
            raise UserError(f"{self.source.root}: none of the {len(keys)} images for the normalisation can be read")
        return found

    def _add_ranks(self, sums: Tensor) -> Tensor:
        if self._rank()[1] == 1:
            return sums
        strategy = self.trainer.strategy  # type: ignore[union-attr]
        return strategy.reduce(sums.to(strategy.root_device), reduce_op="sum").cpu()  # NCCL adds on GPUs only
