"""Kills ``dctnet pack`` at random moments, resumes it, and compares every byte with an uninterrupted packing."""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from dctnet.data.packed.writer import pack
from dctnet.data.planted import make_planted
from dctnet.errors import UserError

_OPTIONS = {"channels": "square-24", "image_size": 64}
_CHILD = """
import sys
from dctnet.data.packed.writer import pack
print("imported", flush=True)
pack(sys.argv[1], sys.argv[2], **{options!r})
"""
# Phases in which the packing is killed, and their shares of the kills. The delay is drawn from the time that the
# uninterrupted packing spent in the phase, and counted from the moment the killed packing enters it.
_PHASES = {"planning": 0.25, "starting": 0.15, "shards": 0.45, "manifest": 0.15}
_TIMEOUT = 600.0


class Packing(NamedTuple):
    """A running packing: its process, which leads a process group, the store's folder and its number of shards."""

    process: subprocess.Popen
    folder: Path
    shards: int

    def entered(self, phase: str) -> bool:
        """Returns whether it has reached a phase, judged by the files in its folder."""
        if phase == "planning":
            return True
        names = list_names(self.folder)
        done = len(finished(names))
        reached = {"starting": "plan.json" in names, "shards": done > 0, "manifest": done >= self.shards}
        return reached[phase] or "manifest.json" in names

    def phase(self) -> str:
        """The last phase that it has reached."""
        if "manifest.json" in list_names(self.folder):
            return "written"
        return next(p for p in ("manifest", "shards", "starting", "planning") if self.entered(p))


def list_names(folder: Path) -> set[str]:
    """Names of the files in a folder; empty if there is no such folder."""
    with contextlib.suppress(FileNotFoundError):
        return set(os.listdir(folder))
    return set()


def finished(names: set[str]) -> list[str]:
    """The names of shard indices among some names. A shard with an index is complete."""
    return [name for name in names if name.endswith(".json") and not name.startswith(".") and "-" in name]


def start(src: Path, out: Path, workers: int, shard_bytes: int, shards: int, log: Path) -> Packing:
    """Starts a packing, and returns when its imports are done."""
    code = _CHILD.format(options={**_OPTIONS, "workers": workers, "shard_bytes": shard_bytes})
    with open(log, "wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(src), str(out)],
            stdout=subprocess.PIPE, stderr=errors, start_new_session=True,
        )  # fmt: skip
    assert process.stdout is not None
    if process.stdout.readline() != b"imported\n":
        raise RuntimeError(f"the packing did not start: {log.read_text()[-2000:]}")
    return Packing(process, out, shards)


def wait(process: subprocess.Popen, until: Callable[[], bool] = lambda: False, seconds: float = _TIMEOUT) -> None:
    """Waits until a process ends or a condition holds."""
    end = time.monotonic() + seconds
    while process.poll() is None and not until():
        if time.monotonic() > end:
            raise RuntimeError(f"no progress in {seconds:.0f} s")
        time.sleep(0.001)


