"""The verb ``thin``: standard JPEG files in which only the coefficients of some channels are left."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from dctnet.data.folders import list_unlabelled
from dctnet.data.ignored import is_note
from dctnet.data.images import turbojpeg
from dctnet.data.images.files import ImageError, open_image_file
from dctnet.data.images.photo import Photo
from dctnet.data.images.thin import thin_jpeg
from dctnet.errors import UserError, printable
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.maskfile import resolve_channels
from dctnet.io.atomic import atomic_write
from dctnet.io.files import dump_json, parse_json

PLAN = "thin.json"  # in the target: how its files were made
_SHOWN = 20


@dataclass
class Summary:
    """What became of the files: counts, bytes of those thinned, and path and reason of those that cannot be thinned."""

    thinned: int = 0
    present: int = 0
    before: int = 0
    after: int = 0
    notes: int = 0
    copied: int = 0
    skipped: int = 0
    others: list[tuple[str, str]] = field(default_factory=list)


def thin(
    src: str,
    out: str,
    *,
    channels: str | list[int],
    progressive: bool = False,
    metadata: Literal["keep", "drop"] = "keep",
    others: Literal["stop", "copy", "skip"] = "stop",
) -> Summary:
    """Writes JPEG files in which only the coefficients of some channels are left. Every decoder opens them.

    The coefficients are not decoded: those that are left are the same numbers. Of subsampled chroma, those frequencies
    are left of which a kept channel can consist on the grid of luma. Originals are not changed. The command continues
    if it was stopped.

    Args:
        src: A JPEG file, or a folder of photographs at any depth.
        out: The file to write, or the folder, in which files keep their names.
        channels: A mask file, a name (``square-24``, …), or a list of indices.
        progressive: Write progressive files, which are smaller and take longer to decode.
        metadata: ``keep`` or ``drop`` EXIF data, colour profile and comments. A photograph that EXIF turns upright
            keeps its orientation.
        others: What to do with a file that cannot be thinned, such as PNG or CMYK: ``stop``, ``copy`` it unchanged, or
            ``skip`` it; it is listed. Text files, such as README.md, are always left out.

    Raises:
        UserError: libjpeg-turbo is not found; ``out`` lies in ``src`` or has other files; a file cannot be thinned.
    """
    if turbojpeg.describe() is None:
        raise UserError("thin needs libjpeg-turbo, which is not found; dctnet doctor says how to install it")
    channel_set, source, target = resolve_channels(channels), Path(src), Path(out)
    options: dict[str, Any] = {"progressive": progressive, "metadata": metadata == "keep"}
    listed = list_unlabelled(source).paths
    files = [path for path in listed if source.is_file() or not is_note(path)]
    if source.is_file():
        places = [target]
        _check_file(source, target)
    else:
        places = [target / Path(path).relative_to(source) for path in files]
        plan = {
            "format": "dctnet-thin",
            "source": str(source.resolve()),
            "channels": list(channel_set.indices),
            **options,
        }
        _prepare_folder(source, target, plan)
    summary = Summary(notes=len(listed) - len(files))
    for path, place in tqdm(list(zip(files, places, strict=True)), desc="thinning", unit="img", disable=None):
        if source.is_dir() and _is_done(path, place):
            summary.present += 1
            continue
        _thin_file(path, place, channel_set, others, options, summary)
    for line in _describe(summary, channel_set, out):
        print(printable(line))
    return summary


def _check_file(source: Path, target: Path) -> None:
    if target.is_dir():
        raise UserError(f"{target}: a folder; {source} is a file, and so must be what is written")
    if not target.parent.is_dir():
        raise UserError(f"{target}: the folder {target.parent} does not exist")
    if target.exists() or target.is_symlink():
        raise UserError(f"{target}: exists; thin does not replace files")


def _prepare_folder(source: Path, target: Path, plan: dict[str, Any]) -> None:
    """Creates the target with its plan, or checks that it has the same plan."""
    if target.resolve().is_relative_to(source.resolve()):
        raise UserError(f"{target}: lies within {source}, whose photographs it would join; choose a folder outside")
    if target.exists() and not target.is_dir():
        raise UserError(f"{target}: exists and is not a folder")
    content = dump_json(plan)
    if (target / PLAN).is_file():
        try:
            found = parse_json((target / PLAN).read_bytes())
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise UserError(f"{target}: {PLAN} is damaged; choose another folder")
        if found != plan:
            differing = ", ".join(key for key in plan if found.get(key) != plan[key])
            raise UserError(f"{target}: made with another {differing} ({PLAN}); choose another folder")
        return
    if target.is_dir() and any(target.iterdir()):
        raise UserError(f"{target}: not empty, and not made by thin; choose another folder")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{target}: cannot be created: {error.strerror}") from error
    atomic_write(target / PLAN, content)


def _is_done(path: str, place: Path) -> bool:
    return place.is_file() and place.stat().st_mtime_ns >= os.stat(path).st_mtime_ns


def _thin_file(
    path: str, place: Path, channel_set: ChannelSet, others: str, options: dict[str, Any], summary: Summary
) -> None:
    try:
        photo = Photo(path, "turbojpeg")
        written = thin_jpeg(photo, channel_set, **options)
        summary.thinned += 1
        summary.before += len(photo.data)
        summary.after += len(written)
    except ImageError as error:
        if others == "stop":
            advice = "to leave such files out, or to copy them: --others skip or copy"
            raise ImageError(error.path, f"{error.reason} ({advice})") from error
        summary.others.append((path, error.reason))
        if others == "skip":
            summary.skipped += 1
            return
        summary.copied += 1
        with open_image_file(path) as file:
            written = file.read()
    place.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(place, written)


def _describe(summary: Summary, channel_set: ChannelSet, out: str) -> Iterator[str]:
    for path, reason in summary.others[:_SHOWN]:
        yield f"not thinned: {path}: {reason}"
    if len(summary.others) > _SHOWN:
        yield f"… and {len(summary.others) - _SHOWN} more"
    rest = f", {summary.present:,} were already there" if summary.present else ""
    rest += f", {summary.copied:,} copied unchanged" if summary.copied else ""
    rest += f", {summary.skipped:,} skipped" if summary.skipped else ""
    rest += f", {summary.notes:,} text files left out" if summary.notes else ""
    sizes = ""
    if summary.thinned:
        share = summary.after / summary.before
        sizes = f", {summary.before / 1e6:,.2f} -> {summary.after / 1e6:,.2f} MB ({100 * share:.0f} %)"
    yield f"{channel_set} -> {out}: {summary.thinned:,} files thinned{sizes}{rest}"
