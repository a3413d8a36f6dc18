"""Writing of shards by worker processes, and an estimate of the time it takes."""

import dataclasses
import shutil
import time
from collections.abc import Callable
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dctnet.data.packed.pool import worker_pool
from dctnet.data.packed.shard import ShardTask, one_thread, shard_images, write_shard
from dctnet.errors import UserError


def estimate_seconds(tasks: list[ShardTask], workers: int) -> float:
    """Estimates the time to write some shards, by transforming up to 32 images of the largest."""
    largest = max(tasks, key=lambda task: task.size)
    sample = dataclasses.replace(largest, images=largest.images[:: max(1, len(largest.images) // 16)], on_error="skip")
    started = time.perf_counter()
    with one_thread():
        list(shard_images(sample))
    seconds_per_byte = (time.perf_counter() - started) / sample.size
    # A single shard is never split between workers. Starting a worker takes some seconds.
    critical = max(sum(task.size for task in tasks) / workers, largest.size)
    return seconds_per_byte * critical + (5 if workers > 1 else 0)


def announce(
    plan: dict[str, Any], tasks: list[ShardTask], missing: list[ShardTask], folder: Path, workers: int
) -> None:
    """Prints what will be written, of some shards of a plan, and how long it takes.

    Raises:
        UserError: The disk is too full for the missing shards.
    """
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
    needed, free = sum(task.size for task in missing), shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(f"{folder}: {needed / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free on that disk")


def write_shards(
    tasks: list[ShardTask], folder: Path, workers: int, write: Callable[[ShardTask, Path], None] = write_shard
) -> None:
    """Writes shards by the function ``write``, in this process if ``workers`` is 1.

    Raises:
        UserError: A worker process died.
        OSError: The disk is full or cannot be written.
        ImageError: As :func:`~dctnet.data.packed.shard.write_shard`.
    """
    with tqdm(total=sum(len(task.images) for task in tasks), desc="packing", unit="img") as bar:
        if workers == 1:
            with one_thread():
                for task in tasks:
                    write(task, folder)
                    bar.update(len(task.images))
            return
        with worker_pool(workers, folder) as pool:
            running = {pool.submit(write, task, folder): task for task in tasks}
            for future in as_completed(running):
                future.result()
                bar.update(len(running[future].images))
