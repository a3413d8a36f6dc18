"""The end of a packing: which shards are still missing, and the manifest of a complete store."""

import collections
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dctnet.data.packed.index import check_sha256, write_index
from dctnet.data.packed.manifest import MANIFEST, PLAN, Shard, StoreError, dump_manifest, read_json, read_manifest
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


def is_finished(folder: Path) -> bool:
    """Returns whether a store has a manifest, and the index of each split matches it."""
    if not (folder / MANIFEST).is_file():
        return False
    try:
        for split in read_manifest(folder, files=False).splits.values():
            for file in filter(None, (split.index, split.names)):
                check_sha256(file)
    except StoreError:
        return False
    return True


def finish(plan: dict[str, Any], tasks: list[ShardTask], folder: Path, root: Path) -> int:
    """Writes the manifest and prints the skipped files; returns the number of images."""
    exists = (folder / MANIFEST).is_file()
    # A store of version 1 that is repaired keeps its form, or else its checksum would change.
    is_former = exists and read_manifest(folder, files=False).content["version"] == 1
    splits = {}
    for name, split in plan["splits"].items():
        own = [task.name for task in tasks if task.name.startswith(f"{name}-")]
        splits[name] = _finish_split(name, split, own, folder, root, has_index=not is_former)
    content = dump_manifest({**plan, **({"version": 1} if is_former else {}), "splits": splits})
    if exists and (folder / MANIFEST).read_bytes() != content:
        raise UserError(f"{folder}: the shards packed again differ from the manifest: the photographs have changed")
    atomic_write(folder / MANIFEST, content)
    (folder / PLAN).unlink(missing_ok=True)
    _print_skipped([(name, *pair) for name, split in splits.items() for pair in split["skipped"]], folder)
    return sum(shard["images"] for split in splits.values() for shard in split["shards"])


def _finish_split(
    name: str, split: dict[str, Any], shard_names: list[str], folder: Path, root: Path, has_index: bool
) -> dict[str, Any]:
    """Writes the index of a split, which a store of version 1 does not have; returns its entry for the manifest."""
    shards, skipped = list[dict[str, Any]](), [[*pair] for pair in split["skipped"]]

    def read_shards() -> Iterator[list[dict[str, Any]]]:
        for shard in shard_names:
            path = folder / f"{shard}.json"
            index = read_json(path)
            shards.append(vars(Shard(shard, index["size"], index["sha256"], file_sha256(path), len(index["images"]))))
            skipped.extend(index["skipped"])
            yield index["images"]
        if not sum(shard["images"] for shard in shards):
            raise UserError(f"{root}: no image of {name} can be read; {len(skipped)} were skipped")

    if has_index:
        files = write_index(folder, name, read_shards(), len(split["scales"]))
    else:
        files = {}
        collections.deque(read_shards(), maxlen=0)
    return {"scales": split["scales"], "shards": shards, "skipped": sorted(skipped), **files}


def _print_skipped(skipped: list[tuple[str, str, str]], folder: Path) -> None:
    for name, path, reason in skipped[:20]:
        print(printable(f"skipped in {name}: {path}: {reason}"))
    if len(skipped) > 20:
        print(printable(f"… and {len(skipped) - 20} more; all are listed in {folder / MANIFEST}"))
