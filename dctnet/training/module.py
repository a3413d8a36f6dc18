"""The LightningModule: trains a FrequencyNet with cross-entropy and the gate's sparsity penalty."""

from collections.abc import Mapping
from typing import Any, Literal, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric, SumMetric

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.errors import UserError, first_line, printable
from dctnet.frequency.channels import NUM_CHANNELS
from dctnet.io.config_checks import Range, check_options
from dctnet.model.backbones.build import Entry
from dctnet.model.metrics import GateStatistics, evaluation_metrics, target_rank
from dctnet.model.network import FrequencyNet, Gate, Input, Stem
from dctnet.model.normalisation import ChannelNorm, Companding
from dctnet.model.patchify import init_as_dct, rgb_channels
from dctnet.model.sparsity import SparsityPenalty
from dctnet.training.callbacks.averaging import MovingAverage
from dctnet.training.callbacks.finite import FiniteCheck, refuse_nonfinite
from dctnet.training.callbacks.steps import StepSeed, TrainingClock
from dctnet.training.lightning_internals import rebuild_loaders_on_resume, restart_after_tuning
from dctnet.training.loss import ClassificationLoss
from dctnet.training.optimizers import build_optimizer
from dctnet.training.progressive import check_sizes

_POSITIVE, _FRACTION = Range(above=0), Range(at_least=0, below=1)
_RANGES = {
    "weights": Range(nullable=True),
    "freeze": Range(nullable=True),
    "keep": Range(at_least=1, nullable=True),
    "sparsity_weight": Range(at_least=0),
    "weight_decay": Range(at_least=0),
    "layer_decay": Range(above=0, at_most=1, nullable=True),
    **dict.fromkeys(("lr", "gate_lr", "tau_start", "tau_end"), _POSITIVE),
    "ema": Range(above=0, below=1, nullable=True),
    **dict.fromkeys(("momentum", "label_smoothing", "warmup", "gate_warmup"), _FRACTION),
}


