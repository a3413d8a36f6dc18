"""Part 1: what runs differently on a GPU, compared with the CPU."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from dctnet.cli.fit import ExperimentCLI
from dctnet.data.datamodule import FrequencyDataModule
from dctnet.frequency.dct import block_dct
from dctnet.model.gates import sample_gate
from dctnet.model.network import FrequencyNet
from tests.stress.gpu.bench import Bench, Cell, deliver


def difference(found: Tensor, expected: Tensor) -> dict[str, float]:
    """Largest difference, and the norm of the difference as a share of the norm of what is expected."""
    found, expected = found.detach().double().cpu(), expected.detach().double().cpu()
    gap = found - expected
    return {"largest": float(f"{gap.abs().max():.2g}"), "relative": float(f"{gap.norm() / expected.norm():.2g}")}


def dct(bench: Bench) -> dict[str, Any]:
    """Block DCT in each precision against float64 on the CPU; TF32 is float32 with PyTorch's precision ``high``."""
    planes, before = torch.randint(-128, 128, (8, 3, 64, 64)).double(), torch.get_float32_matmul_precision()
    expected, found = block_dct(planes), {}
    for name in ("float32", "bfloat16", "float16", "TF32"):
        torch.set_float32_matmul_precision("high" if name == "TF32" else "highest")
        on_device = planes.to(bench.device, getattr(torch, name, torch.float32))
        found[name] = difference(block_dct(on_device), expected)
    torch.set_float32_matmul_precision(before)
    return found


def gates(bench: Bench) -> dict[str, Any]:
    """Log-odds and mask of both gates against the CPU; mean of sampled masks minus mean probability."""
    found: dict[str, Any] = {}
    for kind in ("static", "dynamic"):
        network = FrequencyNet(["a", "b"], "square-24", 64, gate=kind).eval()
        assert network.gate is not None
        for parameter in network.gate.parameters():
            nn.init.normal_(parameter)
        inputs = torch.randn(64, 24, 8, 8)
        with torch.no_grad():
            expected, mask = network.gate(inputs), network.kept_channels(inputs)
            network, inputs = network.to(bench.device), inputs.to(bench.device)
            logits = network.gate(inputs)
            sampled = torch.stack([sample_gate(logits, 1.0, training=True) for _ in range(200)])
            excess = float(sampled.mean() - logits.sigmoid().mean())
        found[kind] = {
            **difference(logits, expected),
            "equal masks": f"{(network.kept_channels(inputs).cpu() == mask).float().mean():.4f}",
            "sampled minus probability": f"{excess:.1g}",
        }
    return found


def _inputs(device: str, split: str, **options: Any) -> Tensor:
    """The first batch of a split, as the network gets it on a device."""
    data = FrequencyDataModule(batch_size=16, num_workers=0, image_size=96, channels="square-24", **options)
    loader = data.train_dataloader() if split == "train" else data.val_dataloader()
    return deliver(data, next(iter(loader)), device)["input"]


def data_dct(bench: Bench) -> dict[str, Any]:
    """Resampling and DCT on the device against the loader's, with the same crops."""
    root = str(bench.planted())
    expected = _inputs("cpu", "train", root=root)
    return difference(_inputs(bench.device, "train", root=root, dct="device"), expected)


def _store(bench: Bench) -> str:
    return str(bench.packed(bench.planted(), 96, crop_fraction=1.0))


def residency(bench: Bench) -> dict[str, Any]:
    """Crops of a packed store cut on the device against those cut on the CPU."""
    found = {}
    for split in ("train", "val"):
        expected = _inputs("cpu", split, root=_store(bench))
        found[split] = difference(_inputs(bench.device, split, root=_store(bench), residency="device"), expected)
    return found


def fit(bench: Bench, **options: Any) -> ExperimentCLI:
    """A fit on the generated data set, which separates its classes in a few epochs."""
    data = {"data.root": bench.planted(), "data.batch_size": 4 if bench.small else 64}
    data |= {"data.num_workers": min(2, bench.workers), "trainer.max_epochs": 1 if bench.small else 4}
    data["trainer.check_val_every_n_epoch"] = 1  # a validation after the fit would clear the fit's metrics
    return bench.fit("quickstart.yaml", {"name": "paths", **data, **options})


def trains(bench: Bench, packed: bool = False, **options: Any) -> dict[str, Any]:
    """A fit with some options, given as ``part__name``."""
    given = {name.replace("__", "."): value for name, value in options.items()}
    if packed:
        given["data.root"] = _store(bench)
    metrics = fit(bench, **given).trainer.callback_metrics
    return {"top-1": f"{metrics['val_acc1']:.3f}", "images/s": round(float(metrics["images_per_second"]))}


def agreement(bench: Bench) -> dict[str, Any]:
    """Logits and top-1 of a trained network in each precision against float32 on the CPU, on validation images."""
    run = fit(bench, **{"model.gate": "none", "model.keep": "null"})
    network, data = run.model.network.eval().cpu(), run.datamodule
    batches = [deliver(data, batch, "cpu") for batch in data.val_dataloader()]
    expected = _logits(network, batches, "cpu", None)
    right = expected.argmax(1) == torch.cat([batch["target"] for batch in batches])
    found: dict[str, Any] = {"top-1": f"{right.float().mean():.3f}", "images": len(right)}
    for name in ("float32", "contiguous", "bfloat16", "float16"):
        format = torch.contiguous_format if name == "contiguous" else torch.channels_last
        variant = copy.deepcopy(network).to(bench.device, memory_format=format)
        kind = None if name in ("float32", "contiguous") else getattr(torch, name)
        logits = _logits(variant, batches, bench.device, kind)
        same = (logits.argmax(1) == expected.argmax(1)).float().mean()
        found[name] = {**difference(logits, expected), "equal top-1": f"{same:.4f}"}
    return found


@torch.no_grad()
def _logits(network: nn.Module, batches: list[dict[str, Any]], device: str, kind: torch.dtype | None) -> Tensor:
    with torch.autocast(device, kind, enabled=kind is not None):
        return torch.cat([network(batch["input"].to(device)).float().cpu() for batch in batches])


CELLS = (
    Cell("block DCT", 20, dct),
    Cell("gates", 20, gates),
    Cell("resampling and DCT on the GPU", 40, data_dct),
    Cell("packed store on the GPU", 40, residency),
    Cell("trained network", 60, agreement),
    Cell("fit in float32, dynamic gate", 40, trains),
    Cell("fit in bf16-mixed", 40, trains, {"trainer__precision": "bf16-mixed"}),
    Cell("fit in 16-mixed", 40, trains, {"trainer__precision": "16-mixed"}),
    Cell("fit with a static gate", 40, trains, {"model__gate": "static"}),
    Cell("fit without channels_last", 40, trains, {"model__channels_last": "false"}),
    Cell("fit with `--data.dct device`", 40, trains, {"data__dct": "device"}),
    Cell("fit with `--data.residency device`", 40, trains, {"packed": True, "data__residency": "device"}),
    Cell("fit compiled, bf16-mixed", 120, trains, {"model__compile": "true", "trainer__precision": "bf16-mixed"}),
)
