"""Checksums of a data set's files, in the format of ``sha256sum``, so that one flipped bit in it is found."""

import hashlib
import os
import re
import stat
from pathlib import Path

from tqdm import tqdm

from dctnet.data.folders import CHECKSUMS, list_files
from dctnet.data.packed.manifest import MANIFEST, is_store
from dctnet.data.packed.verify import verify as verify_store
from dctnet.errors import UserError, did_you_mean_path, first_line, no_folder, printable
from dctnet.io.atomic import atomic_write

_NAMED = 20  # of each kind of fault
_LINE = re.compile(rb"(\\?)([0-9a-fA-F]{64}) [ *](.+)", re.DOTALL)
# sha256sum takes a line that begins so for a comment.
_SEAL = b"# SHA-256 of the lines above: "
_ESCAPES = {b"\\": b"\\\\", b"\n": b"\\n", b"\r": b"\\r"}
_UNESCAPES = {escape: byte for byte, escape in _ESCAPES.items()}


def manifest(root: str, out: str | None = None) -> None:
    """Writes the SHA-256 of every file of a data set, for dctnet verify and for sha256sum --check.

    All files below the folder count, those behind links to folders too; hidden ones do not. A manifest that is there is
    not replaced, for that would take what has been damaged since for whole.

    Args:
        root: The data set's folder, with all its splits.
        out: The file to write; otherwise SHA256SUMS in that folder, where no verb takes it for an image.

    Raises:
        UserError: No such folder, no file in it, or one that cannot be read; ``out`` exists, cannot be written, or
            would count as one of the data set's files.
    """
    folder, path = _folder(root), Path(root, CHECKSUMS) if out is None else Path(out)
    if is_store(folder):
        raise UserError(f"{root}: a packed store, whose checksums {MANIFEST} has; dctnet verify {root} checks them")
    if path.exists():
        raise UserError(f"{path}: is there already; dctnet verify checks it; remove it to take the files as they are")
    if not path.parent.is_dir():
        raise UserError(f"{path}: cannot write there.{did_you_mean_path(path.parent)}")
    if path.name != CHECKSUMS and path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{path}: would count as one of the files of {root}; name it {CHECKSUMS}, or put it elsewhere")
    names = _list(folder)
    if not names:
        raise UserError(f"{root}: no file in it")
    sums, unreadable = {}, []
    for name in tqdm(names, desc="hashing", unit="file"):
        try:
            sums[name] = _hash(folder / name)
        except OSError as error:
            unreadable.append(f"{printable(name)}: {_why(error)}")
    if unreadable:
        _tell({"unreadable": unreadable})
        raise UserError(f"{root}: {len(unreadable):,} of {len(names):,} files cannot be read, so {path} is not written")
    try:
        atomic_write(path, dump_sums(sums))
    except OSError as error:
        raise UserError(f"{path}: cannot be written, --out FILE puts it elsewhere: {first_line(error)}") from error
    print(printable(f"{path}: SHA-256 of {len(sums):,} files; dctnet verify {root} checks them, sha256sum --check too"))


def verify(root: str, manifest: str | None = None) -> None:
    """Checks every byte of a data set against what dctnet manifest wrote, or of a packed store against its manifest.

    Args:
        root: The folder of the data set or of the store.
        manifest: The file that dctnet manifest wrote, or sha256sum, with names relative to the folder; otherwise
            SHA256SUMS in it.

    Raises:
        UserError: Files were changed, are missing, cannot be read or were added, each of which is printed, of many the
            first; or the manifest is missing or damaged.
    """
    folder, path = _folder(root), Path(root, CHECKSUMS) if manifest is None else Path(manifest)
    if manifest is None and is_store(folder):
        return verify_store(root)
    if manifest is None and not path.is_file():
        raise UserError(
            f"{root}: neither a packed store with {MANIFEST} nor a data set with {CHECKSUMS}, which "
            f"dctnet manifest {root} writes"
        )
    sums = read_sums(path)
    faults = _compare(folder, sums)
    faults["added"] = [printable(name) for name in sorted({*_list(folder)} - sums.keys())]
    _tell(faults)
    counts = ", ".join(f"{len(found):,} {kind}" for kind, found in faults.items() if found)
    if counts:
        raise UserError(f"{root}: {counts}; {path} names {len(sums):,} files")
    print(printable(f"{root}: every byte of {len(sums):,} files is as {path} has it"))


