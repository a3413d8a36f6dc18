"""Every key of every shipped recipe, misspelt: is it refused in one line that names the right one?

    python -m tests.stress.misspelt_keys [--seeds 0]

Each key loses a letter, has two swapped and has one doubled, in the file; as an option of the command line it also
loses its last letter, which would be an abbreviation. For each seed other places in the key are chosen. Nothing is
trained or read: a command that gets past its options is stopped there and counts as accepted.
"""

import argparse
import collections
import contextlib
import copy
import io
import random
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from pytorch_lightning.cli import LightningCLI

from dctnet.cli import main as dctnet
from dctnet.cli.benchmark import BenchmarkContext
from dctnet.cli.fit import ExperimentCLI

KINDS = ("drop", "swap", "double", "option")
CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))

_OF_FIT = LightningCLI.subcommands()["fit"]


class Accepted(Exception):
    """The options have been taken."""


def verb_of(config: Path) -> str:
    """The verb that a recipe is for."""
    return "benchmark" if config.stem.startswith("benchmark_") else "fit"


def keys_of(options: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where each key stands: names, and numbers in lists."""
    entries = options.items() if isinstance(options, dict) else enumerate(options) if isinstance(options, list) else ()
    for key, value in entries:
        if isinstance(key, str):
            yield (*place, key)
        yield from keys_of(value, (*place, key))


def drop(word: str, place: int) -> str:
    """Without one letter."""
    return word[:place] + word[place + 1 :]


def double(word: str, place: int) -> str:
    """One letter twice."""
    return word[: place + 1] + word[place:]


def swap(word: str, place: int) -> str:
    """Two neighbouring letters changed, the first that differ from ``place`` on; a letter doubled if all are equal."""
    for i in [*range(place, len(word) - 1), *range(place)]:
        if i + 1 < len(word) and word[i] != word[i + 1]:
            return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    return double(word, place)


def rename(options: Any, place: tuple[Any, ...], wrong: str) -> Any:
    """A copy in which the key at a place has another name; the order stays."""
    made = copy.deepcopy(options)
    parent = made
    for key in place[:-1]:
        parent = parent[key]
    entries = [(wrong if key == place[-1] else key, value) for key, value in parent.items()]
    parent.clear()
    parent.update(entries)
    return made


def answer(arguments: list[str], right: str, wrong: str) -> tuple[str, str]:
    """What became of a command, and what it said: ``named``, ``refused``, ``accepted``, ``traceback`` or ``lines``."""
    said = io.StringIO()
    stops = (
        mock.patch.object(ExperimentCLI, "before_instantiate_classes", side_effect=Accepted),
        mock.patch.object(ExperimentCLI, "subcommands", return_value={"fit": _OF_FIT}),  # the others' parsers take time
        mock.patch("dctnet.cli.benchmark.BenchmarkContext", side_effect=Accepted, spec=BenchmarkContext),
        mock.patch.object(sys, "argv", ["dctnet"]),
    )
    with contextlib.ExitStack() as stack:
        for stop in stops:
            stack.enter_context(stop)
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(contextlib.redirect_stderr(said))
        try:
            status = dctnet(arguments)
        except Accepted:
            return "accepted", ""
        except (Exception, SystemExit) as error:
            return "traceback", repr(error)[:300]
    lines = said.getvalue().splitlines()
    if status != 2 or len(lines) != 1 or not lines[0].startswith("dctnet: ") or wrong not in lines[0]:
        return "lines", f"status {status}: {said.getvalue()[:300]}"
    hint = re.search(r"Did you mean '([\w.]+)'", lines[0])
    named = hint[1].split(".") if hint else []
    return ("named" if right in named and wrong not in named else "refused"), lines[0]


def cases(config: Path, seed: int) -> Iterator[tuple[str, tuple[Any, ...], str]]:
    """Where to change a recipe and into what: kind, place, misspelling."""
    options = yaml.safe_load(config.read_text())
    draw = random.Random(f"{seed} {config.name}")
    for place in keys_of(options):
        key = place[-1]
        for kind, change in zip(KINDS[:3], (drop, swap, double), strict=True):
            yield kind, place, change(key, draw.randrange(len(key)))
        if not any(isinstance(part, int) for part in place) and ".".join(place) not in ("data", "model", "trainer"):
            yield "option", place, key[:-1]


def check(config: Path, kind: str, place: tuple[Any, ...], wrong: str, folder: Path) -> tuple[str, str]:
    """Gives a misspelt recipe, or a misspelt option beside the recipe, to the command line."""
    verb, options = verb_of(config), yaml.safe_load(config.read_text())
    if kind == "option":
        dotted = ".".join(map(str, (*place[:-1], wrong)))
        return answer([verb, "--config", str(config), f"--{dotted}", "1"], place[-1], wrong)
    path = folder / "misspelt.yaml"
    path.write_text(yaml.safe_dump(rename(options, place, wrong), sort_keys=False))
    return answer([verb, "--config", str(path)], place[-1], wrong)


def main() -> int:
    """Runs the campaign; 1 if anything was accepted, or told in another way than one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    given, began = parser.parse_args(), time.perf_counter()
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    with tempfile.TemporaryDirectory() as folder:
        for seed in given.seeds:
            for config in CONFIGS:
                assert answer([verb_of(config), "--config", str(config)], "", "")[0] == "accepted", (
                    f"{config} itself is refused"
                )
                for kind, place, wrong in cases(config, seed):
                    outcome, said = check(config, kind, place, wrong, Path(folder))
                    counts[kind][outcome] += 1
                    if outcome != "named":
                        print(f"{config.name}: {'.'.join(map(str, place))} as {wrong}: {outcome}: {said}", flush=True)
    total: collections.Counter[str] = sum(counts.values(), collections.Counter())
    outcomes = ("named", "refused", "accepted", "traceback", "lines")
    print(f"{len(CONFIGS)} recipes, {time.perf_counter() - began:.0f} s\n{'':<8}{'tried':>8}", end="")
    print("".join(f"{outcome:>11}" for outcome in outcomes))
    for kind, count in [*counts.items(), ("all", total)]:
        print(f"{kind:<8}{count.total():>8}" + "".join(f"{count[outcome]:>11}" for outcome in outcomes))
    return int(any(total[outcome] for outcome in ("accepted", "traceback", "lines")))


if __name__ == "__main__":
    sys.exit(main())
