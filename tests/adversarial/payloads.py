"""Files that an enemy made, given to every verb that takes one: does anything run, or get out of its folder?

    python -m tests.adversarial.payloads

Checkpoints and weights files whose pickle calls something; checkpoints whose options, paths or sizes are hostile;
masks; archives. A payload leaves a marker if it runs; what lies outside the folder must stay as it was. As a control
the pickles are loaded without weights-only loading, and the archives unpacked without a filter.
"""

import builtins
import collections
import contextlib
import io
import json
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
from dctnet.studies.accuracy.evaluate import main as evaluate
from tests.conftest import make_photos
from tests.data.test_download import hostile_archives

FIT = shlex.split("""--data.root photos --data.channels zigzag-6 --data.image_size 32 --data.batch_size 6
    --data.num_workers 0 --model.gate static --model.keep 3 --trainer.max_epochs {epochs} --trainer.accelerator cpu
    --trainer.enable_progress_bar false --out_dir out""")
QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]


class Call:
    """Pickles as a call of something."""

    def __init__(self, function: Callable, *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> tuple[Callable, tuple]:
        return self.function, self.args


def calls(marker: Path) -> dict[str, Call]:
    """Ways to leave a marker."""
    return {
        "os.system": Call(os.system, f"touch {marker}"),
        "eval": Call(builtins.eval, f"open({str(marker)!r}, 'w')"),
        "exec": Call(builtins.exec, f"open({str(marker)!r}, 'w').close()"),
        "open": Call(builtins.open, str(marker), "w"),
        "subprocess": Call(subprocess.call, ["touch", str(marker)]),
        "touch": Call(Path.touch, marker),
    }


def pickles(folder: Path, marker: Path, content: dict[str, Any]) -> Iterator[tuple[str, Path]]:
    """Files with a payload: each call in every form in which torch has saved, and in every part of a checkpoint."""
    for name, call in calls(marker).items():
        for form, options in {"zip": {}, "legacy": {"_use_new_zipfile_serialization": False},
                              "protocol 4": {"pickle_protocol": 4}}.items():  # fmt: skip
            path = folder / f"{name}-{form}.ckpt".replace(" ", "")
            torch.save({**content, "x": call}, path, **options)
            yield f"{name}, {form}", path
        path = folder / f"{name}-bare.ckpt"
        path.write_bytes(pickle.dumps({**content, "state_dict": {}, "optimizer_states": [], "x": call}))
        yield f"{name}, bare pickle", path
    for part in ("hyper_parameters", "datamodule_hyper_parameters", "callbacks", "loops", "state_dict"):
        path = folder / f"in-{part}.ckpt"
        torch.save({**content, part: {**content[part], "x": calls(marker)["os.system"]}}, path)
        yield f"os.system in {part}", path


def forged(content: dict[str, Any], precious: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Checkpoints that are pickled honestly and say what cannot be."""
    laughs: list[Any] = ["ha"]
    for _ in range(60):
        laughs = [laughs] * 10
    many = ["a"] * 10**6
    model: list[dict[str, Any]] = [
        {"class_path": "os.system"}, {"_instantiator": "os.system"}, {"_class_path": "subprocess.Popen"},
        {"weights": {"class_path": "subprocess.Popen", "init_args": {"args": "true"}}}, {"classes": laughs},
        {"classes": many}, {"classes": ["x" * 10**6] * 1000}, {"classes": ["\ud800", "b", "c"]}, {"classes": "abc"},
        {"channels": laughs}, {"channels": [0] * 10**6}, {"channels": [192]}, {"channels": [-1]}, {"channels": ["a"]},
        {"image_size": 10**9}, {"image_size": "32"}, {"image_size": 10**400}, {"image_size": -8}, {"keep": 10**9},
        {"backbone": "os.system"}, {"backbone": "resnet152"}, {"compile": "os.system"}, {"lr": "nan"}, {"gate": laughs},
        {"input": ["rgb"]}, {"squeeze": "x"}, {"layer2_stride": 10**9}, {1: 2},
    ]  # fmt: skip
    data: list[dict[str, Any]] = [
        {"class_path": "os.system"}, {"_instantiator": "os.system"}, {"root": {"class_path": "os.system"}},
        {"root": "http://127.0.0.1:9/x"}, {"root": "a" * 10**6}, {"root": str(precious / "new"), "download": "planted"},
        {"root": str(precious), "download": "imagenette"}, {"num_workers": -1}, {"num_workers": "2"},
        {"batch_size": 10**9}, {"batch_size": 0}, {"classes": laughs}, {"classes": many}, {"norm_images": "x"},
        {"decoder": "os.system"}, {"source": "http://x"}, {"residency": "ram"}, {"crop_fraction": float("nan")},
        {"crop_fraction": 1e-300}, {"min_scale": -1.0}, {"unknown": 1},
    ]  # fmt: skip
    for part, several in (("hyper_parameters", model), ("datamodule_hyper_parameters", data)):
        for changes in several:
            yield f"{part} {str(dict.fromkeys(changes, '…'))[:60]}", {**content, part: {**content[part], **changes}}
    for key in ("best_model_path", "kth_best_model_path", "last_model_path", "best_k_models"):
        for path in (f"local://{precious}", f"file://{precious}", f"local::{precious}", str(precious),
                     f"{Path.cwd()}/out/run/version_0/../../../../precious"):  # fmt: skip
            value = {path: torch.tensor(0.0)} if key == "best_k_models" else path
            states = {name: {**state, key: value} for name, state in content["callbacks"].items()}
            for state in states.values():
                state.pop("dirpath", None)
            yield f"{key} {path[:20]}", {**content, "callbacks": states}
    weights = content["state_dict"]
    first = next(iter(weights))
    yield "hparams", {**content, "hparams": {"_instantiator": "os.system"}}
    yield "no weights", {**content, "state_dict": {}}
    yield "other weights", {**content, "state_dict": {**weights, first: torch.zeros(7)}}
    yield "weights of everything", {**content, "state_dict": {**weights, first: torch.zeros(1).expand(10**6, 10**6)}}
    yield "weights that are none", {**content, "state_dict": {**weights, first: "x"}}
    yield "weights of laughs", {**content, "state_dict": laughs}
    yield "callbacks of laughs", {**content, "callbacks": laughs}
    yield from forged_progress(content)


def forged_progress(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The same of where a training was, which only resuming reads."""
    for part in ("loops", "optimizer_states", "lr_schedulers", "callbacks", "training", "left_out", "epoch",
                 "global_step", "pytorch-lightning_version", "FrequencyDataModule"):  # fmt: skip
        yield f"no {part}", {key: value for key, value in content.items() if key != part}
        for value in (None, 5, -(10**30), "x", {}, [], [{}], {"train": {"sha256": "x"}}, {"val": {"a": 5}}):
            yield f"{part} {value!r:.20}", {**content, part: value}
    loop = content["loops"]["fit_loop"]
    for key in loop:
        for value in (None, -1, "x", {}, {**loop[key], "current": 5, "total": {}}):
            yield f"loop's {key} {value!r:.20}", {**content, "loops": {"fit_loop": {**loop, key: value}}}


def bombs(folder: Path) -> Iterator[tuple[str, Path]]:
    """Small files that ask for all memory."""
    raw = b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R."  # bytearray(2**31 - 1)
    forms = (("bytearray", zipfile.ZIP_STORED, raw), ("deflated", zipfile.ZIP_DEFLATED, b"N." * 10**7))
    for name, method, content in forms:
        with zipfile.ZipFile(folder / f"{name}.ckpt", "w", method) as archive:
            archive.writestr("archive/data.pkl", content)
            archive.writestr("archive/version", "3\n")
        yield name, folder / f"{name}.ckpt"
    (folder / "bare.ckpt").write_bytes(raw)
    yield "bare bytearray", folder / "bare.ckpt"


def masks(folder: Path) -> Iterator[tuple[str, Path]]:
    """Mask files that are none."""
    whole = {"format": "dctnet-mask", "version": 1, "block_size": 8, "components": ["Y", "Cb", "Cr"],
             "index": "64*component + 8*v + u", "channels": [0], "keep_probability": None, "source": {}}  # fmt: skip
    texts = {
        "nan": json.dumps({**whole, "keep_probability": [float("nan")] * 192}),
        "huge float": json.dumps(whole).replace("null", f"[{', '.join(['1e999'] * 192)}]"),
        "repeated": json.dumps({**whole, "channels": [1, 1]}),
        "out of range": json.dumps({**whole, "channels": [10**30]}),
        "many digits": json.dumps(whole).replace("[0]", f"[{'9' * 5000}]"),
        "deep": "[" * 10**5, "deep objects": '{"a":' * 40_000, "two keys": '{"format": 1, "format": 2}',
        "deep source": json.dumps(whole).replace('"source": {}', '"source": ' + "[" * 900 + "]" * 900),
        "surrogate": json.dumps({**whole, "\ud800": 1}), "line feed": json.dumps({**whole, "a\ndctnet: forged": 1}),
    }  # fmt: skip
    for name, text in texts.items():
        (folder / f"{name}.json").write_text(text)
        yield name, folder / f"{name}.json"
    with open(folder / "gigabytes.json", "wb") as file:
        file.truncate(1 << 36)
    yield "gigabytes", folder / "gigabytes.json"


class Trial:
    """Gives files to verbs and counts what becomes of it.

    Args:
        folder: To work in; the current one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.marker, self.precious = folder, folder / "marker", folder / "precious"
        self.counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        make_photos(folder / "photos", 4, 2)
        self.precious.mkdir()
        (self.precious / "file").write_text("mine")
        self.own = folder / "out/run/version_0/last.ckpt"
        assert self.run(["fit", *FIT])[0] == 0
        self.content = torch.load(self.own, weights_only=True)

    def run(self, command: list[str], verb: Callable[[list[str]], int] = dctnet) -> tuple[Any, str]:
        """Status, or the exception, and what stands on standard error from ``dctnet: `` on."""
        said = io.StringIO()
        with contextlib.ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings(action="ignore"))
            stack.enter_context(mock.patch.object(sys, "argv", ["dctnet"]))
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(contextlib.redirect_stderr(said))
            try:
                status: Any = verb([part.format(epochs=2 if "--ckpt_path" in command else 1) for part in command])
            except (Exception, SystemExit) as error:
                status = error
        return status, "dctnet: ".join(said.getvalue().partition("dctnet: ")[1:])

    def give(self, group: str, name: str, command: list[str], verb: Callable[[list[str]], int] = dctnet) -> str:
        """Runs a command and counts: refused in one line, taken, traceback; and run, escaped, fat."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        status, said = self.run(command, verb)
        outcome = "taken" if status == 0 else "refused" if status == 2 and said.count("\n") == 1 else "traceback"
        found = {
            "executed": self.marker.exists(),
            "escaped": [p.name for p in self.precious.glob("*")] != ["file"],
            "over 2 GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > 2 << 20,
        }
        self.marker.unlink(missing_ok=True)
        if found["escaped"]:
            shutil.rmtree(self.precious, ignore_errors=True)
            self.precious.mkdir()
            (self.precious / "file").write_text("mine")
        self.counts[group] += collections.Counter({"tried": 1, outcome: 1, **found})
        if outcome == "traceback" or any(found.values()):
            print(f"{group}: {name}: {command[0]}: {outcome}, {found}: {status!r:.300} {said:.300}", flush=True)
        return said

    def verbs(self, path: Path) -> dict[str, tuple[list[str], Callable[[list[str]], int]]]:
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

    def pickled(self, only: int | None = None) -> None:
        """Payloads in pickles, by all verbs and as weights; and by torch without weights-only loading."""
        for place, (name, path) in enumerate(pickles(self.folder, self.marker, self.content)):
            if only is not None and place % only:
                continue
            with contextlib.suppress(Exception):
                torch.load(path, weights_only=False)
            with contextlib.suppress(Exception):  # which is how a bare one is read by others
                pickle.loads(path.read_bytes())
            self.counts["pickles, control"] += collections.Counter(tried=1, executed=self.marker.exists())
            self.marker.unlink(missing_ok=True)
            for command, verb in self.verbs(path).values():
                self.give("pickles", name, command, verb)
            self.give("pickles", name, ["fit", *FIT, "--model.weights", str(path)])
            path.unlink()

    def options(self, verbs: tuple[str, ...], step: int = 1) -> None:
        """Hostile options, paths and weights."""
        for place, (name, content) in enumerate(forged(self.content, self.precious)):
            if place % step == 0:
                torch.save(content, self.folder / "forged.ckpt")
                for verb in verbs:
                    self.give("forged checkpoints", name, *self.verbs(self.folder / "forged.ckpt")[verb])

    def small(self) -> None:
        """Bombs and masks."""
        for name, path in bombs(self.folder):
            self.give("bombs", name, *self.verbs(path)["validate"])
            self.give("bombs", name, ["fit", *FIT, "--model.weights", str(path)])
        for name, path in masks(self.folder):
            self.give("masks", name, ["fit", *FIT, "--data.channels", str(path)])


def archives(trial: Trial) -> None:
    """Archives through :func:`fetch`, as if downloaded; and unpacked without a filter."""
    for name, members in hostile_archives(trial.precious).items():
        path = trial.folder / "imagenette2.tgz"
        with tarfile.open(path, "w:gz") as tar:
            for member, content in members:
                tar.addfile(member, io.BytesIO(content))
        for group, function in (("archives", fetch), ("archives, control", _unfiltered)):
            with mock.patch("dctnet.data.download.download_url", lambda url, to, name, md5: shutil.copy(path, to)):  # noqa: B023
                trial.give(group, name, [name], lambda args: _status(function, trial.folder / "a/b/data"))  # noqa: B023
            for escaped in trial.folder.rglob("escaped"):
                trial.counts[group]["escaped"] += 1
                escaped.unlink()
            shutil.rmtree(trial.folder / "a", ignore_errors=True)


def _status(function: Callable[[str, Path], Any], root: Path) -> int:
    from dctnet.errors import UserError

    try:
        function("imagenette", root)
    except UserError as error:
        print(f"dctnet: {error}", file=sys.stderr)
        return 2
    return 0


def _unfiltered(name: str, root: Path) -> None:
    with mock.patch("tarfile.data_filter", tarfile.fully_trusted_filter), contextlib.suppress(Exception):
        root.mkdir(parents=True)
        with tarfile.open(root.parents[2] / "imagenette2.tgz") as tar:
            tar.extractall(root, filter="fully_trusted")


def main() -> int:
    """Runs all of it; 1 if anything ran, escaped, filled memory or ended in a traceback."""
    columns = ("tried", "refused", "taken", "traceback", "executed", "escaped", "over 2 GB")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        trial = Trial(Path(folder).resolve())
        trial.small()
        archives(trial)
        trial.options(("validate", "export-mask", "resume"))
        trial.pickled()
    print(f"{'':<22}" + "".join(f"{column:>11}" for column in columns))
    for group, count in sorted(trial.counts.items()):
        print(f"{group:<22}" + "".join(f"{count[column]:>11}" for column in columns))
    ours = [count for group, count in trial.counts.items() if "control" not in group]
    return int(any(count[column] for count in ours for column in columns[3:]))


if __name__ == "__main__":
    sys.exit(main())
