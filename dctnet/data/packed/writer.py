"""Photographs to a packed store, shard by shard, so that a kill loses at most the shard being written."""

import contextlib
import dataclasses
import errno
import hashlib
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from dctnet import __version__
from dctnet.data import folders
from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.decode import Decoder, ImageError, Photo, describe_decoder, image_size
from dctnet.data.packed.manifest import MANIFEST, Shard, StoreError, dump, read_manifest, seal, write_whole
from dctnet.data.readers import compute_channels, cut, pad
from dctnet.errors import UserError, first_line
from dctnet.frequency.channels import ChannelSet, rank_channels
from dctnet.frequency.dct import BLOCK
from dctnet.frequency.maskfile import keep_probability

_PLAN = "plan.json"
SHARD_BYTES = 256 << 20
# The steps are chosen on this many training images, and as many blocks of each of their scales.
_SAMPLE_IMAGES, _SAMPLE_BLOCKS = 200, 256
_TRANSFORM = (
    "whole image, sides to the nearest multiple of 8 with the short one at the scale, antialiased bilinear; YCbCr minus "
    "128; orthonormal 8x8 block DCT; divided by the step, rounded, clipped"
)


@dataclass(frozen=True)
class PackData:
    """What to pack, and for which crops.

    Args:
        channels: A name (``square-24``, ``all``, …), a mask file, or a list of indices. Of a mask file with keep
            probabilities the likeliest comes first in the store, otherwise the lowest frequency.
        image_size: Side of the crops that training will take, in pixels.
        crop_fraction: Evaluation square as a share of the short side; evaluation images are packed at image_size /
            crop_fraction.
        min_scale: Smallest share of the area that a training crop is to take; it sets the largest scale.
        val_fraction: Share held out for validation from a root without splits.
        classes: As for ``fit``.
        per_class: Cap on training images a class.
        decoder: For JPEG files.
        on_error: What a file that cannot be used does: ``stop`` the packing, or be left out and listed (``skip``).
    """

    channels: str | list[int] = "all"
    image_size: int = 224
    crop_fraction: float = 0.875
    min_scale: float = 0.35
    val_fraction: float = 0.0
    classes: str | list[str] | None = None
    per_class: int | None = None
    decoder: Literal["auto", "turbojpeg", "pillow"] = "auto"
    on_error: Literal["stop", "skip"] = "stop"


@dataclass(frozen=True)
class Source:
    """One image to pack: its file, its class, and its rows and columns of blocks at each scale."""

    path: str
    target: int
    blocks: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ShardTask:
    """All that one shard depends on, besides the files themselves.

    Args:
        name: Of the shard's files.
        sources: The images, in order.
        root: What the paths in the index are relative to.
        channels: Channel indices in the order of storage.
        steps: One a channel.
        dtype: ``int8`` or ``int16``.
        decoder: For JPEG files.
        on_error: ``stop`` or ``skip``.
    """

    name: str
    sources: tuple[Source, ...]
    root: str
    channels: tuple[int, ...]
    steps: tuple[float, ...]
    dtype: str
    decoder: Decoder
    on_error: str


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
    if workers is not None and workers < 1 or shard_bytes < 1:
        raise UserError(f"--workers and --shard_bytes must be at least 1, got {workers} and {shard_bytes}")
    plan = _plan(source, data, choose_scales(data, scales), dtype, shard_bytes)
    folder = Path(out)
    if (folder / MANIFEST).is_file():
        if read_manifest(folder).content["plan"] != _fingerprint(plan):
            raise UserError(f"{out}: holds a store of other photographs or options; choose another folder")
        print(f"{out}: already packed, nothing to do; dctnet verify {out} checks it")
        return
    plan = _settle(plan, source, folder)
    tasks = _tasks(plan, source)
    todo = [task for task in tasks if not (folder / f"{task.name}.json").is_file()]
    workers = min(workers or os.cpu_count() or 1, max(1, len(todo)))
    _announce(plan, tasks, todo, folder, workers)
    _run(todo, folder, workers, len(tasks))
    images = _finish(plan, source, tasks, folder)
    print(f"{out}: {images:,} images, {time.perf_counter() - started:.0f} s")


