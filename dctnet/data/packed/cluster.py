"""Writing of shards on the nodes of a Ray cluster, which share a file system with this machine."""

from pathlib import Path

from tqdm import tqdm

from dctnet.cluster import connect
from dctnet.data.packed.shard import ShardTask, one_thread, write_shard
from dctnet.errors import UserError, first_line

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
