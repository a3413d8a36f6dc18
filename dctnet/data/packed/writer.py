"""The verb ``pack``: photographs to a packed store, shard by shard; a stopped packing can be resumed."""

import contextlib
import errno
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from dctnet.data.config_checks import check_data_options
from dctnet.data.images.photo import choose_decoder
from dctnet.data.packed.manifest import MANIFEST, PLAN, Shard, dump_manifest, is_store, read_json, read_manifest
from dctnet.data.packed.plan import choose_scales, make_plan, make_tasks, resume_or_create_plan
from dctnet.data.packed.shard import ShardTask, is_complete
from dctnet.data.packed.verify import is_intact
from dctnet.data.packed.workers import estimate_seconds, write_shards
from dctnet.data.sources import PhotoSource
from dctnet.errors import UserError, first_line, printable
from dctnet.frequency.maskfile import keep_probability, resolve_channels
from dctnet.frequency.selections import rank_channels
from dctnet.io.atomic import atomic_write
from dctnet.io.files import file_sha256

# Parameters of pack() that are --data.NAME on the command line.
DATA_OPTIONS = (
    "channels",
    "image_size",
    "crop_fraction",
    "min_scale",
    "val_fraction",
    "classes",
    "per_class",
    "decoder",
    "on_error",
)
SHARD_BYTES = 256 << 20
# Temporary files of atomic_open, which remain after a kill.
_TEMPORARY = re.compile(r"\.(plan\.json|manifest\.json|(train|val|test)-\d{5,}(\.json|\.bin)?)\.\d+")


