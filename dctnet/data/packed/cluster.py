"""Writing of shards on the nodes of a Ray cluster, which share a file system with this machine."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dctnet.cluster import connect
from dctnet.data.packed.shard import ShardTask, one_thread, write_shard
from dctnet.errors import UserError, first_line

_RETRIES = 20  # of a shard whose node died


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """Context with the module ``ray``, connected to the cluster at an address.

    Raises:
        UserError: Ray is not installed, or the address does not answer.
    """
    ray = connect(address)
    try:
        yield ray
    finally:
        ray.shutdown()


def write_shards_on_ray(ray: Any, tasks: list[ShardTask], folder: Path, where: str) -> None:
    """Writes shards as tasks of a Ray cluster; those of a node that dies are written by another.

    Args:
        ray: The module, connected to the cluster.
        tasks: The shards.
        folder: The store.
        where: The cluster, for messages.

    Raises:
        UserError: The nodes cannot write the shards.
        ImageError: As :func:`~dctnet.data.packed.shard.write_shard`.
    """
    try:
        write = ray.remote(num_cpus=1, max_retries=_RETRIES)(_write)
        running = {write.remote(task, folder.resolve()): task for task in tasks}
        with tqdm(total=sum(len(task.images) for task in tasks), desc="packing", unit="img") as bar:
            while running:
                (done, *_), _ = ray.wait(list(running))
                ray.get(done)
                bar.update(len(running.pop(done).images))
    except ray.exceptions.RayTaskError as error:
        if type(error.cause) is RuntimeError:  # Ray's own: the node has no dctnet, or another
            raise UserError(f"{where}: a node cannot run dctnet: {first_line(error.cause)}") from error
        raise error.cause from None  # what the task raised, without Ray's traceback in its message
    except ray.exceptions.RayError as error:
        raise UserError(f"{where}: {first_line(error)}; run the same command again") from error


def _write(task: ShardTask, folder: Path) -> None:
    with one_thread():
        write_shard(task, folder)