def choose_scales(data: PackData, asked: Sequence[int] | None) -> dict[str, tuple[int, ...]]:
    """The scales of each split.

    A random crop of a fixed size from an image at a short side s takes a share of the area that falls with s²; four
    scales spread that share evenly between 1 and ``min_scale``, as RandomResizedCrop does.

    Raises:
        UserError: A scale is no multiple of 8 or smaller than the crop.
    """
    size = data.image_size
    if asked is None:
        shares = [data.min_scale + (1 - data.min_scale) * (k + 0.5) / 4 for k in range(4)]
        asked = sorted({max(size, round(size / share**0.5 / BLOCK) * BLOCK) for share in shares})
    bad = [s for s in asked if s < size or s % BLOCK]
    if bad or not asked:
        raise UserError(f"--scales must be multiples of {BLOCK}, at least the crop's {size}; got {bad or 'none'}")
    evaluation = round(size / data.crop_fraction / BLOCK) * BLOCK
    return {"train": tuple(sorted(set(asked))), "val": (evaluation,), "test": (evaluation,)}


def grid(width: int, height: int, scale: int) -> tuple[int, int]:
    """Rows and columns of blocks of a whole image whose short side becomes ``scale`` pixels."""
    short, most = min(width, height), scale // BLOCK
    rows, columns = (max(most, round(side / short * most)) for side in (height, width))
    return rows, columns


def choose_steps(samples: np.ndarray, levels: int) -> tuple[np.ndarray, dict[str, list[float]]]:
    """For each channel the step with the least mean squared error, rounding and clipping together.

    Args:
        samples: Coefficients (K, N).
        levels: The largest integer: 127 or 32767.

    Returns:
        Steps (K,), and the error that they cause on these samples: ``relative_rms`` to the channel's own standard
        deviation, and ``clipped``, the share beyond the range.
    """
    steps, rms, clipped = [], [], []
    for values in samples.astype(np.float64):
        largest = max(float(np.abs(values).max()), 1e-3)
        best: tuple[float, float, float] | None = None
        for shrink in range(12):
            step = float(np.float32(largest * 0.8**shrink / levels))
            whole = np.rint(values / step)
            error = float(np.mean((np.clip(whole, -levels, levels) * step - values) ** 2))
            if best is None or error < best[0]:
                best = error, step, float(np.mean(np.abs(whole) > levels))
        assert best is not None
        steps.append(best[1])
        rms.append(round(best[0] ** 0.5 / max(float(values.std()), 1e-3), 6))
        clipped.append(round(best[2], 8))
    return np.array(steps), {"relative_rms": rms, "clipped": clipped}


def _plan(
    source: FrequencyDataModule, data: PackData, scales: dict[str, tuple[int, ...]], dtype: str, shard_bytes: int
) -> dict[str, Any]:
    """What is to be packed, down to the shards, from the files' headers; the steps are still to be chosen."""
    root = source.root
    present = [s for s in folders.SPLITS if folders.split_folder(root, s)] or ["train", "val"]
    channels = rank_channels(source.channel_set, keep_probability(data.channels))
    splits: dict[str, Any] = {}
    for split in present:
        found = source.files(split)  # type: ignore[arg-type]
        images, skipped, shards, filled = [], [], [0], 0
        for path, target in tqdm(list(zip(found.paths, found.targets, strict=True)), desc=f"sizes of {split}", unit="img"):
            try:
                width, height = image_size(path)
            except ImageError as error:
                if data.on_error == "stop":
                    raise ImageError(path, f"{error.reason} (to leave such files out and list them: --data.on_error skip)") from error
                skipped.append((os.path.relpath(path, root), error.reason))
                continue
            blocks = [grid(width, height, scale) for scale in scales[split]]
            size = sum(rows * columns for rows, columns in blocks) * len(channels) * np.dtype(dtype).itemsize
            if filled + size > shard_bytes and filled:
                shards.append(len(images))
                filled = 0
            filled += size
            images.append([os.path.relpath(path, root), target, blocks, os.path.getsize(path)])
        splits[split] = {"scales": scales[split], "images": images, "shards": shards, "skipped": skipped}
    return {
        "channels": channels,
        "dtype": dtype,
        "image_size": data.image_size,
        "crop_fraction": data.crop_fraction,
        "transform": _TRANSFORM,
        "decoder": describe_decoder(source.decoder),
        "made_with": {"dctnet": __version__, **{p: version(p) for p in ("torch", "numpy", "pillow")}},
        "source": root.name,
        "classes": source.class_names,
        "splits": splits,
    }


def _fingerprint(plan: dict[str, Any]) -> str:
    return hashlib.sha256(dump({k: v for k, v in plan.items() if k not in ("steps", "error")})).hexdigest()


