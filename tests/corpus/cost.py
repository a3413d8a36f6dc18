"""What each reader makes of a file, in a process of its own: outcome, seconds of computing, memory at its peak.

    python -m tests.corpus.cost KIND…

prints a row a kind and reader, as JSON: kind, reader, outcome, seconds, megabytes beyond those of the process before.
"""

import contextlib
import io
import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch

from tests.corpus.kind import Kind
from tests.corpus.outcome import pack_all, read
from tests.corpus.table import KINDS, READERS

# Of computing, and by the clock: who waits, as for a pipe, computes nothing.
PATIENCE, WAIT = 60, 300


def apart(work: Callable[[], str]) -> tuple[str, float, float]:
    """The outcome of some work, its seconds of computing, and the megabytes that it took at most."""
    out, into = os.pipe()
    child = os.fork()
    if not child:
        signal.setitimer(signal.ITIMER_PROF, PATIENCE)
        signal.alarm(WAIT)
        before = resource.getrusage(resource.RUSAGE_SELF)
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                outcome = work()
        except BaseException as error:
            outcome = f"raised: {type(error).__name__}: {error}"
        after = resource.getrusage(resource.RUSAGE_SELF)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        os.write(into, json.dumps([outcome, seconds, (after.ru_maxrss - before.ru_maxrss) / 1024]).encode())
        os._exit(0)
    os.close(into)
    with open(out) as pipe:
        said = pipe.read()
    status = os.waitpid(child, 0)[1]
    return tuple(json.loads(said)) if said else (f"died: status {status}", float(PATIENCE), 0.0)


def pack_one(folder: Path, kind: Kind) -> str:
    """The outcome of packing a file of a kind beside sound ones."""
    for split in ("train", "val"):
        (folder / "files" / split / "a").mkdir(parents=True)
        KINDS["4:2:0"].write(folder / "files" / split / "a" / "sound.jpg")
    path = folder / "files" / "train" / "a" / f"kind{kind.ending}"
    kind.write(path)
    return next(
        outcome for file, outcome, _ in pack_all(folder / "files", folder / "out", compare=False) if file == path.name
    )


def costs(kinds: Mapping[str, Kind]) -> Iterator[tuple[str, str, str, float, float]]:
    """Kind, reader, outcome, seconds and megabytes of each kind and reader."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        KINDS["4:2:0"].write(Path(place, "sound.jpg"))
        for reader in READERS:  # what is loaded at the first file is no cost of another
            read(Path(place, "sound.jpg"), reader)
    for name, kind in kinds.items():
        with tempfile.TemporaryDirectory() as place:
            path = Path(place, f"kind{kind.ending}")
            kind.write(path)
            for reader in READERS:
                yield name, reader, *apart(lambda path=path, reader=reader: read(path, reader, look=False)[0])
        with tempfile.TemporaryDirectory() as place:
            yield name, "pack", *apart(lambda place=place, kind=kind: pack_one(Path(place), kind))


if __name__ == "__main__":
    print(json.dumps(list(costs({name: KINDS[name] for name in sys.argv[1:]}))))
