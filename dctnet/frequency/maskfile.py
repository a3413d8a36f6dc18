"""Mask files: a ChannelSet on disk, read as if an enemy had written it."""

import json
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from dctnet.errors import UserError, did_you_mean_path
from dctnet.frequency.channels import COMPONENTS, NUM_CHANNELS, ChannelSet, named_channels
from dctnet.frequency.dct import BLOCK
from dctnet.io.atomic import atomic_write

_LAYOUT = {
    "format": "dctnet-mask",
    "version": 1,
    "block_size": BLOCK,
    "components": list(COMPONENTS),
    "index": "64*component + 8*v + u",
}
_KEYS = {*_LAYOUT, "channels", "keep_probability", "source"}
# Twenty times the largest honest file.
_MAX_BYTES = 1 << 18


class MaskFileError(UserError):
    """A mask file that cannot be trusted; the message is one line: file, place, what came, what would be right."""


def write_mask(
    path: str | Path,
    channel_set: ChannelSet,
    keep_probability: Sequence[float] | None = None,
    source: Mapping[str, str | int | float | None] | None = None,
) -> None:
    """Writes a mask file, atomically: a reader sees the old file or the whole new one.

    Args:
        path: Where to write.
        channel_set: The channels kept.
        keep_probability: How likely a gate keeps each of the 192 channels, 0…1, mean over the images that it was
            asked about; None where no gate was asked.
        source: Where the mask comes from, for the reader: versions, checkpoint hash, data.

    Raises:
        MaskFileError: What would be written could not be read back, or the disk does not take it.
    """
    content = {
        **_LAYOUT,
        "channels": list(channel_set.indices),
        "keep_probability": None if keep_probability is None else [round(float(p), 6) for p in keep_probability],
        "source": dict(source or {}),
    }
    _check(str(path), content)
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items()]
    try:
        atomic_write(Path(path), ("{\n" + ",\n".join(lines) + "\n}\n").encode())
    except OSError as error:
        raise MaskFileError(f"{path}: cannot be written: {error.strerror}") from error


def read_mask(path: str | Path) -> tuple[ChannelSet, list[float] | None]:
    """Reads and checks a mask file.

    Args:
        path: A file that :func:`write_mask` or another program wrote.

    Returns:
        The channels, named by the path, and the 192 keep probabilities or None.

    Raises:
        MaskFileError: The file is missing, too large, no JSON, or breaks the format in any place.
    """
    try:
        status = os.stat(path)
        size = status.st_size
        # To open a pipe is to wait for ever; of a folder, open says what it is.
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise MaskFileError(f"{path}: a pipe, socket or device; a mask is a file")
        if size > _MAX_BYTES:
            raise MaskFileError(f"{path}: {size} bytes; a mask file has at most {_MAX_BYTES}")
        with open(path, "rb") as file:
            raw = file.read(_MAX_BYTES + 1)
        content = json.loads(raw, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except OSError as error:
        hint = did_you_mean_path(path) if isinstance(error, FileNotFoundError) else ""
        raise MaskFileError(f"{path}: cannot be read: {error.strerror}.{hint}") from error
    except MaskFileError:
        raise
    except (ValueError, RecursionError) as error:
        raise MaskFileError(f"{path}: not a mask file: {str(error)[:200]}") from error
    _check(str(path), content)
    return ChannelSet(str(path), tuple(content["channels"])), content["keep_probability"]


def resolve_channels(spec: str | Sequence[int]) -> ChannelSet:
    """The channels that an option asks for.

    Args:
        spec: A name (see :func:`~dctnet.frequency.channels.named_channels`), the path of a mask file, or indices.

    Raises:
        UserError: No such name or file, or what it holds is no channel set. Says what would be right.
    """
    if not isinstance(spec, str):
        return ChannelSet("listed", tuple(spec))
    return read_mask(spec)[0] if _is_path(spec) else named_channels(spec)


def keep_probability(spec: str | Sequence[int]) -> list[float] | None:
    """How likely a gate keeps each of the 192 channels, where an option names a mask file that says so."""
    return read_mask(spec)[1] if isinstance(spec, str) and _is_path(spec) else None


def _is_path(spec: str) -> bool:
    return "." in spec or os.sep in spec  # no name has either


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"the number {name} is not finite")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    repeated = next((key for key in keys if keys.count(key) > 1), None)
    if repeated is not None:
        raise ValueError(f"the key {repeated!r} stands twice")
    return dict(pairs)


def _check(path: str, content: Any) -> None:
    """Checks parsed JSON against the format; raises MaskFileError at the first fault."""

    def fail(place: str, got: Any, wanted: str) -> NoReturn:
        raise MaskFileError(f"{path}: {place} is {repr(got)[:80]}, must be {wanted}")

    if not isinstance(content, dict):
        fail("the content", content, "a JSON object")
    for key in sorted(_KEYS - content.keys()):
        raise MaskFileError(f"{path}: {key!r} is missing")
    for key in content.keys() - _KEYS:
        raise MaskFileError(f"{path}: unknown key {key[:80]!r}; known: {', '.join(sorted(_KEYS))}")
    for key, value in _LAYOUT.items():
        # The type too: True equals 1.
        if content[key] != value or type(content[key]) is not type(value):
            fail(repr(key), content[key], repr(value))
    _check_channels(path, content["channels"], fail)
    _check_probabilities(content["keep_probability"], fail)
    if not isinstance(content["source"], dict):
        fail("'source'", content["source"], "an object")
    for key, value in content["source"].items():
        if not (value is None or type(value) in (str, int, float)):
            fail(f"source[{key[:40]!r}]", value, "text, a number or null")


def _check_channels(path: str, channels: Any, fail: Any) -> None:
    if not isinstance(channels, list) or not 1 <= len(channels) <= NUM_CHANNELS:
        fail("'channels'", channels, "a list of 1…192 indices")
    for place, index in enumerate(channels):
        if type(index) is not int:
            fail(f"channels[{place}]", index, "a whole number")
    try:
        ChannelSet(path, tuple(channels))
    except ValueError as error:
        raise MaskFileError(str(error)) from error


def _check_probabilities(values: Any, fail: Any) -> None:
    if values is None:
        return
    if not isinstance(values, list) or len(values) != NUM_CHANNELS:
        fail("'keep_probability'", values, "null or a list of 192 numbers")
    for place, value in enumerate(values):
        if type(value) not in (int, float) or not 0 <= value <= 1:
            fail(f"keep_probability[{place}]", value, "a number in 0…1")
