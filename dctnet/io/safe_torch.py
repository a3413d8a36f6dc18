"""Loading of files saved by torch, as untrusted input: no code is run, and memory is bounded by the file's size."""

import pickle
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

# The globals of a pickle with tensors in dicts and lists. Weights-only loading allows more of them, such as bytearray,
# which can allocate any amount of memory.
_GLOBALS = re.compile(
    r"collections OrderedDict|torch \w+Storage|torch Size|torch\._utils _rebuild_(tensor_v2|parameter)"
)
# Before torch 1.6 a file was not a zip archive but this number of pickles, followed by the storages.
_LEGACY_PICKLES = 5


def load_torch_file(path: str | Path) -> Any:
    """Loads tensors and plain values saved by :func:`torch.save`, with weights-only loading.

    Raises:
        UnpicklingError: The file contains other objects, is compressed, or has tensors larger than their storage.
        Exception: Many types, raised by torch for files that it did not write.
    """
    with open(path, "rb") as file:
        head = file.read(20)
        if not head.startswith((b"PK\x03\x04", b"\x80")):  # a zip archive, a pickle
            found = f"it begins with {head!r}" if head else "it is empty"
            raise pickle.UnpicklingError(f"torch.save did not write this file; {found}")
        try:
            if head.startswith(b"PK"):
                with zipfile.ZipFile(path) as archive:
                    _check_archive(archive, file.seek(0, 2))
            else:
                file.seek(0)
                for _ in range(_LEGACY_PICKLES):
                    _check_globals(file)
        except (ValueError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
            raise pickle.UnpicklingError("damaged or cut off, or not written by torch.save") from error
    content = torch.load(path, map_location="cpu", weights_only=True)
    for value in _walk(content):
        # With strides of 0 a few bytes can be a tensor of any shape, which the first copy would allocate.
        if isinstance(value, Tensor) and value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise pickle.UnpicklingError(f"a tensor of shape {tuple(value.shape)} is larger than its storage")
    return content


def _check_archive(archive: zipfile.ZipFile, size: int) -> None:
    """Checks what torch does not: compression and overlapping entries (zip bombs), checksums, and globals."""
    entries = archive.infolist()
    if not any(entry.filename.endswith("data.pkl") for entry in entries):
        raise pickle.UnpicklingError("a zip archive of another program than torch.save")
    if any(e.compress_type != zipfile.ZIP_STORED for e in entries) or sum(e.file_size for e in entries) > size:
        raise pickle.UnpicklingError("compressed or overlapping entries, which torch does not write")
    if damaged := archive.testzip():
        raise pickle.UnpicklingError(f"damaged: wrong checksum of {damaged}")
    for entry in entries:
        if entry.filename.endswith(".pkl"):
            with archive.open(entry) as file:
                _check_globals(file)


def _check_globals(file: IO[bytes]) -> None:
    """Reads one pickle without executing it, and rejects globals that tensors do not need."""
    for code, argument, _ in pickletools.genops(file):
        if code.name in ("INST", "STACK_GLOBAL") or (code.name == "GLOBAL" and not _GLOBALS.fullmatch(str(argument))):
            name = str(argument or "a computed name").replace(" ", ".")
            raise pickle.UnpicklingError(f"it names {name[:80]!r}; only tensors and plain values are loaded")


def _walk(content: Any) -> Iterator[Any]:
    """Yields each nested value once: with shared references a few hundred bytes can nest 10¹⁰⁰ of them."""
    waiting, seen = [content], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield value
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
            waiting += value