def running_processes(group: int) -> list[int]:
    """Process ids of a process group, without zombies."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            state, _, members = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(members) == group and state not in "ZX":
                found.append(int(entry.name))
    return found


def kill_orphans(group: int, seconds: float) -> list[int]:
    """Kills and returns the processes of a group that do not end by themselves within some seconds."""
    end = time.monotonic() + seconds
    while (members := running_processes(group)) and time.monotonic() < end:
        time.sleep(0.05)
    if members:
        os.killpg(group, signal.SIGKILL)
    return members


def finished_shards(folder: Path) -> dict[str, int]:
    """Modification time of each file of the complete shards."""
    names = [part for name in finished(list_names(folder)) for part in (name, name.replace(".json", ".bin"))]
    return {name: os.stat(folder / name).st_mtime_ns for name in names}


def differences(folder: Path, reference: Path) -> list[str]:
    """Files that are additional, missing or different in a store, compared with the reference."""
    here, there = list_names(folder), list_names(reference)
    found = [f"additional: {name}" for name in sorted(here - there)]
    found += [f"missing: {name}" for name in sorted(there - here)]
    both = sorted(here & there)
    return found + [f"differs: {n}" for n in both if (folder / n).read_bytes() != (reference / n).read_bytes()]


def measure(src: Path, reference: Path, workers: int, shard_bytes: int, log: Path) -> tuple[dict[str, float], int]:
    """Packs without interruption; returns the seconds spent in each phase, and the number of shards."""
    packing = start(src, reference, workers, shard_bytes, sys.maxsize, log)
    marks, written = [time.monotonic()], 0.0
    for phase in ("starting", "shards"):
        wait(packing.process, lambda phase=phase: packing.entered(phase))
        marks.append(time.monotonic())
    known = 0
    while "manifest.json" not in (names := list_names(reference)) or "plan.json" in names:
        if (count := len(finished(names))) > known:
            known, written = count, time.monotonic()
        if packing.process.poll():
            raise RuntimeError(f"the uninterrupted packing failed: {log.read_text()[-2000:]}")
        time.sleep(0.001)
    marks += [written, time.monotonic()]
    packing.process.communicate()
    return {phase: end - begin for phase, begin, end in zip(_PHASES, marks, marks[1:], strict=False)}, known


def kill_once(packing: Packing, aim: str, delay: float, group: bool) -> str:
    """Kills a packing some seconds after it has reached a phase; returns the phase in which it was killed."""
    wait(packing.process, lambda: packing.entered(aim))
    moment = time.monotonic() + delay
    wait(packing.process, lambda: time.monotonic() >= moment)
    if packing.process.poll() is not None:
        return "too late"
    # Read before the kill, because workers may complete a shard just after their parent was killed.
    phase = packing.phase()
    (os.killpg if group else os.kill)(packing.process.pid, signal.SIGKILL)
    packing.process.wait()
    return phase


def campaign(
    moments: int, seed: int, folder: Path, train: int = 60, val: int = 10, shard_bytes: int = 200_000, workers: int = 2
) -> Counter:
    """Kills a packing and resumes it, ``moments`` times.

    Returns:
        Counts: ``kills``; ``hit PHASE``; stores ``identical`` to and ``different`` from the reference; ``orphans``,
        processes that did not end; ``lost`` complete shards; ``refused``, packings that could not be resumed.
    """
    src, reference, out, log = (folder / name for name in ("photos", "reference", "store", "log"))
    make_planted(src, train_per_class=train, val_per_class=val)
    spent, shards = measure(src, reference, workers, shard_bytes, log)
    print(f"uninterrupted: {shards} shards;", ", ".join(f"{p} {s:.2f} s" for p, s in spent.items()), flush=True)
    rng, counts = random.Random(seed), Counter()
    for moment in range(moments):
        shutil.rmtree(out, ignore_errors=True)
        group, kills, kept, faults = moment % 2 == 0, [], {}, []
        for _ in range(rng.choice([1, 1, 1, 2])):
            aim = rng.choices(list(_PHASES), list(_PHASES.values()))[0]
            packing = start(src, out, workers, shard_bytes, shards, log)
            kills.append(kill_once(packing, aim, rng.random() * spent[aim], group))
            orphans = kill_orphans(packing.process.pid, 5.0 if group else 60.0)
            counts["orphans"] += len(orphans)
            faults += [f"{len(orphans)} orphaned processes"] if orphans else []
            gone = lost(out, kept)
            counts["lost"] += len(gone)
            faults += gone
            kept = finished_shards(out)
            if packing.process.returncode > 0:
                faults.append(f"ended with status {packing.process.returncode}: {log.read_text()[-300:]!r}")
                counts["refused"] += 1
        counts.update([f"hit {phase}" for phase in kills])
        counts["kills"] += sum(phase != "too late" for phase in kills)
        refused = finish(src, out, moment % 10 == 9, workers, shard_bytes, log)
        faults += [refused] if refused else []
        counts["refused"] += bool(refused)
        gone = lost(out, kept)
        counts["lost"] += len(gone)
        different = differences(out, reference)
        counts["different" if different else "identical"] += 1
        faults += gone + different
        how = "group" if group else "parent"
        result = "; ".join(faults) or "identical"
        print(f"{moment + 1}/{moments} {how} {'+'.join(kills)}, {len(kept) // 2} shards kept: {result}", flush=True)
    return counts


def lost(folder: Path, kept: dict[str, int]) -> list[str]:
    """Files of complete shards that were written again or are missing."""
    names = [n for n, t in kept.items() if not (folder / n).is_file() or os.stat(folder / n).st_mtime_ns != t]
    return [f"lost: {name}" for name in names]


def finish(src: Path, out: Path, separate: bool, workers: int, shard_bytes: int, log: Path) -> str | None:
    """Resumes a packing, in this process with one worker, or in another with all; returns the error, if any."""
    if separate:
        packing = start(src, out, workers, shard_bytes, 0, log)
        packing.process.communicate()
        return f"cannot be resumed: {log.read_text()[-300:]!r}" if packing.process.returncode else None
    with open(log, "w") as errors, contextlib.redirect_stdout(errors), contextlib.redirect_stderr(errors):
        try:
            pack(str(src), str(out), **_OPTIONS, workers=1, shard_bytes=shard_bytes)
        except UserError as error:
            return f"cannot be resumed: {error}"
    return None


def main() -> int:
    """Runs the campaign; returns 1 if there was any fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=50, help="number of packings to kill and resume")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random moments")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = campaign(options.moments, options.seed, Path(folder))
    hits = ", ".join(f"{phase[4:]} {n}" for phase, n in sorted(counts.items()) if phase.startswith("hit "))
    print(f"{options.moments} moments, {counts['kills']} kills: {hits}")
    print(", ".join(f"{name} {counts[name]}" for name in ("identical", "different", "orphans", "lost", "refused")))
    return int(any(counts[name] for name in ("different", "orphans", "lost", "refused")))


if __name__ == "__main__":
    sys.exit(main())
