"""Misspells every key of every shipped recipe: dctnet must refuse each in one line that names the right key.

    python -m tests.stress.misspelt_keys [--seeds 0]

In the file, each key has one letter dropped, two swapped, or one doubled; as an option of the command line it loses its
last letter, which makes it an abbreviation. A seed chooses the letters. Nothing is trained: a command whose options are
parsed is stopped and counts as accepted.
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

from dctnet.cli import main as dctnet
from dctnet.cli.benchmark import BenchmarkContext
from dctnet.cli.fit import ExperimentCLI

KINDS = ("drop", "swap", "double", "option")
CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


class Accepted(Exception):
    """The options were accepted."""


def verb_of(config: Path) -> str:
    """The verb that a recipe is for."""
    return "benchmark" if config.stem.startswith("benchmark_") else "fit"


def keys_of(options: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to each key: names, and indices of lists."""
    entries = options.items() if isinstance(options, dict) else enumerate(options) if isinstance(options, list) else ()
    for key, value in entries:
        if isinstance(key, str):
            yield (*place, key)
        yield from keys_of(value, (*place, key))


def drop(word: str, place: int) -> str:
    """Drops one letter."""
    return word[:place] + word[place + 1 :]


def double(word: str, place: int) -> str:
    """Doubles one letter."""
    return word[: place + 1] + word[place:]


def swap(word: str, place: int) -> str:
    """Swaps the first two different neighbours from ``place`` on; doubles a letter if all are equal."""
    for i in [*range(place, len(word) - 1), *range(place)]:
        if i + 1 < len(word) and word[i] != word[i + 1]:
            return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    return double(word, place)


def rename(options: Any, place: tuple[Any, ...], wrong: str) -> Any:
    """A copy in which the key at a path has another name, in the same position."""
    made = copy.deepcopy(options)
    parent = made
    for key in place[:-1]:
        parent = parent[key]
    entries = [(wrong if key == place[-1] else key, value) for key, value in parent.items()]
    parent.clear()
    parent.update(entries)
    return made


def answer(arguments: list[str], right: str, wrong: str) -> tuple[str, str]:
    """The outcome of a command, and its message.

    Returns:
        ``named`` (the right key), ``refused`` (without it), ``accepted``, ``traceback`` or ``lines`` (not one line).
    """
    error_output = io.StringIO()
    stops = (
        mock.patch.object(ExperimentCLI, "before_instantiate_classes", side_effect=Accepted),
        mock.patch("dctnet.cli.benchmark.BenchmarkContext", side_effect=Accepted, spec=BenchmarkContext),
        mock.patch.object(sys, "argv", ["dctnet"]),
    )
    with contextlib.ExitStack() as stack:
        for stop in stops:
            stack.enter_context(stop)
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(contextlib.redirect_stderr(error_output))
        try:
            status = dctnet(arguments)
        except Accepted:
            return "accepted", ""
        except (Exception, SystemExit) as error:
            return "traceback", repr(error)[:300]
    lines = error_output.getvalue().splitlines()
    if status != 2 or len(lines) != 1 or not lines[0].startswith("dctnet: ") or wrong not in lines[0]:
        return "lines", f"status {status}: {error_output.getvalue()[:300]}"
    hint = re.search(r"Did you mean '([\w.]+)'", lines[0])
    named = hint[1].split(".") if hint else []
    return ("named" if right in named and wrong not in named else "refused"), lines[0]


def cases(config: Path, seed: int) -> Iterator[tuple[str, tuple[Any, ...], str]]:
    """All misspellings of a recipe: kind, path and wrong key."""
    options = yaml.safe_load(config.read_text())
    rng = random.Random(f"{seed} {config.name}")
    for place in keys_of(options):
        key = place[-1]
        for kind, change in zip(KINDS[:3], (drop, swap, double), strict=True):
            yield kind, place, change(key, rng.randrange(len(key)))
        if not any(isinstance(part, int) for part in place) and ".".join(place) not in ("data", "model", "trainer"):
            yield "option", place, key[:-1]


def check(config: Path, kind: str, place: tuple[Any, ...], wrong: str, folder: Path) -> tuple[str, str]:
    """Runs a recipe with a misspelt key, or with a misspelt option."""
    verb, options = verb_of(config), yaml.safe_load(config.read_text())
    if kind == "option":
        dotted = ".".join(map(str, (*place[:-1], wrong)))
        return answer([verb, "--config", str(config), f"--{dotted}", "1"], place[-1], wrong)
    path = folder / "misspelt.yaml"
    path.write_text(yaml.safe_dump(rename(options, place, wrong), sort_keys=False))
    return answer([verb, "--config", str(path)], place[-1], wrong)


def main() -> int:
    """Tries all misspellings; returns 1 if one was accepted or not refused in one line."""
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
                    outcome, error_output = check(config, kind, place, wrong, Path(folder))
                    counts[kind][outcome] += 1
                    if outcome != "named":
                        print(
                            f"{config.name}: {'.'.join(map(str, place))} as {wrong}: {outcome}: {error_output}",
                            flush=True,
                        )
    total: collections.Counter[str] = sum(counts.values(), collections.Counter())
    outcomes = ("named", "refused", "accepted", "traceback", "lines")
    print(f"{len(CONFIGS)} recipes, {time.perf_counter() - began:.0f} s\n{'':<8}{'tried':>8}", end="")
    print("".join(f"{outcome:>11}" for outcome in outcomes))
    for kind, count in [*counts.items(), ("all", total)]:
        print(f"{kind:<8}{count.total():>8}" + "".join(f"{count[outcome]:>11}" for outcome in outcomes))
    return int(any(total[outcome] for outcome in ("accepted", "traceback", "lines")))


if __name__ == "__main__":
    sys.exit(main())
