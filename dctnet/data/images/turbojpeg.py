"""libjpeg-turbo, if its library is installed: native planes through PyTurboJPEG, coefficients through ctypes."""

import ctypes
import ctypes.util
import functools
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from dctnet.data.images.header import Component, DamagedError, JpegError, JpegHeader
from dctnet.errors import first_line

T = TypeVar("T")

# Constants of turbojpeg.h, for the functions of version 2 that version 3 still has.
_FLAGS = 32768 | 8192  # TJFLAG_LIMITSCANS, against thousands of scans; TJFLAG_STOPONWARNING, because Pillow takes over
_GREY_ONLY, _NO_OUTPUT, _PROGRESSIVE, _NO_METADATA, _OPTIMIZE = 8, 16, 32, 64, 256  # TJXOPT_…; the last since 3.1
_GREY = 6  # TJPF_GRAY


@functools.cache
def library() -> str | None:
    """Path or name of the TurboJPEG library, or None; overridden by ``TURBOJPEG`` in the environment (empty: None)."""
    if "TURBOJPEG" in os.environ:
        return os.environ["TURBOJPEG"] or None
    # find_library() needs ldconfig or a compiler, which containers may lack.
    usual = [*Path("/usr").glob("lib*/libturbojpeg.so.0"), *Path("/usr/lib").glob("*-linux-gnu/libturbojpeg.so.0")]
    return next((str(p) for p in usual), None) or ctypes.util.find_library("turbojpeg")


@functools.cache
def _decoder() -> Any:
    import turbojpeg

    return turbojpeg.TurboJPEG(library())


@functools.cache
def describe() -> str | None:
    """The library's major version and file name, as recorded in checkpoints; None if it is missing or does not load."""
    path = library()
    if path is None:
        return None
    try:
        loaded = ctypes.CDLL(path)
        _decoder()
    except (OSError, AttributeError, ImportError, RuntimeError):
        return None
    # Version 2 has no function that returns its version.
    return f"libjpeg-turbo {'3' if hasattr(loaded, 'tj3Init') else '2'}.x ({Path(path).resolve().name})"


