"""One part of a packing: several processes, on one or more machines, write the shards of one plan."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from dctnet.data.images.photo import Decoder
from dctnet.data.packed.completion import find_missing, finish, is_finished
from dctnet.data.packed.locks import locked_plan, write_claimed
from dctnet.data.packed.manifest import MANIFEST
from dctnet.data.packed.plan import make_tasks, read_earlier_plan, resume_or_create_plan
from dctnet.data.packed.shard import ShardTask
from dctnet.data.packed.workers import announce, write_shards
from dctnet.errors import UserError, printable


class Part(NamedTuple):
    """Every ``total``-th shard, from the ``number``-th."""

    number: int
    total: int

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


def parse_part(text: str) -> Part:
    """The part that ``--part`` names.

    Raises:
        UserError: It is not i/n, or i is not one of 1…n.
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise UserError(f"--part {text}: must be i/n, such as 1/4, 2/4, 3/4 and 4/4 on four machines")
    return Part(int(found[1]), int(found[2]))


def pack_part(
    plan_files: Callable[[dict[str, Any] | None], dict[str, Any]],
    folder: Path,
    root: Path,
    decoder: Decoder,
    on_error: str,
    part: Part,
    workers: int,
) -> None:
    """Writes the shards of one part, and the manifest if those of all parts are complete then.

    Args:
        plan_files: Makes the plan; its argument is that of another part, whose headers need not be read again.
        folder: Of the store, locked by :func:`~dctnet.data.packed.locks.lock_part`.
        root: Of the photographs.
        decoder: As for ``pack``.
        on_error: The same.
        part: The part.
        workers: Number of processes.

    Raises:
        UserError: As :func:`~dctnet.data.packed.writer.pack`; or the store is complete, but a shard is damaged.
    """
    with locked_plan(folder):
        plan = resume_or_create_plan(plan_files(read_earlier_plan(folder)), folder, root, decoder)
    tasks = make_tasks(plan, root, decoder, on_error)
    own = tasks[part.number - 1 :: part.total]
    missing = find_missing(folder, own)
    if missing and (folder / MANIFEST).is_file():
        raise UserError(f"{folder}: {missing[0].name} is damaged; run the same dctnet pack without --part to repair it")
    if missing:
        announce(plan, own, missing, folder, workers)
        write_shards(missing, folder, workers, write_claimed)
    with locked_plan(folder):
        _complete(plan, tasks, folder, root, part)


def _complete(plan: dict[str, Any], tasks: list[ShardTask], folder: Path, root: Path, part: Part) -> None:
    """Writes the manifest if no shard is missing, and says what this part has done."""
    what = printable(f"{folder}: part {part} is complete")
    if (folder / MANIFEST).is_file():
        if not is_finished(folder):
            raise UserError(f"{folder}: its index is damaged; run the same dctnet pack without --part to repair it")
        print(f"{what}, and so is the store")
        return
    missing = [task for task in tasks if not (folder / f"{task.name}.json").is_file()] or find_missing(folder, tasks)
    if missing:
        print(f"{what}; {len(missing)} of {len(tasks)} shards are missing, of other parts, such as {missing[0].name}")
    else:
        print(f"{what}, and so is the store: {finish(plan, tasks, folder, root):,} images")
