"""Files that torch saved, read as if an enemy had written them."""

import pickle
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

# All that tensors in dicts and lists need. Weights-only loading allows more, such as a bytearray of any length.
_NAMES = re.compile(r"collections OrderedDict|torch \w+Storage|torch Size|torch\._utils _rebuild_(tensor_v2|parameter)")
# A file of torch's before 1.6 is five of them, then what the tensors hold.
_PICKLES_OF_OLD = 5


def load_torch_file(path: str | Path) -> Any:
    """What :func:`torch.save` wrote: tensors and plain values, under weights-only loading.

    What is read takes no more memory than some times the file's size.

    Raises:
        UnpicklingError: It names something else, is compressed, or has tensors larger than what they hold.
        Exception: Nearly anything that torch raises on a file that is not its own.
    """
    with open(path, "rb") as file:
        if file.read(4) == b"PK\x03\x04":
            with zipfile.ZipFile(path) as archive:
                _check_archive(archive, file.seek(0, 2))
        else:
            file.seek(0)
            for _ in range(_PICKLES_OF_OLD):
                _check_names(file)
    content = torch.load(path, map_location="cpu", weights_only=True)
    for value in _walk(content):
        if isinstance(value, Tensor) and value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise pickle.UnpicklingError(f"a tensor of shape {tuple(value.shape)} is larger than what is stored of it")
    return content


def _check_archive(archive: zipfile.ZipFile, size: int) -> None:
    entries = archive.infolist()
    # Compressed, or one part under many names, a small file could fill all memory.
    if any(e.compress_type != zipfile.ZIP_STORED for e in entries) or sum(e.file_size for e in entries) > size:
        raise pickle.UnpicklingError("its parts are compressed or lie over each other, which torch does not do")
    if damaged := archive.testzip():
        raise pickle.UnpicklingError(f"damaged: the checksum of {damaged} does not fit")
    for entry in entries:
        if entry.filename.endswith(".pkl"):
            with archive.open(entry) as file:
                _check_names(file)


def _check_names(file: IO[bytes]) -> None:
    """Refuses a pickle that names what no tensor needs."""
    for code, argument, _ in pickletools.genops(file):
        if code.name in ("INST", "STACK_GLOBAL") or (code.name == "GLOBAL" and not _NAMES.fullmatch(str(argument))):
            name = str(argument or "something made up while loading").replace(" ", ".")
            raise pickle.UnpicklingError(f"it names {name[:80]!r}; wanted tensors and plain values")


def _walk(content: Any) -> Iterator[Any]:
    """Every value once, however often it is referred to: a few hundred bytes can say 'ten of these' a hundred times."""
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
