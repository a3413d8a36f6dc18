"""Mask files: a ChannelSet as JSON. Reading treats the file as untrusted input and checks every value."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from dctnet.errors import UserError, did_you_mean_path
from dctnet.frequency.channels import COMPONENTS, NUM_CHANNELS, ChannelSet
from dctnet.frequency.dct import BLOCK
from dctnet.frequency.selections import named_channels
from dctnet.io.atomic import atomic_write
from dctnet.io.files import open_regular

_LAYOUT = {
    "format": "dctnet-mask",
    "version": 1,
    "block_size": BLOCK,
    "components": list(COMPONENTS),
    "index": "64*component + 8*v + u",
}
_KEYS = {*_LAYOUT, "channels", "keep_probability", "source"}
_MAX_BYTES = 1 << 18  # twenty times the largest valid file


def write_mask(
    path: str | Path,
    channel_set: ChannelSet,
    keep_probability: Sequence[float] | None = None,
    source: Mapping[str, str | int | float | None] | None = None,
) -> None:
    """Writes a mask file atomically.

    Args:
        path: The file; an existing one is replaced.
        channel_set: The channels kept.
        keep_probability: Of each of the 192 channels under a gate, 0…1, averaged over images; None without a gate.
        source: Provenance: versions, checkpoint hash, data.

    Raises:
        UserError: The content could not be read back, or the file cannot be written.
    """
    content = {
        **_LAYOUT,
        "channels": list(channel_set.indices),
        "keep_probability": None if keep_probability is None else [round(float(p), 6) for p in keep_probability],
        "source": dict(source or {}),
    }
    _check(path, content)
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items()]
    try:
        atomic_write(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error


def read_mask(path: str | Path) -> tuple[ChannelSet, list[float] | None]:
    """Reads and checks a mask file.

    Returns:
        The channels, named by the path, and the 192 keep probabilities or None.

    Raises:
        UserError: The file is missing, not a regular file, too large, not JSON, or breaks the format.
    """
    try:
        with open_regular(path, _MAX_BYTES) as file:
            raw = file.read(_MAX_BYTES + 1)
        content = json.loads(raw, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except OSError as error:
        hint = did_you_mean_path(path) if isinstance(error, FileNotFoundError) else ""
        raise UserError(f"{path}: cannot be read: {error.strerror}.{hint}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a mask file: {str(error)[:200]}") from error
    return _check(path, content), content["keep_probability"]


def is_mask(path: str | Path) -> bool:
    """Whether a file is a mask, to say so where another file is expected."""
    try:
        read_mask(path)
    except UserError:
        return False
    return True


def resolve_channels(spec: str | Sequence[int]) -> ChannelSet:
    """Converts the value of an option to a channel set.

    Args:
        spec: A name (see :func:`~dctnet.frequency.selections.named_channels`), the path of a mask file, or indices.

    Raises:
        UserError: Unknown name, missing file, or invalid channels.
    """
    if not isinstance(spec, str):
        return ChannelSet("listed", tuple(spec))
    return read_mask(spec)[0] if _is_path(spec) else named_channels(spec)


def keep_probability(spec: str | Sequence[int]) -> list[float] | None:
    """The keep probabilities of the 192 channels, if ``spec`` is the path of a mask file that has them."""
    return read_mask(spec)[1] if isinstance(spec, str) and _is_path(spec) else None


def _is_path(spec: str) -> bool:
    return "." in spec or os.sep in spec  # names contain neither


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"the number {name} is not finite")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"duplicate key {key!r}")
    return dict(pairs)


def _check(path: str | Path, content: Any) -> ChannelSet:
    """Raises UserError for the first place that breaks the format."""
    for place, value, is_valid, wanted in _places(path, content):
        if not is_valid:
            raise UserError(f"{path}: {place} is {repr(value)[:80]}, must be {wanted}")
    return ChannelSet(str(path), tuple(content["channels"]))


def _places(path: str | Path, content: Any) -> Iterator[tuple[str, Any, bool, str]]:
    """Yields each place with its value, whether it is valid, and valid values; all previous places must be valid."""
    yield "the content", content, isinstance(content, dict), "a JSON object"
    for key in sorted(_KEYS - content.keys()):
        raise UserError(f"{path}: {key!r} is missing")
    for key in content.keys() - _KEYS:
        raise UserError(f"{path}: unknown key {key[:80]!r}; known: {', '.join(sorted(_KEYS))}")
    for key, wanted in _LAYOUT.items():
        yield repr(key), content[key], repr(content[key]) == repr(wanted), repr(wanted)  # == would take True for 1
    channels, probabilities, source = content["channels"], content["keep_probability"], content["source"]
    is_list = isinstance(channels, list) and 1 <= len(channels) <= NUM_CHANNELS
    yield "'channels'", channels, is_list, "a list of 1…192 indices"
    for number, index in enumerate(channels):
        yield f"channels[{number}]", index, type(index) is int, "a whole number"
    is_list = isinstance(probabilities, list) and len(probabilities) == NUM_CHANNELS
    yield "'keep_probability'", probabilities, probabilities is None or is_list, "null or a list of 192 numbers"
    for number, value in enumerate(probabilities or []):
        is_share = type(value) in (int, float) and 0 <= value <= 1
        yield f"keep_probability[{number}]", value, is_share, "a number in 0…1"
    yield "'source'", source, isinstance(source, dict), "an object"
    for key, value in source.items():
        is_plain = value is None or type(value) in (str, int, float)
        yield f"source[{key[:40]!r}]", value, is_plain, "text, a number or null"
