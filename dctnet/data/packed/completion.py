"""The end of a packing: which shards are still missing, and the manifest of a complete store."""

from pathlib import Path
from typing import Any

from dctnet.data.packed.manifest import MANIFEST, PLAN, Shard, dump_manifest, read_json, read_manifest
from dctnet.data.packed.shard import ShardTask, is_complete
from dctnet.data.packed.verify import is_intact
from dctnet.errors import UserError, printable
from dctnet.io.atomic import atomic_write
from dctnet.io.files import file_sha256


def find_missing(folder: Path, tasks: list[ShardTask]) -> list[ShardTask]:
    """The shards that are missing or incomplete; of a store with a manifest also those that do not match it."""
    if not (folder / MANIFEST).is_file():
        return [task for task in tasks if not is_complete(task, folder)]
    shards = {s.name: s for split in read_manifest(folder, files=False).splits.values() for s in split.shards}
    missing = [task for task in tasks if not is_complete(task, folder, shards[task.name].index_sha256)]
    if missing:  # The manifest will be written again, so the other shards must match it byte for byte.
        missing += [task for task in tasks if task not in missing and not is_intact(folder, shards[task.name])]
    return missing


def finish(plan: dict[str, Any], tasks: list[ShardTask], folder: Path, root: Path) -> int:
    """Writes the manifest and prints the skipped files; returns the number of images."""
    splits: dict[str, Any] = {}
    for name, split in plan["splits"].items():
        shards, skipped = [], [*split["skipped"]]
        for task in tasks:
            if task.name.startswith(f"{name}-"):
                shard, left_out = _summarize_shard(task.name, folder)
                shards.append(shard)
                skipped += left_out
        if not sum(shard.images for shard in shards):
            raise UserError(f"{root}: no image of {name} can be read; {len(skipped)} were skipped")
        splits[name] = {"scales": split["scales"], "shards": [vars(s) for s in shards], "skipped": sorted(skipped)}
    content = dump_manifest({**plan, "splits": splits})
    if (folder / MANIFEST).is_file() and (folder / MANIFEST).read_bytes() != content:
        raise UserError(f"{folder}: the shards packed again differ from the manifest: the photographs have changed")
    atomic_write(folder / MANIFEST, content)
    (folder / PLAN).unlink(missing_ok=True)
    _print_skipped([(name, *pair) for name, split in splits.items() for pair in split["skipped"]], folder)
    return sum(shard["images"] for split in splits.values() for shard in split["shards"])


def _summarize_shard(name: str, folder: Path) -> tuple[Shard, list[list[str]]]:
    """The manifest's entry for a shard, and path and reason of its skipped files."""
    path = folder / f"{name}.json"
    index = read_json(path)
    shard = Shard(name, index["size"], index["sha256"], file_sha256(path), len(index["images"]))
    return shard, index["skipped"]


def _print_skipped(skipped: list[tuple[str, str, str]], folder: Path) -> None:
    for name, path, reason in skipped[:20]:
        print(printable(f"skipped in {name}: {path}: {reason}"))
    if len(skipped) > 20:
        print(printable(f"… and {len(skipped) - 20} more; all are listed in {folder / MANIFEST}"))
