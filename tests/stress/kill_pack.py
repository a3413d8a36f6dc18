"""Kills the packing of a store at random moments, lets it finish, and compares every byte with an undisturbed one."""

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

from dctnet.data.packed.plan import PackData
from dctnet.data.packed.writer import pack
from dctnet.data.planted import make_planted
from dctnet.errors import UserError

_DATA = PackData(channels="square-24", image_size=64)
_CHILD = """
import sys
from dctnet.data.packed.plan import PackData
from dctnet.data.packed.writer import pack
print("imported", flush=True)
pack(sys.argv[1], sys.argv[2], {data!r}, workers={workers}, shard_bytes={shard_bytes})
"""
# Where kills are aimed, and how often. A moment is drawn from the time that the undisturbed run spent there, counted
# from when the killed run gets there: a busy machine shifts neither.
_AIMS = {"planning": 0.25, "starting": 0.15, "shards": 0.45, "manifest": 0.15}
_PATIENCE = 600.0


class Watch(NamedTuple):
    """A packing under way: its process, which leads a group of its own, and the folder that it fills."""

    process: subprocess.Popen
    folder: Path
    shards: int

    def entered(self, phase: str) -> bool:
        """Whether it has come to a phase, by what lies in its folder."""
        if phase == "planning":
            return True
        names = list_names(self.folder)
        done = len(finished(names))
        there = {"starting": "plan.json" in names, "shards": done > 0, "manifest": done >= self.shards}
        return there[phase] or "manifest.json" in names

    def phase(self) -> str:
        """The phase that it has come to."""
        if "manifest.json" in list_names(self.folder):
            return "written"
        return next(p for p in ("manifest", "shards", "starting", "planning") if self.entered(p))


def list_names(folder: Path) -> set[str]:
    """What lies in a folder, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        return set(os.listdir(folder))
    return set()


def finished(names: set[str]) -> list[str]:
    """The indices of shards among some names; a shard that has one is whole."""
    return [name for name in names if name.endswith(".json") and not name.startswith(".") and "-" in name]


def start(src: Path, out: Path, workers: int, shard_bytes: int, shards: int, log: Path) -> Watch:
    """Starts a packing, and returns when its imports are over."""
    code = _CHILD.format(data=_DATA, workers=workers, shard_bytes=shard_bytes)
    with open(log, "wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(src), str(out)],
            stdout=subprocess.PIPE, stderr=errors, start_new_session=True,
        )  # fmt: skip
    assert process.stdout is not None
    if process.stdout.readline() != b"imported\n":
        raise RuntimeError(f"the packing did not start: {log.read_text()[-2000:]}")
    return Watch(process, out, shards)


def wait(process: subprocess.Popen, until: Callable[[], bool] = lambda: False, seconds: float = _PATIENCE) -> None:
    """Waits for the end of a process, or for something else."""
    end = time.monotonic() + seconds
    while process.poll() is None and not until():
        if time.monotonic() > end:
            raise RuntimeError(f"nothing happened in {seconds:.0f} s")
        time.sleep(0.001)


def living(group: int) -> list[int]:
    """The processes of a group that have not ended."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            state, _, members = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(members) == group and state not in "ZX":
                found.append(int(entry.name))
    return found


def left_behind(group: int, seconds: float) -> list[int]:
    """The processes of a group that do not end by themselves in some seconds; ends them."""
    end = time.monotonic() + seconds
    while (members := living(group)) and time.monotonic() < end:
        time.sleep(0.05)
    if members:
        os.killpg(group, signal.SIGKILL)
    return members


def finished_shards(folder: Path) -> dict[str, int]:
    """When the files of the shards that are whole were last written."""
    names = [part for name in finished(list_names(folder)) for part in (name, name.replace(".json", ".bin"))]
    return {name: os.stat(folder / name).st_mtime_ns for name in names}


def differences(folder: Path, reference: Path) -> list[str]:
    """What a store has too much, too little or otherwise than another."""
    here, there = list_names(folder), list_names(reference)
    said = [f"left over: {name}" for name in sorted(here - there)] + [f"missing: {n}" for n in sorted(there - here)]
    both = sorted(here & there)
    return said + [f"differs: {n}" for n in both if (folder / n).read_bytes() != (reference / n).read_bytes()]


def measure(src: Path, reference: Path, workers: int, shard_bytes: int, log: Path) -> tuple[dict[str, float], int]:
    """Packs undisturbed; returns the seconds spent in each phase, and the number of shards."""
    watch = start(src, reference, workers, shard_bytes, sys.maxsize, log)
    marks, written = [time.monotonic()], 0.0
    for phase in ("starting", "shards"):
        wait(watch.process, lambda phase=phase: watch.entered(phase))
        marks.append(time.monotonic())
    known = 0
    while "manifest.json" not in (names := list_names(reference)) or "plan.json" in names:
        if (count := len(finished(names))) > known:
            known, written = count, time.monotonic()
        if watch.process.poll():
            raise RuntimeError(f"the undisturbed packing failed: {log.read_text()[-2000:]}")
        time.sleep(0.001)
    marks += [written, time.monotonic()]
    watch.process.communicate()
    return {phase: end - begin for phase, begin, end in zip(_AIMS, marks, marks[1:], strict=False)}, known