def decode_planes(data: bytes, header: JpegHeader, denominator: int = 1) -> list[np.ndarray]:
    """Decodes the planes of a JPEG file at a scale of 1/1, 1/2, 1/4 or 1/8 of their stored resolution.

    Returns:
        Y, or Y, Cb, Cr, 0 … 255, each (rows, columns), uint8; subsampled chroma is smaller.

    Raises:
        DamagedError: libjpeg-turbo detected damage within a scan.
        JpegError: libjpeg-turbo rejected the file or warned about it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            scale = (1, denominator)
            if len(header.components) == 1:  # PyTurboJPEG 1.8 returns no planes for grey
                return [_decoder().decode(data, _GREY, scale, _FLAGS)[..., 0]]
            return _decoder().decode_to_yuv_planes(data, scale, flags=_FLAGS)
        except (OSError, ValueError, UserWarning, TypeError, ZeroDivisionError) as error:
            raise _refusal(first_line(error).removeprefix("UserWarning: ")) from error


def _refusal(message: str) -> JpegError:
    # Only these warnings are certain to be damage. Extraneous bytes before the end are usually padding by a camera.
    is_corrupt = message.startswith(("Corrupt JPEG data", "Premature end"))
    if is_corrupt and "extraneous bytes before marker 0xd9" not in message:
        return DamagedError(message)
    return JpegError(message)


class _TransformOptions(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("x", "y", "w", "h", "op", "options")),
        ("data", ctypes.c_void_p),
        ("filter", ctypes.c_void_p),
    ]


# The library passes six arguments. Only the first, the address of the row, is declared: converting the others would
# take longer than everything else here. All C calling conventions of 64-bit machines let a callee ignore arguments.
_Filter = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


@functools.cache
def _transformer() -> ctypes.CDLL:
    lib = ctypes.CDLL(library())
    lib.tjInitTransform.restype = ctypes.c_void_p
    lib.tjDestroy.argtypes = lib.tjFree.argtypes = [ctypes.c_void_p]
    lib.tjFree.restype = None
    lib.tjGetErrorStr2.argtypes, lib.tjGetErrorStr2.restype = [ctypes.c_void_p], ctypes.c_char_p
    pointer = ctypes.c_void_p
    lib.tjTransform.argtypes = [
        pointer, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_int, pointer, pointer, pointer, ctypes.c_int
    ]  # fmt: skip
    return lib


def with_coefficients(data: bytes, header: JpegHeader, take: Callable[[list[np.ndarray]], T]) -> T:
    """Calls a function with views of the quantised coefficients of a JPEG file, and returns its result.

    All rows of blocks stay in memory until ``take`` returns: one array per component, (rows, columns, 64), int16, index
    8·v + u last, read-only. ``take`` must copy what it keeps, because the memory is freed afterwards.

    Raises:
        DamagedError, JpegError: As :func:`decode_planes`.
    """

    def read(views: list[np.ndarray]) -> T:
        for view in views:
            view.flags.writeable = False
        return take(views)

    return _transform(data, header.components, header.blocks, _NO_OUTPUT, read)[0]


def edit_coefficients(
    data: bytes,
    header: JpegHeader,
    edit: Callable[[list[np.ndarray]], None],
    grey: bool = False,
    progressive: bool = False,
    metadata: bool = True,
) -> bytes:
    """Codes a JPEG file again after a change of its quantised coefficients; nothing else is lost.

    Args:
        data: The file.
        header: Its header.
        edit: Changes the coefficients in place, as :func:`with_coefficients` passes them.
        grey: Leaves the chroma out.
        progressive: Writes a progressive file, of which a decoder shows a coarse picture first.
        metadata: Copies EXIF data, colour profile and comments.

    Raises:
        DamagedError, JpegError: As :func:`decode_planes`.
    """
    options = _OPTIMIZE | (grey and _GREY_ONLY) | (progressive and _PROGRESSIVE) | (not metadata and _NO_METADATA)
    components, shapes = header.components, header.blocks
    if grey:  # one component has no interleaving
        components, shapes = (Component(1, 1, components[0].table),), shapes[:1]
    return _transform(data, components, shapes, options, edit)[1]


def _transform(
    data: bytes,
    components: tuple[Component, ...],
    shapes: list[tuple[int, int]],
    options: int,
    use: Callable[[list[np.ndarray]], T],
) -> tuple[T, bytes]:
    """The lossless transform of libjpeg-turbo; returns what ``use`` returns, and the new file.

    It calls a filter for each row of blocks. The filter collects their addresses, and its last call passes all of them
    to ``use``. The rows are coded again afterwards.
    """
    # The library processes whole rows of MCUs.
    heights = [-(-rows // c.vertical) * c.vertical for (rows, _), c in zip(shapes, components, strict=True)]
    total, addresses = sum(heights), list[int]()
    outcome: list[T | BaseException] = []

    def note(address: int) -> int:
        addresses.append(address)
        if len(addresses) == total:
            try:
                outcome.append(use(_views(addresses, shapes, heights)))
            except BaseException as error:  # exceptions cannot propagate through C
                outcome.append(error)
        return 0

    lib = _transformer()
    callback = _Filter(note)
    transform = _TransformOptions(options=options, filter=ctypes.cast(callback, ctypes.c_void_p))
    handle, buffer, size = lib.tjInitTransform(), ctypes.c_void_p(), ctypes.c_ulong()
    try:
        failed = lib.tjTransform(
            handle, data, len(data), 1, ctypes.byref(buffer), ctypes.byref(size), ctypes.byref(transform), _FLAGS
        )
        if failed:
            raise _refusal(lib.tjGetErrorStr2(handle).decode(errors="replace"))
        written = ctypes.string_at(buffer, size.value) if buffer else b""
    finally:
        lib.tjFree(buffer)
        lib.tjDestroy(handle)
    if len(addresses) != total or not outcome:
        raise JpegError(f"{len(addresses)} rows of blocks, but the header has {total}")
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0], written


def _views(addresses: list[int], shapes: list[tuple[int, int]], heights: list[int]) -> list[np.ndarray]:
    views, place = [], 0
    for (rows, columns), height in zip(shapes, heights, strict=True):
        own = addresses[place : place + rows]
        place += height
        stride = own[1] - own[0] if rows > 1 else columns * 128
        if stride < columns * 128 or own != list(range(own[0], own[0] + stride * rows, stride)):
            raise JpegError("the rows of blocks are not evenly spaced in memory")
        memory = (ctypes.c_char * (stride * (rows - 1) + columns * 128)).from_address(own[0])
        view = np.ndarray((rows, columns, 64), "<i2", memoryview(memory), strides=(stride, 128, 2))
        views.append(view)
    return views