def _settle(plan: dict[str, Any], source: FrequencyDataModule, folder: Path) -> dict[str, Any]:
    """The plan with its steps: that of an interrupted packing of the same, or a new one, written down."""
    path = folder / _PLAN
    if path.is_file():
        begun = json.loads(path.read_bytes().decode("utf-8", "surrogateescape"))
        if _fingerprint(begun) != _fingerprint(plan):
            now = json.loads(dump(plan))
            changed = ", ".join(key for key in now if begun.get(key) != now[key])
            raise UserError(f"{folder}: a packing was begun there that differs in {changed}; choose another folder")
        for left in folder.glob(".*-[0-9]*"):
            left.unlink(missing_ok=True)  # shards that a kill left half written
        return begun
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: exists and is no packed store; choose another folder")
    split = next(s for s in plan["splits"].values() if s["images"])
    samples = _sample(split, plan, source)
    steps, error = choose_steps(samples, np.iinfo(plan["dtype"]).max)
    plan = {**plan, "steps": steps.tolist(), "error": error}
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, dump(plan))
    return json.loads(dump(plan))


def _sample(split: dict[str, Any], plan: dict[str, Any], source: FrequencyDataModule) -> np.ndarray:
    images, count = split["images"], min(_SAMPLE_IMAGES, len(split["images"]))
    parts = []
    with _one_thread():
        for i in tqdm(range(count), desc="choosing steps", unit="img"):
            path, _, blocks, _ = images[i * len(images) // count]
            with contextlib.suppress(ImageError):  # whoever packs it says so
                photo = Photo(source.root / path, source.decoder)
                for shape in blocks:
                    values = _coefficients(photo, shape, plan["channels"]).flatten(1)
                    parts.append(values[:, :: max(1, values.shape[1] // _SAMPLE_BLOCKS)].numpy())
    if not parts:
        raise UserError(f"{source.root}: none of the first {count} images can be read")
    return np.concatenate(parts, 1)


def _coefficients(photo: Photo, blocks: tuple[int, int], channels: Sequence[int]) -> torch.Tensor:
    """All of an image, resized to a grid of blocks, in the order of the store."""
    ascending = sorted(channels)
    box = (0.0, 0.0, float(photo.width), float(photo.height))
    padded = pad([cut(photo, box, blocks[1] * BLOCK, blocks[0] * BLOCK)])
    values = compute_channels(padded, (blocks[0], blocks[1]), ChannelSet("packed", tuple(ascending)))[0]
    return values[[ascending.index(c) for c in channels]]


def _tasks(plan: dict[str, Any], source: FrequencyDataModule) -> list[ShardTask]:
    tasks = []
    for name, split in plan["splits"].items():
        images = split["images"]
        for number, (start, stop) in enumerate(itertools.pairwise([*split["shards"], len(images)])):
            sources = tuple(
                Source(str(source.root / path), target, tuple((r, c) for r, c in blocks))
                for path, target, blocks, _ in images[start:stop]
            )
            tasks.append(
                ShardTask(
                    f"{name}-{number:05d}", sources, str(source.root), tuple(plan["channels"]), tuple(plan["steps"]),
                    plan["dtype"], source.decoder, source.hparams["on_error"],
                )
            )  # fmt: skip
    return [task for task in tasks if task.sources]


def _bytes(task: ShardTask) -> int:
    blocks = sum(rows * columns for source in task.sources for rows, columns in source.blocks)
    return blocks * len(task.channels) * np.dtype(task.dtype).itemsize


def _announce(plan: dict[str, Any], tasks: list[ShardTask], todo: list[ShardTask], folder: Path, workers: int) -> None:
    """Says how large it will be and how long it will take; refuses when the disk has no room for it."""
    size, missing = (sum(map(_bytes, some)) for some in (tasks, todo))
    free = shutil.disk_usage(folder).free
    images = sum(len(t.sources) for t in todo)
    seconds = 0.0
    if todo:
        probe, started = todo[0], time.perf_counter()
        some = probe.sources[:: max(1, len(probe.sources) // 8)][:8]
        with _one_thread(), contextlib.suppress(ImageError):
            list(shard_images(dataclasses.replace(probe, sources=some)))
        seconds = (time.perf_counter() - started) / len(some) * images / workers
    done = f"; {len(tasks) - len(todo)} shards are there already" if len(todo) < len(tasks) else ""
    worst = max(plan["error"]["relative_rms"])
    print(
        f"{images:,} images to pack into {len(todo)} shards{done}. The store: {size / 1e6:,.1f} MB in all; about "
        f"{seconds:,.0f} s on {workers} processes. Steps: error at most {100 * worst:.1f} % of a channel's spread",
        flush=True,
    )
    if missing > free:
        raise UserError(f"{folder}: {missing / 1e6:,.0f} MB are still to be written, {free / 1e6:,.0f} MB are free on that disk")


def shard_images(task: ShardTask) -> Iterator[tuple[dict[str, Any], bytes] | tuple[str, str]]:
    """The images of a shard, each as its entry in the index and its bytes; or path and reason of one left out.

    Depends on nothing but the task and the files it names: the same shard on any machine of the same software.

    Raises:
        ImageError: A file cannot be used, and the task says to stop.
    """
    levels = np.iinfo(task.dtype).max
    steps = torch.tensor(task.steps)[:, None, None]
    for source in task.sources:
        relative = os.path.relpath(source.path, task.root)
        try:
            photo = Photo(source.path, task.decoder)
            values = [_coefficients(photo, shape, task.channels) for shape in source.blocks]
        except ImageError as error:
            if task.on_error == "stop":
                raise ImageError(source.path, f"{error.reason} (to leave such files out and list them: --data.on_error skip)") from error
            yield relative, error.reason
            continue
        whole = [torch.round(v / steps).clamp(-levels, levels).numpy().astype(task.dtype) for v in values]
        entry = {
            "path": relative,
            "sha256": hashlib.sha256(photo.data).hexdigest(),
            "target": source.target,
            "blocks": source.blocks,
        }
        yield entry, b"".join(w.astype(w.dtype.newbyteorder("<")).tobytes() for w in whole)


def write_shard(task: ShardTask, folder: Path) -> None:
    """Writes one shard: the coefficients, then the index, which is there only when all is.

    Raises:
        OSError: The disk is full or cannot be written; nothing is left behind.
        ImageError: As :func:`shard_images`.
    """
    temporary = folder / f".{task.name}.{os.getpid()}"
    images, skipped, digest, size = [], [], hashlib.sha256(), 0
    try:
        with open(temporary, "wb") as file:
            for entry, content in shard_images(task):
                if isinstance(entry, str):
                    skipped.append((entry, content))
                    continue
                file.write(content)
                digest.update(content)
                size += len(content)
                images.append(entry)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / f"{task.name}.bin")
    finally:
        temporary.unlink(missing_ok=True)
    index = {"images": images, "skipped": skipped, "size": size, "sha256": digest.hexdigest()}
    write_whole(folder / f"{task.name}.json", dump(index))


def _run(todo: list[ShardTask], folder: Path, workers: int, total: int) -> None:
    images = sum(len(t.sources) for t in todo)
    try:
        with tqdm(total=images, desc="packing", unit="img") as bar:
            if workers == 1:
                with _one_thread():
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
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        done = total - sum(not (folder / f"{task.name}.json").is_file() for task in todo)
        raise UserError(
            f"{folder}: {first_line(error)}; {done} of {total} shards are whole and stay; make room, then run the same command again"
        ) from error


def _enter_worker() -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops us
    # A killed parent cannot: without this its workers would wait for ever.
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    # Sums are added up in another order by more threads, and a rounding could fall the other way.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _finish(plan: dict[str, Any], source: FrequencyDataModule, tasks: list[ShardTask], folder: Path) -> int:
    """Writes the manifest and lists what was left out; returns the number of images."""
    splits: dict[str, Any] = {}
    for name, split in plan["splits"].items():
        shards, skipped = [], [tuple(s) for s in split["skipped"]]
        for task in tasks:
            if not task.name.startswith(f"{name}-"):
                continue
            raw = (folder / f"{task.name}.json").read_bytes()
            index = json.loads(raw.decode("utf-8", "surrogateescape"))
            skipped += [tuple(s) for s in index["skipped"]]
            shards.append(Shard(task.name, index["size"], index["sha256"], hashlib.sha256(raw).hexdigest(), len(index["images"])))
        if not sum(shard.images for shard in shards):
            raise UserError(f"{source.root}: no image of {name} can be read; {len(skipped)} were left out")
        splits[name] = {"scales": split["scales"], "shards": [vars(s) for s in shards], "skipped": sorted(skipped)}
    content = {**{k: v for k, v in plan.items() if k != "splits"}, "splits": splits, "plan": _fingerprint(plan)}
    write_whole(folder / MANIFEST, dump(seal(content)))
    (folder / _PLAN).unlink(missing_ok=True)
    left_out = [(name, *s) for name, split in splits.items() for s in split["skipped"]]
    for name, path, reason in left_out[:20]:
        print(f"left out of {name}: {path}: {reason}")
    if len(left_out) > 20:
        print(f"… and {len(left_out) - 20} more, all in {folder / MANIFEST}")
    return sum(shard["images"] for split in splits.values() for shard in split["shards"])
