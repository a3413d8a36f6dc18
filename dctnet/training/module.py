"""The LightningModule: normalisation, gate, backbone; loss, metrics, optimisers."""

import math
import time
from typing import Any, Literal, cast

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric, SumMetric

from dctnet.errors import UserError
from dctnet.frequency.channels import NUM_CHANNELS
from dctnet.frequency.dct import BLOCK
from dctnet.model.backbones import BACKBONES, build_backbone, build_rgb_backbone, entry_of, warm_start
from dctnet.model.config_checks import check_options
from dctnet.model.gates import DynamicGate, StaticGate, sample_gate
from dctnet.model.metrics import GateStatistics, count_gmac, evaluation_metrics, rank_of
from dctnet.model.normalisation import ChannelNorm
from dctnet.model.patchify import init_as_dct, rgb_channels
from dctnet.model.sparsity import SparsityPenalty
from dctnet.training.nonfinite import all_finite, first_not_finite, named_tensors
from dctnet.training.optimizers import JointOptimizer, network_optimizer, warmup_cosine


class FrequencyClassifier(pl.LightningModule):
    """Classifies images by their frequency channels, and learns which of them it needs.

    All arguments are plain values, so that a checkpoint loads by itself under weights-only loading. On the command line
    ``classes``, ``channels`` and ``image_size`` come from the data.

    Args:
        classes: Class names; the place in the list is the target.
        channels: Indices of the channels that come in; read for their number and kept for the mask. Not read for RGB.
        image_size: Side of the crop in source pixels.
        input: ``channels`` (no stem), or ``rgb`` (the baseline).
        stem: What reads RGB: ``torchvision``, the network as it is; ``patches``, a learned 8×8 convolution of stride 8
            where channels would enter; ``patches_dct``, the same, started as the DCT of all 192 channels.
        scale: Normalise by a scale for each ``channel``, or by a ``common`` one.
        backbone: resnet18/34/50/101/152, resnext50_32x4d, wide_resnet50_2 or mobilenet_v2.
        layer2_stride: 2, or 1 as the reference released it.
        weights: RGB weights to start from: a name torchvision knows, or a file.
        gate: ``none``; ``static``, one set of channels for all images; ``dynamic``, one for each image.
        squeeze: What the dynamic gate reads: ``energy`` of each channel, or its ``mean`` as in the paper.
        keep: Budget: aim at this many channels. λ is then steered.
        sparsity_weight: λ, loss per kept channel.
        gate_lr: Learning rate of the gate's own Adam.
        gate_warmup: Share of the training before λ bites.
        tau_start: Gumbel-softmax temperature at the start.
        tau_end: The same at the end; between them it falls geometrically.
        optimizer: ``sgd`` (Nesterov) or ``adamw``, for the network.
        lr: Peak learning rate.
        momentum: Of SGD.
        weight_decay: On weights of two dimensions or more; biases and norms have none.
        warmup: Share of the training in which the learning rate rises.
        label_smoothing: 0…1.
        compile: Compile the backbone by ``torch.compile``.
        channels_last: Memory format of the backbone.

    Shape:
        - input: (N, K, S/8, S/8), K channels; RGB: (N, 3, S, S), 0 … 255
        - output: (N, number of classes)

    Raises:
        UserError: An option that cannot be, or two that cannot be together.

    Source: Xu et al., "Learning in the Frequency Domain", CVPR 2020.
    """

    def __init__(
        self,
        classes: list[str],
        channels: list[int],
        image_size: int = 224,
        input: Literal["channels", "rgb"] = "channels",
        stem: Literal["torchvision", "patches", "patches_dct"] = "torchvision",
        scale: Literal["channel", "common"] = "channel",
        backbone: Literal[BACKBONES] = "resnet18",  # type: ignore[valid-type]
        layer2_stride: Literal[1, 2] = 2,
        weights: str | None = None,
        gate: Literal["none", "static", "dynamic"] = "none",
        squeeze: Literal["energy", "mean"] = "energy",
        keep: int | None = None,
        sparsity_weight: float = 0.0,
        gate_lr: float = 0.02,
        gate_warmup: float = 0.1,
        tau_start: float = 1.0,
        tau_end: float = 0.5,
        optimizer: Literal["sgd", "adamw"] = "sgd",
        lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        warmup: float = 0.1,
        label_smoothing: float = 0.1,
        compile: bool = False,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_options(self.hparams)
        num_inputs, num_classes = 3 if input == "rgb" else len(channels), len(classes)
        self.normalisation = ChannelNorm(num_inputs, scale == "common")
        self.gate: nn.Module | None = None
        if gate != "none":
            self.gate = StaticGate(num_inputs) if gate == "static" else DynamicGate(num_inputs, squeeze)
            self.sparsity = SparsityPenalty(num_inputs, sparsity_weight, keep, gate_warmup)
            self.gate_statistics = GateStatistics(num_inputs)
        if input == "rgb" and stem == "torchvision":
            self.backbone = build_rgb_backbone(backbone, num_classes)
        else:
            patch = BLOCK if input == "rgb" else 1
            self.backbone = build_backbone(backbone, num_inputs, num_classes, layer2_stride, patch)
        if channels_last:
            self.backbone.to(memory_format=torch.channels_last)
        if compile:
            self.backbone.compile()
        self.loss = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
        self.evaluation = evaluation_metrics(num_classes)
        self.validated_at = -1
        self.training_shape: dict[str, Any] = {}  # travels with the checkpoint, for whoever resumes it

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what comes in."""
        size = self.hparams["image_size"]
        return (
            (3, size, size) if self.hparams["input"] == "rgb" else (len(self.hparams["channels"]), size // 8, size // 8)
        )

    def cost(self) -> dict[str, float]:
        """``gmac`` of one image, counted; ``parameters``; ``values``, how many numbers an image comes in as."""
        shape = self.input_shape
        parameters = sum(p.numel() for p in self.parameters())
        return {"gmac": count_gmac(self.backbone, shape), "parameters": parameters, "values": math.prod(shape)}

    @property
    def progress(self) -> float:
        """Share of the training done, 0…1."""
        return min(1.0, self.trainer.global_step / self.trainer.estimated_stepping_batches)

    @property
    def tau(self) -> float:
        """The temperature now."""
        start, end = self.hparams["tau_start"], self.hparams["tau_end"]
        return start * (end / start) ** self.progress

    def forward(self, input: Tensor, tau: float = 1.0) -> tuple[Tensor, Tensor | None]:
        """Logits (N, classes), and the gate's log-odds (N, C) where there is a gate."""
        normalised = self.normalisation(input)
        if self.gate is None:
            return self.backbone(normalised), None
        # In float32: a probability near one has no bits to move by in bfloat16.
        with torch.autocast(input.device.type, enabled=False):
            gate_logits = self.gate(normalised)
            mask = sample_gate(gate_logits, tau, self.training)
        return self.backbone(normalised * mask[..., None, None]), gate_logits

    def on_fit_start(self) -> None:
        """Fits the normalisation unless the checkpoint brought it, and says what this network costs."""
        self._fit_started = self._started = time.perf_counter()
        self._images = 0
        self._computed: dict[str, Tensor | None] = {}
        if not self.normalisation.fitted:
            data = self.trainer.datamodule  # type: ignore[attr-defined]
            self.normalisation.fit(*data.channel_statistics())
            if self.hparams["stem"] == "patches_dct":
                channels = ChannelNorm(NUM_CHANNELS)
                channels.fit(*data.channel_statistics(rgb_channels))
                init_as_dct(entry_of(self.backbone), self.normalisation.std, channels.std)
        cost = self.cost()
        rank_zero_info(
            f"{self.hparams['backbone']}: {cost['gmac']:.3f} GMAC, {cost['parameters'] / 1e6:.2f} M parameters, "
            f"{cost['values']:,} input values an image"
        )

    def setup(self, stage: str) -> None:
        """Loads RGB weights before a fit; a checkpoint, if one is given, comes after and wins."""
        if stage == "fit" and self.hparams["weights"]:
            loaded = warm_start(self.backbone, self.hparams["backbone"], self.hparams["weights"])
            for what, names in loaded.items():
                rank_zero_info(f"{self.hparams['weights']}: {len(names)} tensors {what}: {', '.join(names)}")

    def on_train_batch_start(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Seeds what this step will draw, gate noise and dropout, so that a resumed training draws the same."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        key = (data.hparams["seed"] if data else 0, self.trainer.global_step, batch_idx, self.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]) >> 1)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Cross-entropy, plus the gate's penalty."""
        count = len(batch["target"])
        self._images += count
        if count < 2:
            # Bad files left too little for batch statistics. All ranks must take part in what follows all the same.
            rank_zero_warn(f"a batch with {count} readable images is not trained on")
            self._steer(None)
            return torch.stack([p.sum() for p in self.parameters()]).sum() * 0.0
        logits, gate_logits = self(batch["input"], self.tau if self.gate else 1.0)
        loss = self.loss(logits, batch["target"])
        self._computed = {"the input": batch["input"], "the gate": gate_logits, "the logits": logits, "the loss": loss}
        self.log("train_loss", loss, prog_bar=True, batch_size=count)
        self._steer(gate_logits)
        if gate_logits is None:
            return loss
        penalty = self.sparsity(gate_logits)
        self.log("gate_penalty", penalty, batch_size=count)
        return loss + penalty

    def _steer(self, gate_logits: Tensor | None) -> None:
        """Steers λ by the images of all ranks; without logits, by those of the others."""
        if self.gate is None:
            return
        totals = torch.zeros(3, device=self.device)
        if gate_logits is not None:
            detached = gate_logits.detach().float()
            totals = torch.stack([detached.sigmoid().sum(), (detached > 0).sum(), detached.new_tensor(len(detached))])
        expected, kept, images = self.trainer.strategy.reduce(totals, reduce_op="sum").tolist()
        if images:
            self.sparsity.steer(kept / images, self.progress)
            logged = {"expected_kept": expected / images, "kept": kept / images, "tau": self.tau}
            self.log_dict({**logged, "sparsity_weight": self.sparsity.weight})

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Stops at a gradient that is not finite, and names what was so first. Of float16 the scaler takes care."""
        computed = {name: tensor for name, tensor in self._computed.items() if tensor is not None}
        self._computed = {}
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        if all_finite(computed.values() if scaled else (p.grad for p in self.parameters() if p.grad is not None)):
            return
        # From the loss back to the input, as they were computed.
        named = reversed(list(self.named_parameters()))
        gradients = {f"the gradient of {name}": p.grad for name, p in named if p.grad is not None}
        raise UserError(
            f"step {self.trainer.global_step + 1}: {first_not_finite(computed | gradients)}, so this step is not made; "
            "the last checkpoint is finite. A lower --model.lr or --trainer.gradient_clip_val may help"
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the shape of the training; refuses to save weights, or an optimiser's state, that are not finite."""
        checkpoint["training"] = self.training_shape
        moments = dict(named_tensors("the optimiser's", checkpoint.get("optimizer_states", [])))
        if wrong := first_not_finite(checkpoint["state_dict"] | moments):
            raise UserError(
                f"step {self.trainer.global_step}: {wrong}, so it is not saved; the last checkpoint is finite"
            )

    def on_train_epoch_start(self) -> None:
        """Starts the clock for images a second."""
        self._images, self._started = 0, time.perf_counter()

    def on_validation_start(self) -> None:
        """Stops that clock: validation lies within the training epoch."""
        self._paused = time.perf_counter()

    def on_validation_end(self) -> None:
        """Lets it go on."""
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            self._started += time.perf_counter() - self._paused

    def on_train_epoch_end(self) -> None:
        """Logs images a second over all ranks, and the seconds since the fit began, validation and all."""
        rate = self._images / (time.perf_counter() - self._started)
        self.log("images_per_second", rate, sync_dist=True, reduce_fx="sum")
        self.log("seconds", time.perf_counter() - self._fit_started)

    def _evaluate(self, batch: dict[str, Any], split: str) -> dict[str, Tensor]:
        # Metric objects, logged also for an empty batch: at the end of the epoch each rank must have the same ones.
        metrics = cast(dict[str, Metric], self.evaluation)
        metrics["images"].update(float(len(batch["target"])))
        metrics["skipped"].update(float(len(batch["bad"])))
        rank = batch["target"]
        if len(batch["target"]):
            logits, gate_logits = self(batch["input"])
            rank = rank_of(logits, batch["target"])
            metrics["acc1"].update(logits, batch["target"])
            metrics["acc5"].update(logits, batch["target"])
            metrics["loss"].update(F.cross_entropy(logits, batch["target"]), len(logits))
            if gate_logits is not None:
                self.gate_statistics.update(gate_logits)
        for name, metric in metrics.items():
            self.log(f"{split}_{name}", metric, prog_bar=name == "acc1", on_step=False, on_epoch=True)
        return {"index": batch["index"], "rank": rank}

    def _refuse_nothing(self, split: str) -> None:
        if not cast(SumMetric, self.evaluation["images"]).compute():
            raise UserError(f"none of the {split} images can be read, so there is no accuracy")

    def on_validation_epoch_start(self) -> None:
        """Forgets the gate statistics of the last pass; they stay readable until the next."""
        if self.gate is not None:
            self.gate_statistics.reset()

    def on_validation_epoch_end(self) -> None:
        """Logs the mean number of kept channels; refuses a validation over no image."""
        self._refuse_nothing("validation")
        self.validated_at = self.trainer.global_step
        if self.gate is not None:
            self.log("num_kept", self.gate_statistics.compute()["num_kept"], prog_bar=True)

    def on_test_epoch_end(self) -> None:
        """Refuses a test over no image."""
        self._refuse_nothing("test")

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Accuracy over the images that could be read, and how many could not; ``rank`` of the right class of each."""
        return self._evaluate(batch, "val")

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """The same, on the test images."""
        return self._evaluate(batch, "test")

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Probabilities and classes of the five likeliest, best first, with the place of each file."""
        classes = len(self.hparams["classes"])
        # An empty batch, all of whose files are bad, passes through no convolution.
        logits = self(batch["input"])[0] if len(batch["index"]) else torch.empty(0, classes)
        top = logits.float().softmax(1).topk(min(5, classes))
        return {"index": batch["index"], "probability": top.values, "label": top.indices}

    def configure_optimizers(self) -> Any:
        """SGD or AdamW with warm-up and cosine for the network, Adam at a constant rate for the gate."""
        total = self.trainer.estimated_stepping_batches
        if total == float("inf"):
            raise UserError("the schedule needs an end: set --trainer.max_epochs or --trainer.max_steps")
        if self.trainer.ckpt_path:
            # Asking has made Lightning start the loader, of epoch 0. After a resumption it is another: start anew then.
            self.trainer.fit_loop._combined_loader = None
        network = network_optimizer(self.backbone, self.hparams)
        optimizer, gates = network, 0
        if self.gate is not None:
            adam = torch.optim.Adam(self.gate.parameters(), lr=self.hparams["gate_lr"])
            optimizer, gates = JointOptimizer(network, adam), len(adam.param_groups)
        warmup = int(self.hparams["warmup"] * total)
        cosine = [lambda step: warmup_cosine(step, warmup, int(total))] * len(network.param_groups)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, cosine + [lambda step: 1.0] * gates)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
