"""Gives malicious files to every verb that reads them: no code may run, and no file outside the folder may change.

    python -m tests.adversarial.payloads

The files: checkpoints and weights whose pickles call functions; checkpoints with malicious options, paths, sizes or
progress; masks; archives. Each payload creates a marker file if it runs. As a control, the pickles are loaded without
weights-only loading, and the archives extracted without a filter.
"""

import builtins
import collections
import contextlib
import io
import json
import logging
import os
import pickle
import resource
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from dctnet.cli import main as dctnet
from dctnet.data.download import fetch
from dctnet.errors import UserError
from dctnet.studies.accuracy.evaluate import main as evaluate
from tests.conftest import make_photos
from tests.data.test_download import malicious_archives
from tests.small_backbones import small_backbones

FIT = shlex.split("""--data.root photos --data.channels zigzag-6 --data.image_size 32 --data.batch_size 6
    --data.num_workers 0 --model.gate static --model.keep 3 --trainer.max_epochs {epochs} --trainer.accelerator cpu
    --trainer.enable_progress_bar false --out_dir out""")
QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]
Verb = Callable[[list[str]], int]


class Call:
    """Is pickled as a call of a function."""

    def __init__(self, function: Callable, *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> tuple[Callable, tuple]:
        return self.function, self.args


def calls(marker: Path) -> dict[str, Call]:
    """Calls that create the marker, by name."""
    return {
        "os.system": Call(os.system, f"touch {marker}"),
        "eval": Call(builtins.eval, f"open({str(marker)!r}, 'w')"),
        "exec": Call(builtins.exec, f"open({str(marker)!r}, 'w').close()"),
        "open": Call(builtins.open, str(marker), "w"),
        "subprocess": Call(subprocess.call, ["touch", str(marker)]),
        "touch": Call(Path.touch, marker),
    }


def pickles(folder: Path, marker: Path, content: dict[str, Any]) -> Iterator[tuple[str, Path]]:
    """Checkpoints with a call: each call in each format of torch.save, and one call in each part of a checkpoint."""
    formats: dict[str, dict[str, Any]] = {
        "zip": {}, "legacy": {"_use_new_zipfile_serialization": False}, "protocol4": {"pickle_protocol": 4},
    }  # fmt: skip
    path = folder / "pickle.ckpt"
    for name, call in calls(marker).items():
        for form, options in formats.items():
            torch.save({**content, "x": call}, path, **options)
            yield f"{name}, {form}", path
        path.write_bytes(pickle.dumps({**content, "state_dict": {}, "optimizer_states": [], "x": call}))
        yield f"{name}, bare pickle", path
    for part in ("hyper_parameters", "datamodule_hyper_parameters", "callbacks", "loops", "state_dict"):
        torch.save({**content, part: {**content[part], "x": calls(marker)["os.system"]}}, path)
        yield f"os.system in {part}", path


def forged_options(precious: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Malicious options of model and data: the part of the checkpoint, and the options to change."""
    nested: list[Any] = ["ha"]
    for _ in range(60):
        nested = [nested] * 10  # small in memory, 10^60 elements when printed
    many = ["a"] * 10**6
    model: list[dict[str, Any]] = [
        {"class_path": "os.system"}, {"_instantiator": "os.system"}, {"_class_path": "subprocess.Popen"},
        {"weights": {"class_path": "subprocess.Popen", "init_args": {"args": "true"}}}, {"classes": nested},
        {"classes": many}, {"classes": ["x" * 10**6] * 1000}, {"classes": ["\ud800", "b", "c"]}, {"classes": "abc"},
        {"channels": nested}, {"channels": [0] * 10**6}, {"channels": [192]}, {"channels": [-1]}, {"channels": ["a"]},
        {"image_size": 10**9}, {"image_size": "32"}, {"image_size": 10**400}, {"image_size": -8}, {"keep": 10**9},
        {"backbone": "os.system"}, {"backbone": "mobilenet_v2"}, {"compile": "os.system"}, {"lr": "nan"},
        {"gate": nested}, {"input": ["rgb"]}, {"squeeze": "x"}, {"layer2_stride": 10**9}, {1: 2},
    ]  # fmt: skip
    data: list[dict[str, Any]] = [
        {"class_path": "os.system"}, {"_instantiator": "os.system"}, {"root": {"class_path": "os.system"}},
        {"root": "http://127.0.0.1:9/x"}, {"root": "a" * 10**6}, {"root": str(precious / "new"), "download": "planted"},
        {"root": str(precious), "download": "imagenette"}, {"num_workers": -1}, {"num_workers": "2"},
        {"batch_size": 10**9}, {"batch_size": 0}, {"classes": nested}, {"classes": many}, {"norm_images": "x"},
        {"decoder": "os.system"}, {"source": "http://x"}, {"residency": "ram"}, {"crop_fraction": float("nan")},
        {"crop_fraction": 1e-300}, {"min_scale": -1.0}, {"unknown": 1},
    ]  # fmt: skip
    yield from (("hyper_parameters", changes) for changes in model)
    yield from (("datamodule_hyper_parameters", changes) for changes in data)


def forged(content: dict[str, Any], precious: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Checkpoints of plain values and tensors with malicious options, paths, weights or progress."""
    for part, changes in forged_options(precious):
        name = f"{part} {str(dict.fromkeys(changes, '…'))[:60]}"
        yield name, {**content, part: {**content[part], **changes}}
    run = f"{Path.cwd()}/out/run/version_0"
    for key in ("best_model_path", "kth_best_model_path", "last_model_path", "best_k_models"):
        for path in (f"local://{precious}", f"file://{precious}", f"local::{precious}", f"{run}/../../../../precious"):
            value = {path: torch.tensor(0.0)} if key == "best_k_models" else path
            states = {name: {**state, key: value} for name, state in content["callbacks"].items()}
            yield f"{key} {path[:20]}", {**content, "callbacks": states}
    weights = content["state_dict"]
    first = next(iter(weights))
    for name, tensor in {"shape": torch.zeros(7), "size": torch.zeros(1).expand(10**6, 10**6), "text": "x"}.items():
        yield f"weights, {name}", {**content, "state_dict": {**weights, first: tensor}}
    yield "no weights", {**content, "state_dict": {}}
    yield "hparams", {**content, "hparams": {"_instantiator": "os.system"}}
    for part in ("loops", "optimizer_states", "lr_schedulers", "callbacks", "state_dict", "training", "left_out",
                 "epoch", "global_step", "pytorch-lightning_version", "FrequencyDataModule"):  # fmt: skip
        yield f"no {part}", {key: value for key, value in content.items() if key != part}
        for value in (None, 5, -(10**30), "x", {}, [], [{}], {"train": {"sha256": "x"}}, {"val": {"a": 5}}):
            yield f"{part} {value!r:.20}", {**content, part: value}
    loop = content["loops"]["fit_loop"]
    for key in loop:
        for value in (None, -1, "x", {}, {**loop[key], "current": 5, "total": {}}):
            yield f"loop's {key} {value!r:.20}", {**content, "loops": {"fit_loop": {**loop, key: value}}}


def bombs(folder: Path) -> Iterator[tuple[str, Path]]:
    """Small files that request gigabytes of memory."""
    raw = b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R."  # bytearray(2**31 - 1)
    for name, method, content in (
        ("bytearray", zipfile.ZIP_STORED, raw),
        ("deflated", zipfile.ZIP_DEFLATED, b"N." * 10**7),
    ):
        with zipfile.ZipFile(folder / f"{name}.ckpt", "w", method) as archive:
            archive.writestr("archive/data.pkl", content)
            archive.writestr("archive/version", "3\n")
        yield name, folder / f"{name}.ckpt"
    (folder / "bare.ckpt").write_bytes(raw)
    yield "bare bytearray", folder / "bare.ckpt"


def masks(folder: Path) -> Iterator[tuple[str, Path]]:
    """Invalid mask files."""
    valid = {"format": "dctnet-mask", "version": 1, "block_size": 8, "components": ["Y", "Cb", "Cr"],
             "index": "64*component + 8*v + u", "channels": [0], "keep_probability": None, "source": {}}  # fmt: skip
    texts = {
        "nan": json.dumps({**valid, "keep_probability": [float("nan")] * 192}),
        "huge float": json.dumps(valid).replace("null", f"[{', '.join(['1e999'] * 192)}]"),
        "repeated": json.dumps({**valid, "channels": [1, 1]}),
        "out of range": json.dumps({**valid, "channels": [10**30]}),
        "many digits": json.dumps(valid).replace("[0]", f"[{'9' * 5000}]"),
        "deep": "[" * 10**5, "deep objects": '{"a":' * 40_000, "duplicate key": '{"format": 1, "format": 2}',
        "deep source": json.dumps(valid).replace('"source": {}', '"source": ' + "[" * 900 + "]" * 900),
        "surrogate": json.dumps({**valid, "\ud800": 1}), "line feed": json.dumps({**valid, "a\ndctnet: forged": 1}),
    }  # fmt: skip
    for name, text in texts.items():
        (folder / f"{name}.json").write_text(text)
        yield name, folder / f"{name}.json"
    with open(folder / "gigabytes.json", "wb") as file:
        file.truncate(1 << 36)
    yield "gigabytes", folder / "gigabytes.json"


class Trial:
    """Gives files to commands and counts the outcomes.

    Args:
        folder: The current folder, empty.

    Attributes:
        marker: Is created by a payload that runs.
        precious: A folder that no command may change.
        own: A valid checkpoint.
        content: Its content.
        counts: Number of each outcome, by group of files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.marker, self.precious = folder, folder / "marker", folder / "precious"
        self.counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        make_photos(folder / "photos", 4, 2)
        self._make_precious()
        self.own = folder / "out/run/version_0/last.ckpt"
        assert self.run(["fit", *FIT])[0] == 0
        self.content = torch.load(self.own, weights_only=True)

    def _make_precious(self) -> None:
        shutil.rmtree(self.precious, ignore_errors=True)
        self.precious.mkdir()
        (self.precious / "file").write_text("mine")

    def run(self, command: list[str], verb: Verb = dctnet) -> tuple[Any, str]:
        """Runs a command; returns its status or exception, and its standard error from ``dctnet: `` on."""
        error_output = io.StringIO()
        with contextlib.ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings(action="ignore"))
            stack.enter_context(mock.patch.object(sys, "argv", ["dctnet"]))
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(contextlib.redirect_stderr(error_output))
            try:
                status: Any = verb([part.format(epochs=2 if "--ckpt_path" in command else 1) for part in command])
            except (Exception, SystemExit) as error:
                status = error
        return status, "dctnet: ".join(error_output.getvalue().partition("dctnet: ")[1:])

    def give(self, group: str, name: str, command: list[str], verb: Verb = dctnet) -> str:
        """Runs a command on a malicious file, counts the outcome, and returns the error message."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        status, message = self.run(command, verb)
        outcome = "accepted" if status == 0 else "refused" if status == 2 and message.count("\n") == 1 else "traceback"
        faults = {
            "executed": self.marker.exists(),
            "escaped": [path.name for path in self.precious.glob("*")] != ["file"],
            "over 2 GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > 2 << 20,
        }
        self.marker.unlink(missing_ok=True)
        self._make_precious()
        self.counts[group] += collections.Counter({"tried": 1, outcome: 1, **faults})
        if outcome == "traceback" or any(faults.values()):
            print(f"{group}: {name}: {command[0]}: {outcome}, {faults}: {status!r:.300} {message:.300}", flush=True)
        return message

    def verbs(self, path: Path) -> dict[str, tuple[list[str], Verb]]:
        """Every command that reads a checkpoint."""
        fit, images, result = self.folder / "fit.yaml", self.folder / "images.csv", self.folder / "result.json"
        fit.write_text("trainer: {accelerator: cpu}\n")
        return {
            "resume": (["fit", *FIT, "--ckpt_path", str(path)], dctnet),
            "validate": (["validate", "--ckpt_path", str(path), *QUIET], dctnet),
            "test": (["test", "--ckpt_path", str(path), *QUIET], dctnet),
            "predict": (["predict", "--ckpt_path", str(path), "--data.root", "photos/val", *QUIET], dctnet),
            "export-mask": (["export-mask", str(path), "--out", "m.json", "--keep", "1"], dctnet),
            "evaluate": ([str(path), str(fit), str(result), str(images), "val"], evaluate),
        }

    def give_pickles(self) -> None:
        """Pickles with calls, to all verbs and as weights; the control loads them without weights-only loading."""
        for name, path in pickles(self.folder, self.marker, self.content):
            for load in (lambda path: torch.load(path, weights_only=False), lambda path: pickle.load(open(path, "rb"))):
                with contextlib.suppress(Exception):
                    load(path)
            self.counts["pickles, control"] += collections.Counter(tried=1, executed=self.marker.exists())
            self.marker.unlink(missing_ok=True)
            for command, verb in self.verbs(path).values():
                self.give("pickles", name, command, verb)
            self.give("pickles", name, ["fit", *FIT, "--model.weights", str(path)])

    def give_forged(self, verbs: tuple[str, ...], step: int = 1) -> None:
        """Every ``step``-th forged checkpoint, to some verbs."""
        for number, (name, content) in enumerate(forged(self.content, self.precious)):
            if number % step == 0:
                torch.save(content, self.folder / "forged.ckpt")
                for verb in verbs:
                    self.give("forged checkpoints", name, *self.verbs(self.folder / "forged.ckpt")[verb])

    def give_bombs_and_masks(self) -> None:
        """Files that request too much memory, and invalid masks."""
        for name, path in bombs(self.folder):
            self.give("bombs", name, *self.verbs(path)["validate"])
            self.give("bombs", name, ["fit", *FIT, "--model.weights", str(path)])
        for name, path in masks(self.folder):
            self.give("masks", name, ["fit", *FIT, "--data.channels", str(path)])

    def give_archives(self) -> None:
        """Archives to :func:`fetch` in place of the download; the control extracts them without a filter."""
        for name, members in malicious_archives(self.precious).items():
            archive = self.folder / "imagenette2.tgz"
            with tarfile.open(archive, "w:gz") as tar:
                for member, content in members:
                    tar.addfile(member, io.BytesIO(content))
            for group, function in (("archives", _fetch), ("archives, control", _extract_unfiltered)):
                self.give(group, name, [str(archive), str(self.folder / "a/b/data")], function)
                for escaped in self.folder.rglob("escaped"):
                    self.counts[group]["escaped"] += 1
                    escaped.unlink()
                shutil.rmtree(self.folder / "a", ignore_errors=True)


def _fetch(args: list[str]) -> int:
    archive, root = args
    with mock.patch("torchvision.datasets.utils.download_url", lambda url, to, name, md5: shutil.copy(archive, to)):
        try:
            fetch("imagenette", Path(root))
        except UserError as error:
            print(f"dctnet: {error}", file=sys.stderr)
            return 2
    return 0


def _extract_unfiltered(args: list[str]) -> int:
    archive, root = args
    Path(root).mkdir(parents=True)
    with contextlib.suppress(Exception), tarfile.open(archive) as tar:
        tar.extractall(root, filter="fully_trusted")
    return 0


def main() -> int:
    """Gives all files; returns 1 if one ran, escaped, filled the memory or caused a traceback."""
    logging.disable(logging.INFO)
    columns = ("tried", "refused", "accepted", "traceback", "executed", "escaped", "over 2 GB")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), small_backbones():
        trial = Trial(Path(folder).resolve())
        trial.give_bombs_and_masks()
        trial.give_archives()
        trial.give_forged(("validate", "export-mask", "resume"))
        trial.give_pickles()
    print(f"{'':<22}" + "".join(f"{column:>11}" for column in columns))
    for group, count in sorted(trial.counts.items()):
        print(f"{group:<22}" + "".join(f"{count[column]:>11}" for column in columns))
    dctnets = [count for group, count in trial.counts.items() if "control" not in group]
    return int(any(count[column] for count in dctnets for column in columns[3:]))


if __name__ == "__main__":
    sys.exit(main())