def pack(
    src: str,
    out: str,
    *,
    channels: str | list[int] = "all",
    image_size: int = 224,
    crop_fraction: float = 0.875,
    min_scale: float = 0.35,
    val_fraction: float = 0.0,
    classes: str | list[str] | None = None,
    per_class: int | None = None,
    decoder: Literal["auto", "turbojpeg", "pillow"] = "auto",
    on_error: Literal["stop", "skip"] = "stop",
    scales: list[int] | None = None,
    dtype: Literal["int8", "int16"] = "int8",
    workers: int | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Packs the kept channels of a data set, so that training reads them without decoding. Resumes if it was stopped.

    Args:
        src: A folder with train/ and val/, each with one folder per class; or one folder of classes, with
            --data.val_fraction.
        out: The store to write; ``--data.root OUT`` reads it.
        channels: A name (``square-24``, ``all``, …), a mask file, or a list of indices. The store is ordered by the
            keep probabilities of a mask file that has them, otherwise by frequency.
        image_size: Side of the crops for training, in pixels.
        crop_fraction: Evaluation square as a share of the short side; evaluation images are packed at image_size /
            crop_fraction.
        min_scale: Smallest share of the area that a training crop covers; it sets the largest scale.
        val_fraction: Share held out for validation from a root without splits.
        classes: As for ``fit``.
        per_class: Maximum number of training images of each class.
        decoder: Decoder of JPEG files.
        on_error: What to do with a file that cannot be used: ``stop`` the packing, or ``skip`` and list it.
        scales: Short sides in pixels at which training images are stored, multiples of 8; those below image_size are
            for progressive sizes. Default: four scales chosen from --data.image_size and --data.min_scale.
        dtype: Type of the stored numbers.
        workers: Number of processes. Default: the number of CPU cores.
        shard_bytes: Largest size of a shard; a single image may be larger.

    Raises:
        UserError: An option is invalid, a file cannot be used, the disk is full, or ``out`` has a store of other
            options or photographs.
    """
    started = time.perf_counter()
    if is_store(src):
        raise UserError(f"{src}: already a packed store; pack from the photographs")
    check_data_options(
        {
            "channels": channels, "image_size": image_size, "crop_fraction": crop_fraction, "min_scale": min_scale,
            "val_fraction": val_fraction, "classes": classes, "per_class": per_class,
        }
    )  # fmt: skip
    if (workers is not None and workers < 1) or shard_bytes < 1:
        raise UserError(f"--workers and --shard_bytes must be at least 1, got {workers} and {shard_bytes}")
    folder, reader = Path(out), choose_decoder(decoder)
    ranked = rank_channels(resolve_channels(channels), keep_probability(channels))
    source = PhotoSource(src, classes=classes, val_fraction=val_fraction, per_class=per_class)
    if folder.resolve().is_relative_to(source.root.resolve()):
        raise UserError(f"{out}: lies within {src} and would become one of its classes; choose a folder outside")
    split_scales = choose_scales(image_size, crop_fraction, min_scale, scales)
    plan = make_plan(source, ranked, image_size, crop_fraction, split_scales, dtype, shard_bytes, reader, on_error)
    with _translate_disk_errors(folder), lock_folder(folder):
        plan = resume_or_create_plan(plan, folder, source.root, reader)
        tasks = make_tasks(plan, source.root, reader, on_error)
        missing = _find_missing(folder, tasks)
        if not missing and (folder / MANIFEST).is_file():
            (folder / PLAN).unlink(missing_ok=True)
            print(printable(f"{out}: already packed, nothing to do; dctnet verify {out} checks it"))
            return
        workers = min(workers or os.cpu_count() or 1, max(1, len(missing)))
        _print_plan(plan, tasks, missing, workers)
        _check_free_space(missing, folder)
        write_shards(missing, folder, workers)
        images = _finish(plan, tasks, folder, source.root)
    print(printable(f"{out}: {images:,} images, {time.perf_counter() - started:.0f} s"))


@contextlib.contextmanager
def _translate_disk_errors(folder: Path) -> Iterator[None]:
    """Converts OSError to a UserError that says how many shards are complete and how to continue."""
    try:
        yield
    except OSError as error:
        count = len(list(folder.glob("*-*.json"))) if folder.is_dir() else 0
        advice = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "correct this"
        kept = f"{count} shards are complete and kept"
        raise UserError(f"{folder}: {first_line(error)}; {kept}; {advice} and run the same command again") from error


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Creates a store's folder if needed, locks it, and removes temporary files of a killed packing.

    On systems without such locks (Windows, some network file systems) it does not exclude a second packing.

    Raises:
        UserError: Another packing has locked the folder, or it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: exists and is not a folder")
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor, folder)
        for entry in folder.iterdir():
            if _TEMPORARY.fullmatch(entry.name) and entry.is_file():
                entry.unlink()
        yield
    finally:
        os.close(descriptor)
        if is_new and not any(folder.iterdir()):
            folder.rmdir()


def _lock(descriptor: int, folder: Path) -> None:
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(f"{folder}: another packing is running there; wait for it or stop it") from error
    except (ImportError, OSError):
        pass


def _find_missing(folder: Path, tasks: list[ShardTask]) -> list[ShardTask]:
    """The shards that are missing or incomplete; of a store with a manifest also those that do not match it."""
    if not (folder / MANIFEST).is_file():
        return [task for task in tasks if not is_complete(task, folder)]
    shards = {s.name: s for split in read_manifest(folder, files=False).splits.values() for s in split.shards}
    missing = [task for task in tasks if not is_complete(task, folder, shards[task.name].index_sha256)]
    if missing:  # The manifest will be written again, so the other shards must match it byte for byte.
        missing += [task for task in tasks if task not in missing and not is_intact(folder, shards[task.name])]
    return missing


def _print_plan(plan: dict[str, Any], tasks: list[ShardTask], missing: list[ShardTask], workers: int) -> None:
    size = sum(task.size for task in tasks)
    images = sum(len(task.images) for task in missing)
    seconds = estimate_seconds(missing, workers) if missing else 0.0
    kept = f"; {len(tasks) - len(missing)} shards are already complete" if len(missing) < len(tasks) else ""
    worst = max(plan["error"]["relative_rms"])
    print(
        f"{images:,} images to pack into {len(missing)} shards{kept}. Size of the store: {size / 1e6:,.1f} MB; "
        f"time: about {seconds:,.0f} s with {workers} processes. Quantization error: at most {100 * worst:.1f} % of a "
        "channel's standard deviation",
        flush=True,
    )


def _check_free_space(missing: list[ShardTask], folder: Path) -> None:
    needed, free = sum(task.size for task in missing), shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(f"{folder}: {needed / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free on that disk")


def _finish(plan: dict[str, Any], tasks: list[ShardTask], folder: Path, root: Path) -> int:
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
