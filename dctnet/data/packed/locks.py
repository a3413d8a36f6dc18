"""Locks of a store's folder: one packing alone, or several parts of it, each of which claims the shards it writes."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from dctnet.data.packed.manifest import MANIFEST, PLAN
from dctnet.data.packed.shard import ShardTask, is_complete, one_thread, write_shard
from dctnet.data.splits import SPLITS
from dctnet.errors import UserError, first_line

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# The file whose bytes the parts of a packing lock. The kernel, or the lock manager of a network file system, releases
# the locks of a process that ends, however it ends.
CLAIMS = ".claims"
_RUNNING, _PLANNING, _SHARDS = 0, 1, 2  # bytes: of each running part, of the one that plans or finishes, of shards
# Open claims of this process. Closing one descriptor of a file would release the locks of the others too.
_claims: dict[Path, IO[bytes]] = {}
# Temporary files of atomic_open, which remain after a kill.
_NAMES = r"plan\.json|manifest\.json|(train|val|test)(-\d{5,}(\.json|\.bin)?|\.index|\.names)"
_TEMPORARY = re.compile(rf"\.({_NAMES})\.\d+|\.claims")


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Creates a store's folder if needed, locks it, and removes temporary files of a killed packing.

    On systems without such locks (Windows, some network file systems) it does not exclude a second packing.

    Raises:
        UserError: Another packing has locked the folder, or it is a file.
    """
    with _open_folder(folder, shared=False):
        if fcntl and (folder / CLAIMS).is_file():  # of parts on other machines, which a folder's lock may not exclude
            with open(folder / CLAIMS, "r+b") as file:
                _lock_byte(file, folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove_temporaries(folder)
        yield


@contextlib.contextmanager
def lock_part(folder: Path) -> Iterator[None]:
    """Creates a store's folder if needed, and excludes packings of the whole store, but not other parts.

    The last part to leave removes temporary files.

    Raises:
        UserError: The whole store is being packed, the folder is a file, or its file system has no locks.
    """
    if fcntl is None:
        raise UserError("--part needs locks of files, which this system does not have; pack without it")
    with _open_folder(folder, shared=True):
        file = _lock_claims(folder)
        try:
            yield
        finally:
            with contextlib.suppress(UserError):  # raised if other parts are running
                _lock_byte(file, folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                is_planned = (folder / PLAN).is_file() and not (folder / MANIFEST).is_file()
                _remove_temporaries(folder, but=CLAIMS if is_planned else None)
            _close_claims(folder)


@contextlib.contextmanager
def locked_plan(folder: Path) -> Iterator[None]:
    """Context in which one part at a time writes the plan or the manifest; the others wait."""
    with _locked(folder, _PLANNING):
        yield


def write_claimed(task: ShardTask, folder: Path) -> None:
    """Writes a shard, unless another process that was writing it, and is awaited, has completed it.

    Raises:
        OSError: As :func:`~dctnet.data.packed.shard.write_shard`.
        ImageError: The same.
    """
    split, _, number = task.name.rpartition("-")
    with _locked(folder, _SHARDS + 10**9 * list(SPLITS).index(split) + int(number)), one_thread():
        if not is_complete(task, folder):
            write_shard(task, folder)


@contextlib.contextmanager
def _locked(folder: Path, place: int) -> Iterator[None]:
    file = _open_claims(folder)
    fcntl.lockf(file, fcntl.LOCK_EX, 1, place)
    try:
        yield
    finally:
        fcntl.lockf(file, fcntl.LOCK_UN, 1, place)


def _open_claims(folder: Path) -> IO[bytes]:
    if folder not in _claims:
        _claims[folder] = open(folder / CLAIMS, "a+b")  # noqa: SIM115  # closed by lock_part, or with the process
    return _claims[folder]


def _lock_claims(folder: Path) -> IO[bytes]:
    """Opens the file of claims and locks the byte of all running parts."""
    while True:
        file = _open_claims(folder)
        with contextlib.ExitStack() as stack:
            stack.callback(_close_claims, folder)
            _lock_byte(file, folder, fcntl.LOCK_SH)
            with contextlib.suppress(FileNotFoundError):  # the part that was the last one has removed it meanwhile
                if os.path.samestat(os.fstat(file.fileno()), os.stat(folder / CLAIMS)):
                    stack.pop_all()
                    return file


def _close_claims(folder: Path) -> None:
    _claims.pop(folder).close()


def _lock_byte(file: IO[bytes], folder: Path, how: int) -> None:
    """Locks the byte of all running parts."""
    try:
        fcntl.lockf(file, how, 1, _RUNNING)
    except (BlockingIOError, PermissionError) as error:
        raise _busy(folder) from error
    except OSError as error:
        raise UserError(f"{folder}: cannot lock a file there, which --part needs: {first_line(error)}") from error


@contextlib.contextmanager
def _open_folder(folder: Path, shared: bool) -> Iterator[None]:
    """Creates and locks the folder; removes it at the end if it is new and empty."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: exists and is not a folder")
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor, folder, shared)
        yield
    finally:
        os.close(descriptor)
        if is_new:
            with contextlib.suppress(OSError):  # it has files, or another part removed it
                folder.rmdir()


def _lock(descriptor: int, folder: Path, shared: bool) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise _busy(folder) from error
    except OSError:
        pass


def _busy(folder: Path) -> UserError:
    return UserError(f"{folder}: another packing is running there; wait for it or stop it")


def _remove_temporaries(folder: Path, but: str | None = None) -> None:
    for entry in folder.iterdir():
        if _TEMPORARY.fullmatch(entry.name) and entry.is_file() and entry.name != but:
            entry.unlink(missing_ok=True)
