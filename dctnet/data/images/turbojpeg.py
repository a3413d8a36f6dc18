"""libjpeg-turbo, where its library is installed: native planes through PyTurboJPEG, coefficients through ctypes."""

import ctypes
import ctypes.util
import functools
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from dctnet.data.images.header import JpegHeader
from dctnet.data.images.markers import DamagedError, JpegError
from dctnet.errors import first_line

T = TypeVar("T")

# turbojpeg.h: what the functions of the 2.x interface take; 3.x has them still.
# The flags: an end to files of a thousand scans; and why decode to the end what somebody else will decode again?
_FLAGS = 32768 | 8192
_NO_OUTPUT = 16
_GREY = 6


@functools.cache
def library() -> str | None:
    """Path or name of the TurboJPEG library, or None; ``TURBOJPEG`` in the environment names another, empty none."""
    if "TURBOJPEG" in os.environ:
        return os.environ["TURBOJPEG"] or None
    # The loader's cache knows more places than a list of ours; without it (a bare container), the usual ones.
    usual = [*Path("/usr").glob("lib*/libturbojpeg.so.0"), *Path("/usr/lib").glob("*-linux-gnu/libturbojpeg.so.0")]
    return next((str(p) for p in usual), None) or ctypes.util.find_library("turbojpeg")


@functools.cache
def _decoder() -> Any:
    import turbojpeg

    return turbojpeg.TurboJPEG(library())


@functools.cache
def describe() -> str | None:
    """The library as it is recorded: its generation and file; None where there is none or it does not load."""
    path = library()
    if path is None:
        return None
    try:
        loaded = ctypes.CDLL(path)
        _decoder()
    except (OSError, AttributeError, ImportError, RuntimeError):
        return None
    # 2.x has no function that tells its version.
    return f"libjpeg-turbo {'3' if hasattr(loaded, 'tj3Init') else '2'}.x ({Path(path).resolve().name})"


def decode_planes(data: bytes, header: JpegHeader, denominator: int = 1) -> list[np.ndarray]:
    """The planes of a JPEG file at their own resolution, scaled down while decoding.

    Args:
        data: The file.
        header: What :func:`~dctnet.data.images.header.read_header` made of it.
        denominator: 1, 2, 4 or 8: the scale is one over it.

    Returns:
        Y, or Y, Cb, Cr, 0 … 255, each of shape (rows, columns), uint8; subsampled chroma is smaller.

    Raises:
        DamagedError: libjpeg-turbo has found damage within a scan.
        JpegError: It refuses the file, or warns: then somebody else had better look at it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            scale = (1, denominator)
            if len(header.components) == 1:  # PyTurboJPEG 1.8 has no planes of grey
                return [_decoder().decode(data, _GREY, scale, _FLAGS)[..., 0]]
            return _decoder().decode_to_yuv_planes(data, scale, flags=_FLAGS)
        except (OSError, ValueError, UserWarning, TypeError, ZeroDivisionError) as error:
            raise _refusal(first_line(error).removeprefix("UserWarning: ")) from error


def _refusal(said: str) -> JpegError:
    # Of all that it warns of, this alone is damage for certain. But bytes left over at the very end are more often some
    # camera's filling than the trace of a fault.
    damaged = (
        said.startswith(("Corrupt JPEG data", "Premature end")) and "extraneous bytes before marker 0xd9" not in said
    )
    return DamagedError(said) if damaged else JpegError(said)


class _Transform(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("x", "y", "w", "h", "op", "options")),
        ("data", ctypes.c_void_p),
        ("filter", ctypes.c_void_p),
    ]


# The library passes six arguments; only the first, where the row lies, is declared, for converting the rest would cost
# more than all else that is done here. Every C calling convention of 64-bit machines lets a callee ignore the others.
_Filter = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


@functools.cache
def _transformer() -> ctypes.CDLL:
    lib = ctypes.CDLL(library())
    lib.tjInitTransform.restype = ctypes.c_void_p
    lib.tjDestroy.argtypes = [ctypes.c_void_p]
    lib.tjGetErrorStr2.argtypes, lib.tjGetErrorStr2.restype = [ctypes.c_void_p], ctypes.c_char_p
    pointer = ctypes.c_void_p
    lib.tjTransform.argtypes = [
        pointer, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_int, pointer, pointer, pointer, ctypes.c_int
    ]  # fmt: skip
    return lib


class _Memory:
    """Memory of the library's, for NumPy to look at."""

    def __init__(self, address: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.__array_interface__ = {
            "version": 3, "typestr": "<i2", "data": (address, True), "shape": shape, "strides": strides
        }  # fmt: skip


def with_coefficients(data: bytes, header: JpegHeader, take: Callable[[list[np.ndarray]], T]) -> T:
    """Shows the quantised coefficients of a JPEG file to a function, without a copy.

    The lossless transform of libjpeg-turbo hands each row of blocks to a filter, and is told to write no output. All
    rows stay in memory until it returns, so the filter notes where they are, and the last call looks at them all.

    Args:
        data: The file.
        header: What :func:`~dctnet.data.images.header.read_header` made of it.
        take: Gets one array (rows, columns, 64) of int16 a component, frequencies row by row, and must copy what it
            keeps: the arrays are gone when it returns.

    Returns:
        What ``take`` returned.

    Raises:
        DamagedError: libjpeg-turbo has found damage within a scan.
        JpegError: It refuses the file, or warns: then somebody else had better look at it.
    """
    shapes = [header.blocks(i) for i in range(len(header.components))]
    # The library goes by whole rows of MCUs.
    heights = [-(-rows // c.vertical) * c.vertical for (rows, _), c in zip(shapes, header.components, strict=True)]
    total, addresses = sum(heights), list[int]()
    outcome: list[T | BaseException] = []

    def note(address: int) -> int:
        addresses.append(address)
        if len(addresses) == total:
            try:
                outcome.append(take(_views(addresses, shapes, heights)))
            except BaseException as error:  # an exception cannot pass through C
                outcome.append(error)
        return 0

    lib = _transformer()
    callback = _Filter(note)
    transform = _Transform(options=_NO_OUTPUT, filter=ctypes.cast(callback, ctypes.c_void_p))
    handle, buffer, size = lib.tjInitTransform(), ctypes.c_void_p(), ctypes.c_ulong()
    try:
        failed = lib.tjTransform(
            handle, data, len(data), 1, ctypes.byref(buffer), ctypes.byref(size), ctypes.byref(transform), _FLAGS
        )
        if failed:
            raise _refusal(lib.tjGetErrorStr2(handle).decode(errors="replace"))
    finally:
        lib.tjDestroy(handle)
    if len(addresses) != total or not outcome:
        raise JpegError(f"{len(addresses)} rows of blocks where the header has {total}")
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def _views(addresses: list[int], shapes: list[tuple[int, int]], heights: list[int]) -> list[np.ndarray]:
    views, place = [], 0
    for (rows, columns), height in zip(shapes, heights, strict=True):
        own = addresses[place : place + rows]
        place += height
        stride = own[1] - own[0] if rows > 1 else columns * 128
        if stride < columns * 128 or own != list(range(own[0], own[0] + stride * rows, stride)):
            raise JpegError("the rows of blocks do not lie in one piece")
        views.append(np.asarray(_Memory(own[0], (rows, columns, 64), (stride, 128, 2))))
    return views
