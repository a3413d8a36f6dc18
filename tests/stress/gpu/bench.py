"""What the parts share: device, sizes, data and fits; and cells, which are measured once and recorded at once."""

import gc
import json
import os
import platform
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from dctnet import __version__
from dctnet.cli.fit import ExperimentCLI, run_experiment
from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.folders import list_files
from dctnet.data.packed.writer import pack
from dctnet.data.planted import make_planted
from dctnet.errors import first_line
from dctnet.io.atomic import atomic_write
from dctnet.signals import SignalRecorder

ROOT = Path(__file__).parents[3]
COUNT = "files.txt"  # in each part of a divided folder of photographs: the number of files of the whole


class NotRun(Exception):
    """A measurement cannot be made now; the reason."""


@dataclass(frozen=True)
class Bench:
    """On what and where to measure."""

    device: str  # cuda, or cpu to try the program
    small: bool  # few and small images
    data: Path | None  # photographs with train/, val/ and test/
    recipe: Path  # of the benchmark
    out: Path  # results
    scratch: Path  # everything else; its loss costs time only
    deadline: float  # on the clock of time.monotonic

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.deadline - time.monotonic()

    @property
    def accelerator(self) -> str:
        """The device, as ``--trainer.accelerator``."""
        return "gpu" if self.device == "cuda" else "cpu"

    @property
    def workers(self) -> int:
        """Decoding processes."""
        return 0 if self.small else os.cpu_count() or 1

    @property
    def batch(self) -> int:
        """Images per batch."""
        return 4 if self.small else 128

    def size(self, side: int) -> int:
        """Side of the crops in pixels."""
        return 128 if self.small else side

    def photographs(self) -> Path:
        """The folder of photographs, if it is given and complete."""
        if self.data is None:
            raise NotRun("needs --data")
        count = self.data / COUNT
        if count.exists() and (found := len(list_files(self.data)) - 1) != int(count.read_text()):
            raise NotRun(f"{self.data} has {found} of {count.read_text().strip()} files: add the other parts")
        return self.data

    def planted(self) -> Path:
        """The generated data set."""
        return make_planted(self.scratch / "planted", 0, *((8, 4) if self.small else (150, 50)))

    def packed(self, source: Path, size: int, **options: Any) -> Path:
        """A packed store of ``square-24`` of a folder, made once."""
        store, workers = self.scratch / f"packed-{source.name}-{size}", 1 if self.small else None
        options |= {"channels": "square-24", "image_size": size, "workers": workers}
        pack(str(source), str(store), shard_bytes=32 << 20, **options)  # small shards: one worker writes each
        return store

    def fit(self, recipe: str, options: Mapping[str, Any]) -> ExperimentCLI:
        """Runs ``dctnet fit`` on one device with a recipe of ``configs/`` and other options."""
        common = {"out_dir": self.scratch / "runs", "data.download": "null", "trainer.accelerator": self.accelerator}
        common |= {"trainer.devices": 1, "trainer.strategy": "auto", "trainer.enable_progress_bar": "false"}
        given = [f"--{name}={value}" for name, value in (common | dict(options)).items()]
        with SignalRecorder() as signals:
            return run_experiment(["fit", "--config", str(ROOT / "configs" / recipe), *given], signals)

    def synchronize(self) -> None:
        """Waits for the device."""
        if self.device == "cuda":
            torch.cuda.synchronize()


@dataclass(frozen=True)
class Cell:
    """One measurement: ``measure(bench, **options)`` returns figures by name."""

    name: str
    seconds: float  # estimated for an H100 with 16 cores, generously; it is not started with less time left
    measure: Callable[..., dict[str, Any]]
    options: dict[str, Any] = field(default_factory=dict)


def deliver(data: FrequencyDataModule, batch: dict[str, Any], device: str) -> dict[str, Any]:
    """A loader's batch on the device, as the Trainer delivers it to the module."""
    batch = data.transfer_batch_to_device(data.on_before_batch_transfer(batch, 0), torch.device(device), 0)
    return data.on_after_batch_transfer(batch, 0)


def read_part(out: Path, part: str) -> dict[str, Any]:
    """The results of a part: ``machine``, and ``cells`` by name."""
    path = out / f"{part}.json"
    return json.loads(path.read_text()) if path.exists() else {"machine": "", "cells": {}}


def run_part(bench: Bench, part: str, cells: Iterable[Cell]) -> int:
    """Makes the missing measurements of a part, then those that failed before; returns how many failed."""
    content = read_part(bench.out, part)
    content["machine"], done = _machine(bench), content["cells"]
    for cell in sorted(cells, key=lambda cell: "failed" in done.get(cell.name, {})):
        if "seconds" not in done.get(cell.name, {}):
            done[cell.name] = _measure(bench, cell)
            atomic_write(bench.out / f"{part}.json", json.dumps(content, indent=1, ensure_ascii=False).encode())
        print(f"{part}, {cell.name}: {describe(done[cell.name])}", flush=True)
    return sum("failed" in done[cell.name] for cell in cells)


def _measure(bench: Bench, cell: Cell) -> dict[str, Any]:
    began = time.monotonic()
    try:
        if bench.left < cell.seconds:
            raise NotRun(f"takes {cell.seconds:.0f} s, {max(0, bench.left):.0f} s were left")
        return {**cell.measure(bench, **cell.options), "seconds": round(time.monotonic() - began, 1)}
    except NotRun as reason:
        return {"not run": str(reason)}
    except Exception as error:  # the other measurements do not depend on it
        traceback.print_exc()
        return {"failed": first_line(error)}
    finally:
        if bench.device == "cuda":
            gc.collect()
            torch.cuda.empty_cache()


def _machine(bench: Bench) -> str:
    name = torch.cuda.get_device_name() if bench.device == "cuda" else platform.machine()
    packages = ", ".join(f"{each} {version(each)}" for each in ("torch", "torchvision", "pytorch-lightning"))
    data = f"photographs of {bench.data.name}" if bench.data else "generated photographs"
    return (
        f"{name}, {os.cpu_count()} cores; Python {platform.python_version()}, {packages}, dctnet {__version__}; {data}"
    )


def describe(result: Mapping[str, Any]) -> str:
    """The figures of a measurement on one line, without its duration."""
    if why := next((name for name in ("failed", "not run") if name in result), None):
        return f"{why}: {result[why]}"
    figures = {name: value for name, value in result.items() if name != "seconds"}
    parts = [f"{name} ({describe(v)})" if isinstance(v, dict) else f"{name} {v}" for name, v in figures.items()]
    return ", ".join(parts) or "not run"
