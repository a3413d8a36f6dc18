"""The verb ``pack``: photographs to a packed store, shard by shard; a stopped packing can be resumed."""

import contextlib
import errno
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from dctnet.cores import available_cores
from dctnet.data.config_checks import check_data_options
from dctnet.data.images.photo import Decoder, choose_decoder
from dctnet.data.packed.cluster import connected, write_shards_on_ray
from dctnet.data.packed.completion import find_missing, finish, is_finished
from dctnet.data.packed.locks import lock_folder, lock_part
from dctnet.data.packed.manifest import PLAN, is_store
from dctnet.data.packed.parts import pack_part, parse_part
from dctnet.data.packed.plan import choose_scales, make_plan, make_tasks, resume_or_create_plan
from dctnet.data.packed.sizes import read_sizes
from dctnet.data.packed.workers import announce, write_shards
from dctnet.data.sources import PhotoSource
from dctnet.errors import UserError, first_line, printable
from dctnet.frequency.maskfile import keep_probability, resolve_channels
from dctnet.frequency.selections import rank_channels

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
    part: str | None = None,
    executor: Literal["local", "ray"] = "local",
    address: str | None = None,
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
        workers: Number of processes on this machine. Default: the number of CPU cores.
        shard_bytes: Largest size of a shard; a single image may be larger.
        part: ``i/n`` writes every n-th shard, from the i-th: n processes or machines with one file system pack one
            store, and the last to end completes it.
        executor: ``ray`` writes the shards on the nodes of a Ray cluster with one file system.
        address: Of the cluster, as HOST:PORT.

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
    _check_execution(workers, part, executor, address)
    folder, reader = Path(out), choose_decoder(decoder)
    ranked = rank_channels(resolve_channels(channels), keep_probability(channels))
    source = PhotoSource(src, classes=classes, val_fraction=val_fraction, per_class=per_class)
    if folder.resolve().is_relative_to(source.root.resolve()):
        raise UserError(f"{out}: lies within {src} and would become one of its classes; choose a folder outside")
    split_scales = choose_scales(image_size, crop_fraction, min_scale, scales)

    cores = workers or available_cores()

    def plan_files(earlier: dict[str, Any] | None = None) -> dict[str, Any]:
        options = ranked, image_size, crop_fraction, split_scales, dtype, shard_bytes, reader, on_error
        return make_plan(source, *options, functools.partial(read_sizes, folder=folder, workers=cores), earlier)

    if part is not None:
        with _translate_disk_errors(folder), lock_part(folder):
            pack_part(plan_files, folder, source.root, reader, on_error, parse_part(part), cores)
        return
    images = _pack_whole(plan_files, folder, source.root, reader, on_error, cores, address)
    if images is None:
        print(printable(f"{out}: already packed, nothing to do; dctnet verify {out} checks it"))
    else:
        print(printable(f"{out}: {images:,} images, {time.perf_counter() - started:.0f} s"))


def _pack_whole(
    plan_files: Callable[[], dict[str, Any]],
    folder: Path,
    root: Path,
    decoder: Decoder,
    on_error: str,
    workers: int,
    address: str | None,
) -> int | None:
    """Writes the missing shards and completes the store; returns its number of images, or None if it was complete."""
    # Ray first: a plan takes long, and binds the folder to its options.
    with connected(address) if address else contextlib.nullcontext() as ray:
        plan = plan_files()
        with _translate_disk_errors(folder), lock_folder(folder):
            plan = resume_or_create_plan(plan, folder, root, decoder)
            tasks = make_tasks(plan, root, decoder, on_error)
            missing = find_missing(folder, tasks)
            if not missing and is_finished(folder):
                (folder / PLAN).unlink(missing_ok=True)
                return None
            workers = min(workers, max(1, len(missing)))
            announce(plan, tasks, missing, folder, workers)
            if ray is not None:
                write_shards_on_ray(ray, missing, folder, f"--address {address}")
            else:
                write_shards(missing, folder, workers)
            return finish(plan, tasks, folder, root)


def _check_execution(workers: int | None, part: str | None, executor: str, address: str | None) -> None:
    """Raises UserError if options that say where shards are written exclude each other."""
    if part is not None:
        parse_part(part)
    if executor == "ray" and address is None:
        raise UserError("--executor ray needs --address HOST:PORT of the head node")
    if executor == "local" and address is not None:
        raise UserError(f"--address {address}: of a Ray cluster, needs --executor ray")
    if executor == "ray" and (workers or part):
        raise UserError("--executor ray: the cluster chooses where shards are written, without --workers and --part")


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