def dump_sums(sums: dict[str, str]) -> bytes:
    """The content of a manifest: a line a file as sha256sum writes it, and a checksum of these lines as a comment.

    Args:
        sums: SHA-256 in hexadecimal, by name.
    """
    lines = []
    for name, digest in sums.items():
        raw = os.fsencode(name)
        escaped = re.sub(rb"[\\\n\r]", lambda found: _ESCAPES[found[0]], raw)
        lines.append(b"\\" * (escaped != raw) + digest.encode() + b"  " + escaped + b"\n")
    body = b"".join(lines)
    return body + _SEAL + hashlib.sha256(body).hexdigest().encode() + b"\n"


def read_sums(path: Path) -> dict[str, str]:
    """Reads a manifest of ours, whose own checksum must fit, or one that sha256sum wrote and that has none.

    Returns:
        SHA-256 in hexadecimal, by name relative to the data set's folder.

    Raises:
        UserError: It is missing or damaged, names a file twice or one outside the folder. Says where.
    """
    try:
        _refuse_irregular(path)
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {first_line(error)}") from error
    body, seal, digest = content.rpartition(_SEAL)
    if seal and digest != hashlib.sha256(body).hexdigest().encode() + b"\n":
        raise UserError(f"{path}: damaged: its last line is not the checksum of those above; take a copy of it")
    sums: dict[str, str] = {}
    for number, line in enumerate((body if seal else content).split(b"\n"), 1):
        if not line or line.startswith(b"#"):
            continue
        found = _LINE.fullmatch(line)
        if not found:
            raise UserError(f"{path}: damaged: line {number} is {line[:80]!r}, wanted 64 digits and a name")
        escaped, digest, raw = found.groups()
        if escaped:
            raw = re.sub(rb"\\[\\nr]", lambda found: _UNESCAPES[found[0]], raw)
        name = os.path.normpath(os.fsdecode(raw))
        if os.path.isabs(name) or name.split("/")[0] == ".." or "\0" in name:
            raise UserError(f"{path}: line {number} names {printable(name)}, which is not below the data set's folder")
        if name in sums:
            raise UserError(f"{path}: damaged: line {number} names {printable(name)} a second time")
        sums[name] = digest.decode().lower()
    if not sums:
        raise UserError(f"{path}: damaged: it names no file")
    return sums


def _compare(folder: Path, sums: dict[str, str]) -> dict[str, list[str]]:
    faults: dict[str, list[str]] = {"changed": [], "missing": [], "unreadable": []}
    for name, digest in tqdm(sums.items(), desc="verifying", unit="file"):
        try:
            if _hash(folder / name) != digest:
                faults["changed"].append(printable(name))
        except (FileNotFoundError, NotADirectoryError):
            faults["missing"].append(printable(name))
        except OSError as error:
            faults["unreadable"].append(f"{printable(name)}: {_why(error)}")
    return faults


def _folder(root: str) -> Path:
    if not Path(root).is_dir():
        raise no_folder(root)
    return Path(root)


def _list(folder: Path) -> list[str]:
    start = len(os.path.join(folder, ""))
    return [path[start:] for path in list_files(folder, follow=True)]


def _refuse_irregular(path: Path) -> None:
    if not stat.S_ISREG(os.stat(path).st_mode):  # to open a pipe is to wait for ever
        raise OSError("no regular file")


def _hash(path: Path) -> str:
    _refuse_irregular(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _why(error: OSError) -> str:
    return error.strerror or str(error)


def _tell(faults: dict[str, list[str]]) -> None:
    for kind, found in faults.items():
        for what in found[:_NAMED]:
            print(f"{kind}: {what}")
        if len(found) > _NAMED:
            print(f"… and {len(found) - _NAMED:,} more {kind}")
