"""From a benchmark's folder to one page: what was found, how sure it is, how to make it again."""

import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from dctnet.errors import UserError, did_you_mean_path, printable
from dctnet.studies.accuracy.provenance import ENERGY, FAILURES, GRID
from dctnet.studies.accuracy.report.arms import Arm, arms_of, compared_to
from dctnet.studies.accuracy.report.figures.canvas import Picture, render
from dctnet.studies.accuracy.report.figures.channels import accuracy_channels
from dctnet.studies.accuracy.report.figures.cost import BYTES, GMAC, accuracy_cost
from dctnet.studies.accuracy.report.figures.differences import differences
from dctnet.studies.accuracy.report.figures.ranking import ranking
from dctnet.studies.accuracy.report.folder import read_channel_values, read_failures, read_options, read_ranking
from dctnet.studies.accuracy.report.page import about_ranking, texts
from dctnet.studies.accuracy.report.summary import FEW
from dctnet.studies.rows import ROWS, read_rows

_FIGURES = ("accuracy_channels", "accuracy_gmac", "accuracy_bytes", "ranking", "differences")


def report(folder: str) -> None:
    """Makes the page of a benchmark anew from its ``rows.csv`` and what lies beside it.

    Args:
        folder: A benchmark's folder, or a copy of its few files.

    Raises:
        UserError: There is no row, or a file is damaged.
    """
    if not Path(folder).is_dir():
        raise UserError(f"{folder}: no such folder.{did_you_mean_path(folder)}")
    print(f"report: {printable(str(write_report(Path(folder))))}")


def write_report(out: Path) -> Path:
    """Writes ``report.html`` and ``figures/`` from rows and what lies beside them; the same files make the same bytes.

    Args:
        out: A benchmark's folder.

    Returns:
        The page.

    Raises:
        UserError: There is no row, or a file is damaged. Nothing has been written then.
    """
    rows = read_rows(out / ROWS)
    if not rows:
        raise UserError(f"{out / ROWS}: no finished run, so nothing to report")
    options, failures = read_options(out / GRID), read_failures(out / FAILURES)
    energy, probability = read_channel_values(out / ENERGY, "variance"), read_ranking(out, options)
    arms = arms_of(rows)
    drawn = _draw(out / "figures", _pictures(arms, probability, energy))
    content = {
        **{name: drawn.get(name, "") for name in _FIGURES},
        **texts(rows, arms, options, failures),
        "about_ranking": about_ranking(probability, energy),
    }
    page = Template(files(__package__).joinpath("page.html").read_text(encoding="utf-8")).substitute(content)
    partial = out / f".report.html.{os.getpid()}"
    partial.write_text(page, encoding="utf-8", errors="replace")  # a lone surrogate in a name
    partial.replace(out / "report.html")
    return out / "report.html"


def _pictures(
    arms: Sequence[Arm], probability: Sequence[float] | None, energy: Sequence[float] | None
) -> list[Picture]:
    pictures = [accuracy_channels(arms), accuracy_cost(arms, GMAC), accuracy_cost(arms, BYTES)]
    if probability is not None or energy is not None:
        pictures.append(ranking(probability, energy, {way: _chosen(arms, way) for way in ("learned", "energy")}))
    if compared := compared_to(arms):
        pictures.append(differences(arms, compared))
    return pictures


def _chosen(arms: Sequence[Arm], way: str) -> list[int]:
    """The channels of the largest arm of a way with few channels."""
    few = [a.first for a in arms if a.first.choose == way and not a.first.label and a.first.channels <= FEW]
    return [int(i) for i in max(few, key=lambda row: row.channels).indices.split()] if few else []


def _draw(folder: Path, pictures: Sequence[Picture]) -> dict[str, str]:
    """Draws all pictures, and removes an earlier report's that are no longer."""
    folder.mkdir(exist_ok=True)
    drawn = {picture.name: render(picture, folder) for picture in pictures}
    for name in set(_FIGURES) - set(drawn):
        for ending in ("png", "csv"):
            (folder / f"{name}.{ending}").unlink(missing_ok=True)
    return drawn