class FrequencyClassifier(pl.LightningModule):
    """Trains and evaluates a :class:`~dctnet.model.network.FrequencyNet`.

    All arguments are plain values, so that a checkpoint loads under weights-only loading. On the command line
    ``classes``, ``channels`` and ``image_size`` come from the data.

    Args:
        classes: Class names; the position in the list is the target.
        channels: Indices of the input channels; ignored for RGB.
        image_size: Side of the crop in source pixels.
        input: ``channels`` (no stem), or ``rgb`` (the baseline).
        stem: How the RGB baseline reads pixels: ``torchvision`` or ``own``, the network's own stem; ``patchify``, a
            learned 8×8 convolution of stride 8 in place of the channels; ``patchify_dct``, the same, initialised as the
            DCT of all channels.
        backbone: A network of torchvision, such as resnet50, or of timm; docs/backbones.md lists them.
            ``timm/resnet18`` is timm's where both have the name.
        entry: Where the channels enter: ``stem``, in place of the stem; ``stride8``, where the network itself has come
            down to 1/8, without the stages in front.
        layer2_stride: 2, or 1 as in the reference's released models.
        weights: Pretrained weights: a checkpoint of dctnet, whose channels, gate and backbone are then the defaults; or
            RGB weights: a name that torchvision knows, or a file.
        freeze: ``backbone`` trains the head alone: normalisation, gate, entry and body of the network stay as in
            ``weights``, with the statistics of their batch norms.
        gate: ``none``; ``static``, one set of channels for all images; ``dynamic``, a set for each image.
        squeeze: What the dynamic gate reads of each channel: its ``energy``, or its ``mean`` as in the paper.
        companding: Curve behind the normalisation of channels: ``asinh``, logarithmic for large coefficients, or
            ``none``; RGB has none.
        keep: Budget: the number of channels to keep. λ is then controlled automatically.
        sparsity_weight: λ, loss per kept channel; with a budget, its initial value.
        gate_lr: Learning rate of the gate's own Adam.
        gate_warmup: Fraction of training before the sparsity penalty starts.
        tau_start: Gumbel-softmax temperature at the start.
        tau_end: Temperature at the end; it falls geometrically.
        optimizer: ``sgd`` (Nesterov), ``adamw`` or ``lamb``, for the network.
        lr: Peak learning rate.
        momentum: Momentum of SGD.
        weight_decay: Weight decay of weights with two dimensions or more; biases and norms have none.
        layer_decay: Learning rate of each layer as a share of the next one's, 0…1; for fine-tuning. The entry of the
            channels learns at the head's rate. None: all the same.
        warmup: Fraction of training in which the learning rate rises.
        label_smoothing: Label smoothing, 0…1.
        ema: Decay of a moving average of the weights, such as 0.999, which is then what is validated, saved and used.
        compile: Whether to compile the backbone with ``torch.compile``.
        channels_last: Memory format of the backbone.

    Attributes:
        network: The network; it can be used without Lightning.
        validated_at: Step of the last completed validation, or -1.
        weights_loaded: Whether the pretrained weights are loaded, or a resumed checkpoint replaces them.
        training_shape: Trainer options that decide the steps of a training; saved with the checkpoint for resuming.
        step_outputs: Tensors of the last training step, for the check for NaN.

    Raises:
        UserError: An option out of range, or options that exclude each other.

    Source: Xu et al., "Learning in the Frequency Domain", CVPR 2020.
    """

    def __init__(
        self,
        classes: list[str],
        channels: list[int],
        image_size: int = 224,
        input: Input = "channels",
        stem: Stem = "torchvision",
        backbone: str = "resnet18",
        entry: Entry = "stem",
        layer2_stride: Literal[1, 2] = 2,
        weights: str | None = None,
        freeze: Literal["backbone"] | None = None,
        gate: Gate = "none",
        squeeze: Literal["energy", "mean"] = "energy",
        companding: Companding = "none",
        keep: int | None = None,
        sparsity_weight: float = 0.0,
        gate_lr: float = 0.02,
        gate_warmup: float = 0.1,
        tau_start: float = 1.0,
        tau_end: float = 0.5,
        optimizer: Literal["sgd", "adamw", "lamb"] = "sgd",
        lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        layer_decay: float | None = None,
        warmup: float = 0.1,
        label_smoothing: float = 0.1,
        ema: float | None = None,
        compile: bool = False,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        _check_options(self.hparams)
        self.network = FrequencyNet(
            classes,
            channels,
            image_size,
            input,
            stem,
            backbone,
            entry,
            layer2_stride,
            gate,
            squeeze,
            companding,
            channels_last,
        )
        if gate != "none":
            self.sparsity = SparsityPenalty(len(channels), sparsity_weight, keep, gate_warmup)
            self.gate_statistics = GateStatistics(len(channels))
        if freeze:
            self.network.freeze()
        if compile:
            self.network.backbone.compile()
        self.loss = ClassificationLoss(label_smoothing)
        self.evaluation = evaluation_metrics(len(classes))
        self.validated_at = -1
        self.weights_loaded = False
        self.training_shape: dict[str, Any] = {}
        self.step_outputs: dict[str, Tensor] = {}
        # Options of model and data that the optimizer was built for, and with which the fit has started.
        self._optimized_for: Any = None
        self._started_with: Any = None

    @property
    def progress(self) -> float:
        """Fraction of training done, 0…1."""
        return min(1.0, self.trainer.global_step / self.trainer.estimated_stepping_batches)

    @property
    def tau(self) -> float:
        """Gumbel-softmax temperature of the current step."""
        start, end = self.hparams["tau_start"], self.hparams["tau_end"]
        return start * (end / start) ** self.progress

    def forward(self, input: Tensor) -> Tensor:
        """Computes logits (N, classes)."""
        return self.network(input)

    def configure_callbacks(self) -> list[pl.Callback]:
        """Callbacks that every training needs; Lightning asks again before each fit and validation."""
        present = {type(callback) for callback in self.trainer.callbacks}  # type: ignore[attr-defined]
        needed: list[pl.Callback] = [kind() for kind in (StepSeed, FiniteCheck, TrainingClock) if kind not in present]
        if self.hparams["ema"] and MovingAverage not in present and self.trainer.state.fn == "fit":
            needed.append(MovingAverage(self.hparams["ema"]))
        return needed

    def setup(self, stage: str) -> None:
        """Before a fit, takes the classes' weights from the data, and loads pretrained weights.

        Those are loaded once, and not if a checkpoint is resumed.
        """
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if stage == "fit" and isinstance(data, FrequencyDataModule):
            self.loss.class_weights = data.loss_weights()
        if stage == "fit" and not self.weights_loaded:
            self.load_weights()

    def load_weights(self) -> None:
        """Loads the weights that the options name.

        Raises:
            UserError: They cannot be read or do not fit; or the network is frozen and there are none.
        """
        from dctnet.training.checkpoint import load_pretrained  # which imports this module

        if weights := self.hparams["weights"]:
            rank_zero_info(printable(load_pretrained(self.network, weights)))
        elif self.hparams["freeze"]:
            raise UserError("--model.freeze backbone needs trained weights: --model.weights, such as a best.ckpt")
        elif "." in (name := self.network.backbone_name):
            rank_zero_info(f"weights: none taken; {name} names some, which --model.weights {name} takes")
        self.weights_loaded = True

    def _fit_normalisation(self) -> None:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if data is None:
            raise UserError("fit network.normalisation to your data before trainer.fit, or pass a data module")
        self.network.normalisation.fit(*data.channel_statistics())
        if self.hparams["stem"] == "patchify_dct":
            channels = ChannelNorm(NUM_CHANNELS)
            channels.fit(*data.channel_statistics(rgb_channels))
            network = self.network
            init_as_dct(network.entry, network.normalisation.std, channels.std, network.family.init)

    def on_fit_start(self) -> None:
        """Starts again with what a callback has found, such as a learning rate, and logs the network's cost."""
        if self._optimized_for != self._options():
            restart_after_tuning(self.trainer)
        self._started_with = self._options()
        self.validated_at = -1
        cost = self.network.cost()
        rank_zero_info(
            f"{self.hparams['backbone']}: {cost['gmac']:.3f} GMAC, {cost['parameters'] / 1e6:.2f} M parameters, "
            f"{cost['values']:,} input values per image; layers designed for {self.network.native_size} px"
        )
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if data is not None and len(sizes := data.crop_sizes.sizes) > 1:
            if self.trainer.max_steps >= 0:
                raise UserError(
                    "--data.progressive divides the epochs of a training: set --trainer.max_epochs, without "
                    f"--trainer.max_steps {self.trainer.max_steps}, which could end before the full size"
                )
            rank_zero_info(f"equal parts of the epochs on crops of {check_sizes(self.network, sizes)}")

    def on_train_epoch_start(self) -> None:
        """Raises UserError if a callback has changed options within the training, which its schedule would override."""
        if self._started_with not in (None, self._options()):
            raise UserError(
                "a callback changed options within the training; a search for them must end in on_fit_start"
            )

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Computes cross-entropy plus the gate's penalty."""
        count = len(batch["target"])
        if count < 2:
            # Batch statistics need two images. All ranks must still take part in the reductions below.
            rank_zero_warn(f"skipped a training batch with {count} readable images")
            self._update_sparsity(None)
            return torch.stack([p.sum() for p in self.parameters()]).sum() * 0.0
        self.network.tau = self.tau
        logits, gate_logits = self.network.forward_gated(batch["input"])
        loss = self.loss(logits, batch["target"])
        outputs = {"the input": batch["input"], "the gate": gate_logits, "the logits": logits, "the loss": loss}
        self.step_outputs = {name: tensor.detach() for name, tensor in outputs.items() if tensor is not None}
        self.log("train_loss", loss, prog_bar=True, batch_size=count)
        self._update_sparsity(gate_logits)
        if gate_logits is None or self.network.frozen:
            return loss
        penalty = self.sparsity(gate_logits)
        self.log("gate_penalty", penalty, batch_size=count)
        return loss + penalty

    def _update_sparsity(self, gate_logits: Tensor | None) -> None:
        """Updates λ from the gate logits of all ranks; None where this rank has none."""
        if self.network.gate is None or self.network.frozen:
            return
        totals = torch.zeros(3, device=self.device)
        if gate_logits is not None:
            detached = gate_logits.detach().float()
            totals = torch.stack([detached.sigmoid().sum(), (detached > 0).sum(), detached.new_tensor(len(detached))])
        expected, kept, images = self.trainer.strategy.reduce(totals, reduce_op="sum").tolist()
        if images:
            self.sparsity.update(kept / images, self.progress)
            logged = {"expected_kept": expected / images, "kept": kept / images, "tau": self.tau}
            self.log_dict({**logged, "sparsity_weight": self.sparsity.weight})

    def _evaluate(self, batch: dict[str, Any], split: str) -> dict[str, Tensor]:
        # Metric objects are logged for an empty batch, too: at the end of the epoch all ranks must have the same ones.
        metrics = cast(dict[str, Metric], self.evaluation)
        metrics["images"].update(float(len(batch["target"])))
        metrics["skipped"].update(float(len(batch["bad"])))
        rank, logits = batch["target"], torch.empty(0, len(self.hparams["classes"]))
        if len(batch["target"]):
            logits, gate_logits = self.network.forward_gated(batch["input"])
            rank = target_rank(logits, batch["target"])
            metrics["acc1"].update(logits, batch["target"])
            metrics["acc5"].update(logits, batch["target"])
            metrics["loss"].update(F.cross_entropy(logits, batch["target"]), len(logits))
            if gate_logits is not None:
                self.gate_statistics.update(gate_logits)
        for name, metric in metrics.items():
            self.log(f"{split}_{name}", metric, prog_bar=name == "acc1", on_step=False, on_epoch=True)
        return {"index": batch["index"], "rank": rank, "logits": logits}

    def _check_any_image(self, split: str) -> None:
        if not cast(SumMetric, self.evaluation["images"]).compute():
            raise UserError(f"no {split} image is readable, so there is no accuracy")

    def on_validation_epoch_start(self) -> None:
        """Resets the gate statistics; they stay readable until the next validation."""
        if self.network.gate is not None:
            self.gate_statistics.reset()

    def on_validation_epoch_end(self) -> None:
        """Logs the mean number of kept channels; raises UserError if no image was readable."""
        self._check_any_image("validation")
        self.validated_at = self.trainer.global_step
        if self.network.gate is not None:
            self.log("num_kept", self.gate_statistics.compute()["num_kept"], prog_bar=True)

    def on_test_epoch_end(self) -> None:
        """Raises UserError if no image was readable."""
        self._check_any_image("test")

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Updates the validation metrics.

        Returns:
            Of each image ``index`` (N,), the target's ``rank`` (N,), and ``logits`` (N, classes).
        """
        return self._evaluate(batch, "val")

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Updates the test metrics; returns the same as :meth:`validation_step`."""
        return self._evaluate(batch, "test")

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Returns ``index`` (N,), and ``probability`` and ``label`` (N, 5) of the five best classes, best first."""
        classes = len(self.hparams["classes"])
        # Without a readable file the batch is empty, and convolutions reject it.
        logits = self.network(batch["input"]) if len(batch["index"]) else torch.empty(0, classes)
        top = logits.float().softmax(1).topk(min(5, classes))
        return {"index": batch["index"], "probability": top.values, "label": top.indices}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the training shape; raises UserError if a weight or the optimizer's state is not finite."""
        refuse_nonfinite(checkpoint, self.trainer.global_step)
        checkpoint["training"] = self.training_shape

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Renames the weights of older checkpoints."""
        checkpoint["state_dict"] = upgrade_state_dict(checkpoint["state_dict"])

    def _options(self) -> tuple[dict[str, Any], dict[str, Any]]:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        return dict(self.hparams), {} if data is None else dict(data.hparams)

    def configure_optimizers(self) -> Any:
        """SGD, AdamW or LAMB with warm-up and cosine for the network, Adam at a constant rate for the gate.

        Fits the normalisation first, unless a checkpoint brought it: this is the last hook before ``on_fit_start`` of
        the callbacks, in which some of them train.
        """
        try:
            total = self.trainer.estimated_stepping_batches
        except UserError:  # of the data, which Lightning asks for its loader
            raise
        except (ValueError, MisconfigurationException) as error:
            raise UserError(f"--trainer: {first_line(error)}") from error
        if total == float("inf"):
            raise UserError("the learning rate schedule needs an end: set --trainer.max_epochs or --trainer.max_steps")
        if not self.network.normalisation.fitted:
            self._fit_normalisation()
        rebuild_loaders_on_resume(self.trainer)
        network = self.network
        entry = None if network.own_stem else network.family.entry
        optimizer, schedule = build_optimizer(network.backbone, network.gate, self.hparams, int(total), entry)
        self._optimized_for, self._started_with = self._options(), None
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _check_options(options: Mapping[str, Any]) -> None:
    check_options("model", options, _RANGES)
    if options["layer_decay"] is not None and options["freeze"]:
        raise UserError(f"--model.layer_decay {options['layer_decay']}: with --model.freeze only the head is trained")
    keep, offered = options["keep"], len(options["channels"])
    if options["gate"] == "none" and (keep is not None or options["sparsity_weight"]):
        raise UserError("--model.keep and --model.sparsity_weight need --model.gate static or dynamic")
    if keep is not None and keep > offered:
        raise UserError(f"--model.keep must be at most {offered}, the number of input channels; got {keep}")


def upgrade_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Renames the weights of a checkpoint that was written when the LightningModule itself was the network."""
    parts = ("normalisation.", "gate.", "backbone.")
    return {f"network.{name}" if name.startswith(parts) else name: value for name, value in state.items()}
