"""Facts about the runs for the page: data, network, versions, options."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import yaml

from dctnet.studies.accuracy.report.inputs import lookup
from dctnet.studies.rows import Row


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
