"""Outcome, CPU time and peak memory of each reader for a file, each in a process of its own.

    python -m tests.corpus.cost NAME…

prints a JSON list with a row per file and reader: name, reader, outcome, seconds, and megabytes beyond those of the
process before.
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

from tests.corpus.readers import pack_folder, read
from tests.corpus.table import CORPUS, READERS, CorpusFile

# Seconds of CPU time, and of wall-clock time: a process that waits for a pipe uses no CPU time.
CPU_LIMIT, WALL_LIMIT = 60, 300


def measure(work: Callable[[], str]) -> tuple[str, float, float]:
    """Runs a function in a child process: its outcome, seconds of CPU time and megabytes at most."""
    out, into = os.pipe()
    child = os.fork()
    if not child:
        signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT)
        signal.alarm(WALL_LIMIT)
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
        result = pipe.read()
    status = os.waitpid(child, 0)[1]
    return tuple(json.loads(result)) if result else (f"died: status {status}", float(CPU_LIMIT), 0.0)


def read_one(folder: Path, file: CorpusFile, reader: str) -> str:
    """The outcome of a file; to be packed, beside valid ones."""
    if reader != "pack":
        path = folder / f"file{file.suffix}"
        file.write(path)
        return read(path, reader, values=False)[0]
    for split in ("train", "val"):
        (folder / "files" / split / "a").mkdir(parents=True)
        CORPUS["4:2:0"].write(folder / "files" / split / "a" / "valid.jpg")
    path = folder / "files" / "train" / "a" / f"file{file.suffix}"
    file.write(path)
    outcomes = {name: outcome for name, outcome, _ in pack_folder(folder / "files", folder / "out", compare=False)}
    return outcomes[path.name]


def costs(files: Mapping[str, CorpusFile]) -> Iterator[tuple[str, str, str, float, float]]:
    """Name, reader, outcome, seconds and megabytes of each file and reader."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        for reader in READERS[:-1]:  # loads what the first file of a process would have to load
            read_one(Path(place), CORPUS["4:2:0"], reader)
    for name, file in files.items():
        for reader in READERS:
            with tempfile.TemporaryDirectory() as place:
                yield name, reader, *measure(lambda p=place, f=file, r=reader: read_one(Path(p), f, r))


if __name__ == "__main__":
    print(json.dumps(list(costs({name: CORPUS[name] for name in sys.argv[1:]}))))
