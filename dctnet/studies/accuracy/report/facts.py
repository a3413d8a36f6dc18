"""Facts about the runs for the page: data, network, options, failures, and the comparisons of its summary."""

import csv
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import yaml

from dctnet.errors import UserError, first_line
from dctnet.studies.accuracy.report.arms import Arm, merge_draws
from dctnet.studies.estimates import Estimate, difference
from dctnet.studies.rows import Row, current_name

# The summary is about arms with at most this many channels.
FEW = 24


def lookup(options: dict[str, Any], *keys: str) -> Any:
    """A nested option of ``grid.yaml``; None if it is not recorded."""
    found: Any = options
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def describe_runs(rows: Sequence[Row], options: dict[str, Any]) -> dict[str, Any]:
    """Facts by the name of their variable in ``report.html``.

    Args:
        rows: All rows.
        options: The content of ``grid.yaml``, or empty.
    """
    root, splits = lookup(options, "data", "root"), lookup(options, "evaluate")
    return {
        "dataset": PurePath(str(root)).name if root else None,
        "backbone": lookup(options, "model", "backbone"),
        "weights": lookup(options, "model", "weights"),
        "splits": [str(split) for split in splits] if isinstance(splits, list) else [],
        "crops": [row.image_size for row in rows if row.channels] or [row.image_size for row in rows],
        "images": len(rows[0].correct),
        "unreadable": sum("-" in column for column in zip(*(row.correct for row in rows), strict=True)),
        "options": _options(rows, options),
    }


def _options(rows: Sequence[Row], options: dict[str, Any]) -> str:
    """Seeds and arms as found in the rows, then the options that all runs share, as YAML."""
    arms: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        choose = "zigzag" if row.choose == "all" else row.choose  # all methods give the same 192 channels
        arm = arms.setdefault((choose, row.label), {"choose": choose})
        if row.channels:
            arm["channels"] = sorted({*arm.get("channels", ()), row.channels})
        if row.draw:
            arm["draws"] = max(arm.get("draws", 1), row.draw + 1)
        if row.label:
            arm["label"] = row.label
    found = {"seeds": sorted({row.seed for row in rows}), "arms": list(arms.values())}
    style: dict[str, Any] = {"sort_keys": False, "allow_unicode": True}
    return (
        "# Seeds and arms, from rows.csv. The options of a label are at the end, under variants.\n"
        f"{yaml.safe_dump(found, default_flow_style=None, **style)}# Options of all runs, from grid.yaml.\n"
        f"{yaml.safe_dump(options, **style) if options else '# not recorded'}"
    )


def read_failures(path: Path) -> list[tuple[str, str, str]]:
    """Name, time (UTC) and reason of each failed run, oldest first; empty if there is no file.

    Missing fields of a truncated line are empty.

    Raises:
        UserError: The file cannot be read.
    """
    if not path.exists():
        return []
    try:
        with open(path, newline="", encoding="utf-8", errors="replace") as file:
            lines = [line for line in csv.reader(file) if line]
    except (OSError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV: {first_line(error)}") from error
    return [(current_name(line[0]), line[1] if line[1:] else "", ", ".join(line[2:])) for line in lines]


def summarise(arms: Sequence[Arm]) -> dict[str, Any]:
    """Variables of the page's summary.

    Args:
        arms: All arms, the most accurate first.

    Returns:
        ``best``: plain arms with at most ``FEW`` channels, the most accurate first; ``baseline``: the arm
        ``rgb_matched``, if it has run; ``learned``: the learned arm with the most channels up to ``FEW`` that can be
        compared, if any; ``others``: its differences to the other methods at the same number of channels, by name.
    """
    few = [arm for arm in arms if 1 <= arm.first.channels <= FEW and not arm.first.label]
    baseline = next((arm for arm in arms if arm.name == "rgb_matched"), None)
    for learned in sorted(few, key=lambda arm: -arm.first.channels):
        if learned.first.choose == "learned" and (others := _compare(learned, few)):
            return {"best": few, "baseline": baseline, "learned": learned, "others": others}
    return {"best": few, "baseline": baseline, "learned": None}


def _compare(learned: Arm, few: Sequence[Arm]) -> dict[str, Estimate]:
    same = [arm for arm in few if arm.first.channels == learned.first.channels]
    others = [arm for arm in same if arm.first.choose in ("energy", "square", "triangle", "zigzag")]
    found = {arm.name: difference(learned.rows, arm.rows) for arm in others}
    for draws in merge_draws(same):
        count = len({row.draw for row in draws.rows})
        name = f"random-{draws.first.channels} (mean of {count} random selection{'s' * (count > 1)})"
        found[name] = difference(learned.rows, draws.rows)
    return found