def kill_once(watch: Watch, aim: str, delay: float, group: bool) -> str:
    """Kills a packing some time after it has come to a phase; returns the phase that was hit."""
    wait(watch.process, lambda: watch.entered(aim))
    moment = time.monotonic() + delay
    wait(watch.process, lambda: time.monotonic() >= moment)
    if watch.process.poll() is not None:
        return "too late"
    # Named before the kill: workers that outlive their parent by a moment may finish a shard.
    phase = watch.phase()
    (os.killpg if group else os.kill)(watch.process.pid, signal.SIGKILL)
    watch.process.wait()
    return phase


def campaign(
    moments: int, seed: int, folder: Path, train: int = 60, val: int = 10, shard_bytes: int = 200_000, workers: int = 2
) -> Counter:
    """Kills and finishes a packing, so many times.

    Returns:
        Counts: ``kills``, ``hit PHASE``, ``identical``, ``different``, ``orphans``, ``lost`` finished shards, and
        ``refused``, packings that could not go on.
    """
    src, reference, out, log = (folder / name for name in ("photos", "reference", "store", "log"))
    make_planted(src, train_per_class=train, val_per_class=val)
    spent, shards = measure(src, reference, workers, shard_bytes, log)
    print(f"undisturbed: {shards} shards;", ", ".join(f"{p} {s:.2f} s" for p, s in spent.items()), flush=True)
    draw, counts = random.Random(seed), Counter()
    for moment in range(moments):
        shutil.rmtree(out, ignore_errors=True)
        group, kills, kept, faults = moment % 2 == 0, [], {}, []
        for _ in range(draw.choice([1, 1, 1, 2])):
            aim = draw.choices(list(_AIMS), list(_AIMS.values()))[0]
            watch = start(src, out, workers, shard_bytes, shards, log)
            kills.append(kill_once(watch, aim, draw.random() * spent[aim], group))
            orphans = left_behind(watch.process.pid, 5.0 if group else 60.0)
            counts["orphans"] += len(orphans)
            faults += [f"{len(orphans)} processes outlived it"] if orphans else []
            gone = lost(out, kept)
            counts["lost"] += len(gone)
            faults += gone
            kept = finished_shards(out)
            if watch.process.returncode > 0:
                faults.append(f"ended with status {watch.process.returncode}: {log.read_text()[-300:]!r}")
                counts["refused"] += 1
        counts.update([f"hit {phase}" for phase in kills])
        counts["kills"] += sum(phase != "too late" for phase in kills)
        refused = finish(src, out, moment % 10 == 9, workers, shard_bytes, log)
        faults += [refused] if refused else []
        counts["refused"] += bool(refused)
        gone = lost(out, kept)
        counts["lost"] += len(gone)
        said = differences(out, reference)
        counts["different" if said else "identical"] += 1
        faults += gone + said
        how = "group" if group else "parent"
        result = "; ".join(faults) or "identical"
        print(f"{moment + 1}/{moments} {how} {'+'.join(kills)}, {len(kept) // 2} shards kept: {result}", flush=True)
    return counts


def lost(folder: Path, kept: dict[str, int]) -> list[str]:
    """Files of shards that were whole and have been written again, or are gone."""
    names = [n for n, t in kept.items() if not (folder / n).is_file() or os.stat(folder / n).st_mtime_ns != t]
    return [f"written again: {name}" for name in names]


def finish(src: Path, out: Path, apart: bool, workers: int, shard_bytes: int, log: Path) -> str | None:
    """Lets a packing finish, in this process with one worker, or apart with all; returns why it could not."""
    if apart:
        watch = start(src, out, workers, shard_bytes, 0, log)
        watch.process.communicate()
        return f"cannot go on: {log.read_text()[-300:]!r}" if watch.process.returncode else None
    with open(log, "w") as errors, contextlib.redirect_stdout(errors), contextlib.redirect_stderr(errors):
        try:
            pack(str(src), str(out), _DATA, workers=1, shard_bytes=shard_bytes)
        except UserError as error:
            return f"cannot go on: {error}"
    return None


def main() -> int:
    """Runs the campaign; 1 if anything differed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=50, help="kill and finish so many packings")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = campaign(asked.moments, asked.seed, Path(folder))
    hits = ", ".join(f"{phase[4:]} {n}" for phase, n in sorted(counts.items()) if phase.startswith("hit "))
    print(f"{asked.moments} moments, {counts['kills']} kills: {hits}")
    print(", ".join(f"{name} {counts[name]}" for name in ("identical", "different", "orphans", "lost", "refused")))
    return int(any(counts[name] for name in ("different", "orphans", "lost", "refused")))


if __name__ == "__main__":
    sys.exit(main())
