"""Photographs to a packed store, shard by shard, so that a kill loses at most the shards being written."""

import contextlib
import dataclasses
import errno
import hashlib
import multiprocessing
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tqdm import tqdm

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.packed.manifest import Shard, read_manifest, seal
from dctnet.data.packed.plan import PackData, choose_scales, fingerprint, make_plan, make_tasks
from dctnet.data.packed.quantization import choose_quantization_steps, sample_coefficients
from dctnet.data.packed.schema import MANIFEST, PLAN, fault_of_images, is_left_out, read_json
from dctnet.data.packed.shard import ShardTask, one_thread, shard_images, shard_size, write_shard
from dctnet.data.packed.verify import is_intact
from dctnet.errors import UserError, first_line, printable
from dctnet.io.atomic import atomic_write
from dctnet.io.canonical_json import dump_json, parse_json

# What a kill can leave of our own files, named by atomic_write and write_shard.
_HALF_WRITTEN = re.compile(r"\.(plan\.json|manifest\.json|(train|val|test)-\d{5}(\.json)?)\.\d+")
SHARD_BYTES = 256 << 20


def pack(
    src: str,
    out: str,
    data: PackData = PackData(),  # noqa: B008 - frozen
    scales: list[int] | None = None,
    dtype: Literal["int8", "int16"] = "int8",
    workers: int | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Packs a data set into its kept channels, to be trained on without decoding; goes on where it was stopped.

    Args:
        src: A folder with train/ and val/, a folder a class; or one folder of classes, with --data.val_fraction.
        out: The store to make; ``--data.root OUT`` reads it.
        data: What to pack.
        scales: Short sides in pixels at which training images are stored, multiples of 8; otherwise four that
            --data.image_size and --data.min_scale ask for.
        dtype: Of the stored numbers.
        workers: Processes; otherwise one for each CPU core.
        shard_bytes: Size of a shard at most; a single image may be larger.

    Raises:
        UserError: An option that cannot be, a file that cannot be used, no room on the disk, or a store of something
            else in ``out``.
    """
    started = time.perf_counter()
    source = FrequencyDataModule(
        src, data.channels, image_size=data.image_size, val_fraction=data.val_fraction, classes=data.classes,
        per_class=data.per_class, min_scale=data.min_scale, crop_fraction=data.crop_fraction, decoder=data.decoder,
        on_error=data.on_error,
    )  # fmt: skip
    if source.store is not None:
        raise UserError(f"{src}: already a packed store; pack from the photographs")
    if (workers is not None and workers < 1) or shard_bytes < 1:
        raise UserError(f"--workers and --shard_bytes must be at least 1, got {workers} and {shard_bytes}")
    folder = Path(out)
    if folder.resolve().is_relative_to(source.root.resolve()):
        raise UserError(f"{out}: lies within {src}, of which it would become a class; choose a folder outside")
    plan = make_plan(source, data, choose_scales(data, scales), dtype, shard_bytes)
    with _translate_disk_errors(folder), _alone(folder):
        plan = _settle(plan, source, folder)
        tasks = make_tasks(plan, source)
        todo = _missing(folder, tasks)
        if not todo and (folder / MANIFEST).is_file():
            (folder / PLAN).unlink(missing_ok=True)
            print(printable(f"{out}: already packed, nothing to do; dctnet verify {out} checks it"))
            return
        workers = min(workers or os.cpu_count() or 1, max(1, len(todo)))
        _announce(plan, tasks, todo, folder, workers)
        _run(todo, folder, workers)
        images = _finish(plan, source, tasks, folder)
    print(printable(f"{out}: {images:,} images, {time.perf_counter() - started:.0f} s"))


@contextlib.contextmanager
def _translate_disk_errors(folder: Path) -> Iterator[None]:
    """What a disk refuses, in one line that says what is there already."""
    try:
        yield
    except OSError as error:
        state = (
            f"{len(list(folder.glob('*-*.json')))} shards are whole and stay" if folder.is_dir() else "nothing is there"
        )
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "make room and run the same command again" if full else "then run the same command again"
        raise UserError(f"{folder}: {first_line(error)}; {state}; {advice}") from error
    except BrokenProcessPool as error:
        advice = "with fewer --workers, if it was for want of memory"
        raise UserError(f"{folder}: a packing process died; run the same command again, {advice}") from error


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Makes the folder, keeps a second packing out of it, and clears away what a killed one left half written."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: exists and is no folder")
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, folder)
        for left in folder.iterdir():
            if _HALF_WRITTEN.fullmatch(left.name) and left.is_file():
                left.unlink()
        yield
    finally:
        os.close(handle)
        if made and not any(folder.iterdir()):
            folder.rmdir()


def _lock(handle: int, folder: Path) -> None:
    # Where there is no such lock (Windows, some network file systems) the user has to see to it.
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(f"{folder}: another packing is at work there; wait for it or stop it") from error
    except (ImportError, OSError):
        pass


def _missing(folder: Path, tasks: list[ShardTask]) -> list[ShardTask]:
    """The shards that are still to be made, or made again: of a finished store, those that are not the manifest's."""
    if not (folder / MANIFEST).is_file():
        return [task for task in tasks if not _is_whole(folder, task)]
    shards = {s.name: s for split in read_manifest(folder, files=False).splits.values() for s in split.shards}
    lost = [task for task in tasks if not _is_whole(folder, task, shards[task.name])]
    if lost:  # then look at the bytes of the others, too, before they are vouched for anew
        lost += [task for task in tasks if task not in lost and not is_intact(folder, shards[task.name])]
    return lost


def _is_whole(folder: Path, task: ShardTask, shard: Shard | None = None) -> bool:
    """Whether both files of a shard are there, of the size that the index names; and the index is the manifest's.

    Without a manifest to tell, an index must be one, of this shard's images.
    """
    index, content = folder / f"{task.name}.json", folder / f"{task.name}.bin"
    if not index.is_file() or not content.is_file():
        return False
    raw = index.read_bytes()
    if shard is not None and hashlib.sha256(raw).hexdigest() != shard.index_sha256:
        return False
    try:
        return _is_index(parse_json(raw), task, content.stat().st_size)
    except (ValueError, RecursionError):  # cut short
        return False


def _is_index(index: Any, task: ShardTask, size: int) -> bool:
    """Whether an index names this size, and the images of a task, each as it was planned or as left out."""
    if not isinstance(index, dict) or not isinstance(index.get("sha256"), str) or not is_left_out(index.get("skipped")):
        return False
    scales, classes = len(task.sources[0].blocks), 1 + max(source.target for source in task.sources)
    if index.get("size") != size or fault_of_images(index.get("images"), scales, classes):
        return False
    planned = {os.path.relpath(s.path, task.root): [s.target, [*map(list, s.blocks)]] for s in task.sources}
    found = {image["path"]: [image["target"], image["blocks"]] for image in index["images"]}
    named = found.keys() | dict(index["skipped"]).keys()
    return named == planned.keys() and planned == {**planned, **found}


def _settle(plan: dict[str, Any], source: FrequencyDataModule, folder: Path) -> dict[str, Any]:
    """The plan with its steps: that of an earlier packing of the same, or a new one, written down."""
    for name in (MANIFEST, PLAN):
        if (folder / name).is_file():
            begun = read_manifest(folder, files=False).content if name == MANIFEST else read_json(folder / name)
            if not isinstance(begun, dict):
                raise UserError(f"{folder / name}: not what dctnet pack writes; choose another folder")
            now = parse_json(dump_json({**plan, "plan": fingerprint(plan)}))
            if begun.get("plan") != now["plan"]:
                # A manifest's splits are written in another way; the fingerprint covers them.
                told = [key for key in now if key not in ("plan", "splits") and begun.get(key) != now[key]]
                changed = ", ".join(told) or "the photographs, scales or shards"
                raise UserError(f"{folder}: packed with other options or files, {changed}; choose another folder")
            return {**now, "steps": begun["steps"], "error": begun["error"]}
    if any(folder.iterdir()):
        raise UserError(f"{folder}: holds other files and no packed store; choose another folder")
    split = next((s for s in plan["splits"].values() if s["images"]), None)
    if split is None:
        raise UserError(f"{source.root}: not one of the files can be read")
    samples = sample_coefficients(split, plan["channels"], source.root, source.decoder)
    steps, error = choose_quantization_steps(samples, np.iinfo(plan["dtype"]).max)
    plan = {**plan, "plan": fingerprint(plan), "steps": steps.tolist(), "error": error}
    atomic_write(folder / PLAN, dump_json(plan))
    return parse_json(dump_json(plan))


def _announce(plan: dict[str, Any], tasks: list[ShardTask], todo: list[ShardTask], folder: Path, workers: int) -> None:
    """Says how large it will be and how long it will take; refuses when the disk has no room for it."""
    size, missing = (sum(map(shard_size, some)) for some in (tasks, todo))
    free = shutil.disk_usage(folder).free
    images = sum(len(t.sources) for t in todo)
    seconds = _estimate(todo, workers) if todo else 0.0
    done = f"; {len(tasks) - len(todo)} shards are there already" if len(todo) < len(tasks) else ""
    worst = max(plan["error"]["relative_rms"])
    print(
        f"{images:,} images to pack into {len(todo)} shards{done}. The store: {size / 1e6:,.1f} MB in all; about "
        f"{seconds:,.0f} s on {workers} processes. Steps: error at most {100 * worst:.1f} % of a channel's spread",
        flush=True,
    )
    if missing > free:
        raise UserError(
            f"{folder}: {missing / 1e6:,.0f} MB are still to be written, {free / 1e6:,.0f} MB are free on that disk"
        )


def _estimate(todo: list[ShardTask], workers: int) -> float:
    """Seconds that the shards will take, by the bytes of a few images of the largest."""
    largest = max(todo, key=shard_size)
    some = dataclasses.replace(largest, sources=largest.sources[:: max(1, len(largest.sources) // 16)], on_error="skip")
    started = time.perf_counter()
    with one_thread():
        list(shard_images(some))
    a_byte = (time.perf_counter() - started) / shard_size(some)
    # No more processes than shards have work; a process takes some seconds to start.
    return a_byte * max(sum(map(shard_size, todo)) / workers, shard_size(largest)) + (5 if workers > 1 else 0)


def _run(todo: list[ShardTask], folder: Path, workers: int) -> None:
    images = sum(len(t.sources) for t in todo)
    with tqdm(total=images, desc="packing", unit="img") as bar:
        if workers == 1:
            with one_thread():
                for task in todo:
                    write_shard(task, folder)
                    bar.update(len(task.sources))
            return
        # Spawned, for a fork would copy locks that torch's threads may hold.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, _enter_worker) as pool:
            running = {pool.submit(write_shard, task, folder): task for task in todo}
            try:
                for future in as_completed(running):
                    future.result()
                    bar.update(len(running[future].sources))
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


def _enter_worker() -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops us
    # A killed parent cannot: without this its workers would wait for ever.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _finish(plan: dict[str, Any], source: FrequencyDataModule, tasks: list[ShardTask], folder: Path) -> int:
    """Writes the manifest and lists what was left out; returns the number of images."""
    splits: dict[str, Any] = {}
    for name, split in plan["splits"].items():
        shards, skipped = [], [tuple(s) for s in split["skipped"]]
        for task in tasks:
            if not task.name.startswith(f"{name}-"):
                continue
            raw = (folder / f"{task.name}.json").read_bytes()
            index = parse_json(raw)
            skipped += [tuple(s) for s in index["skipped"]]
            shards.append(
                Shard(task.name, index["size"], index["sha256"], hashlib.sha256(raw).hexdigest(), len(index["images"]))
            )
        if not sum(shard.images for shard in shards):
            raise UserError(f"{source.root}: no image of {name} can be read; {len(skipped)} were left out")
        splits[name] = {"scales": split["scales"], "shards": [vars(s) for s in shards], "skipped": sorted(skipped)}
    content = dump_json(seal({**plan, "splits": splits}))
    if (folder / MANIFEST).is_file() and (folder / MANIFEST).read_bytes() != content:
        raise UserError(f"{folder}: what was made again is not what the manifest names: the photographs have changed")
    atomic_write(folder / MANIFEST, content)
    (folder / PLAN).unlink(missing_ok=True)
    left_out = [(name, *s) for name, split in splits.items() for s in split["skipped"]]
    for name, path, reason in left_out[:20]:
        print(printable(f"left out of {name}: {path}: {reason}"))
    if len(left_out) > 20:
        print(printable(f"… and {len(left_out) - 20} more, all in {folder / MANIFEST}"))
    return sum(shard["images"] for split in splits.values() for shard in split["shards"])
