"""Where a report's figures come from: data, commands, versions, options."""

from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Any

import yaml

from dctnet.studies.rows import Row


def lookup(options: dict[str, Any], *keys: str) -> Any:
    """An option by its nested name; None where it is not recorded."""
    found: Any = options
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def title(options: dict[str, Any]) -> str:
    """Name of the data set and network, as far as they are recorded."""
    root, backbone = lookup(options, "data", "root"), lookup(options, "model", "backbone")
    return ", ".join(str(part) for part in (PurePath(str(root)).name if root else None, backbone) if part)


def trained_on(rows: Sequence[Row], options: dict[str, Any]) -> str:
    """The network, the data, how long, which seeds: the middle of a sentence."""
    root, weights = lookup(options, "data", "root"), lookup(options, "model", "weights")
    start = "from random weights" if weights is None else f"from the weights {weights}"
    sizes = {row.image_size for row in rows if row.channels} or {row.image_size for row in rows}
    data = f"the data set {PurePath(str(root)).name}" if root else "a data set whose name is not recorded"
    return (
        f"{lookup(options, 'model', 'backbone') or 'image'} classifiers on {data}, {start}, "
        f"{_span(row.epochs for row in rows)} epochs each, crops of {_span(sizes)} px, "
        f"seeds {', '.join(map(str, sorted({row.seed for row in rows})))}"
    )


def judged_on(rows: Sequence[Row], options: dict[str, Any]) -> str:
    """The evaluation images: how many, of which split, how many unreadable."""
    splits = lookup(options, "evaluate")
    of = f" of {' and '.join(map(str, splits))}" if isinstance(splits, list) else ""
    lost = sum("-" in column for column in zip(*(row.correct for row in rows), strict=True))
    note = f" ({lost:,} of them could not be read by every run and are left out where they could not)" if lost else ""
    return f"the same {len(rows[0].correct):,} images{of}{note}"


def _span(values: Iterable[int]) -> str:
    least, most = min(found := list(values)), max(found)
    return str(least) if least == most else f"{least} to {most}"


def facts(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Devices, versions and times by name."""
    days = sorted(row.finished for row in rows)
    return [
        ("Runs", f"{len(rows)}, {sum(row.seconds for row in rows) / 3600:,.1f} hours of training in all"),
        ("Finished", f"{days[0]} to {days[-1]}" if days[0] != days[-1] else days[0]),
        ("Devices", "; ".join(sorted({row.device for row in rows}))),
        ("Versions", "; ".join(sorted({row.versions for row in rows}))),
        ("Fed from", ", ".join(sorted({row.fed for row in rows}))),
    ]


def commands(rows: Sequence[Row], options: dict[str, Any]) -> str:
    """What to type to make it again, as shell lines; OUT stands for the report's folder."""
    run = f"OUT/runs/{rows[0].name}"
    splits = lookup(options, "evaluate")
    wanted = " ".join(map(str, splits)) if isinstance(splits, list) else "val"
    return f"""\
# everything; what is finished is skipped, and it ends with this page
dctnet benchmark --config BENCHMARK.yaml --out OUT
# a single run again; its last.ckpt, evaluated, makes the row
dctnet fit --config {run}/fit.yaml --out_dir again
python -m dctnet.studies.accuracy.evaluate again/{rows[0].name}/version_0/last.ckpt \\
    {run}/fit.yaml result.json OUT/images.csv {wanted}
# this page again, from rows.csv, grid.yaml and ranking.json
dctnet report OUT
"""


def options_as_yaml(rows: Sequence[Row], options: dict[str, Any]) -> str:
    """Arms and seeds as the rows have them, then what all runs share."""
    arms: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        choose = "zigzag" if row.choose == "all" else row.choose  # all ways agree on all channels
        arm = arms.setdefault((choose, row.label), {"choose": choose})
        if row.channels:
            arm["channels"] = sorted({*arm.get("channels", ()), row.channels})
        if row.draw:
            arm["draws"] = max(arm.get("draws", 1), row.draw + 1)
        if row.label:
            arm["label"] = row.label
    seeds = {"seeds": sorted({row.seed for row in rows})}
    head = "# As the rows have them. What a label stands for is below, under variants.\n"
    ours = yaml.safe_dump(
        {**seeds, "arms": list(arms.values())}, sort_keys=False, allow_unicode=True, default_flow_style=None
    )
    shared = yaml.safe_dump(options, sort_keys=False, allow_unicode=True) if options else "# not recorded\n"
    return f"{head}{ours}# grid.yaml: what all runs share.\n{shared}"
