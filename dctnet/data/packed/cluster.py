"""Writing of shards on the nodes of a Ray cluster, which share a file system with this machine."""

import logging
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dctnet.data.packed.shard import ShardTask, one_thread, write_shard
from dctnet.errors import UserError, first_line

_REACH, _ANSWER = 5.0, 60.0  # seconds to reach the head node, and for its answer
_RETRIES = 20  # of a shard whose node died


def write_shards_on_ray(tasks: list[ShardTask], folder: Path, address: str) -> None:
    """Writes shards as tasks of a Ray cluster; those of a node that dies are written by another.

    Raises:
        UserError: Ray is not installed, the address does not answer, or the nodes cannot write the shards.
        ImageError: As :func:`~dctnet.data.packed.shard.write_shard`.
    """
    ray = connect(address)
    try:
        write = ray.remote(num_cpus=1, max_retries=_RETRIES)(_write)
        running = {write.remote(task, folder.resolve()): task for task in tasks}
        with tqdm(total=sum(len(task.images) for task in tasks), desc="packing", unit="img") as bar:
            while running:
                (done, *_), _ = ray.wait(list(running))
                ray.get(done)
                bar.update(len(running.pop(done).images))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None  # what the task raised, without Ray's traceback in its message
    except ray.exceptions.RayError as error:
        raise UserError(f"--address {address}: {first_line(error)}; run the same command again") from error
    finally:
        ray.shutdown()


def _write(task: ShardTask, folder: Path) -> None:
    with one_thread():
        write_shard(task, folder)


def connect(address: str) -> Any:
    """Connects this process to a Ray cluster; returns the module ``ray``.

    Raises:
        UserError: Ray is not installed, or no cluster answers at the address.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError("--executor ray needs Ray: pip install 'dctnet[cluster]'") from error
    host, _, port = address.rpartition(":")
    what = f"--address {address}: no Ray cluster"
    if not host or not port.isdecimal():
        raise UserError(f"{what}; must be HOST:PORT of its head node, such as 10.0.0.1:6379")
    advice = "ray status on the head node shows whether it runs"
    try:
        socket.create_connection((host, int(port)), _REACH).close()
        # In a process of its own: where something else answers, Ray tries for minutes, and can abort the process.
        ask = [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address]
        subprocess.run(ask, capture_output=True, check=True, timeout=_ANSWER)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, OverflowError, subprocess.SubprocessError, RuntimeError, ValueError) as error:
        reason = "" if isinstance(error, subprocess.SubprocessError) else f" ({first_line(error)})"
        raise UserError(f"{what} answers there{reason}; {advice}") from error
    return ray
