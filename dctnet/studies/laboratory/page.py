"""The page of a laboratory study: a summary in words, sections with figures and tables, and how it was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from dctnet.studies.laboratory.study import Study
from dctnet.studies.page.page import Plot, render_plots, write_page

REPORT = "report.html"


@dataclass(frozen=True)
class Table:
    """A table that a click on a column head sorts.

    Args:
        label: For screen readers.
        columns: Heads; the first names the row.
        rows: The cells of each row, name first: texts, numbers, or a pair (number to sort by, text); None is empty.
    """

    label: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def cells(self, row: Sequence[Any]) -> list[tuple[float | None, str]]:
        """Sort key and text of each cell of a row behind its name."""
        return [_cell(value) for value in row[1:]]


def _cell(value: Any) -> tuple[float | None, str]:
    if isinstance(value, tuple):
        return value
    if value is None:
        return None, "–"
    return (
        (value, f"{value:.4g}" if isinstance(value, float) else str(value))
        if not isinstance(value, str)
        else (None, value)
    )


@dataclass(frozen=True)
class Section:
    """A section of a page.

    Args:
        title: Its heading.
        text: Paragraphs above the figures, plain text.
        plots: Figures with captions.
        tables: Tables below the figures.
    """

    title: str
    text: Sequence[str] = ()
    plots: Sequence[tuple[Plot, str]] = ()
    tables: Sequence[Table] = field(default=())


Found = tuple[Section, list[str]]  # a section, and its answers in words


def write_study(
    study: Study, title: str, question: str, summary: Sequence[str], sections: Sequence[Section], command: str = ""
) -> Path:
    """Writes ``report.html``, whose path is returned, and ``figures/``. The same input gives the same bytes.

    Args:
        study: The study, for the options, versions and machine at the end of the page.
        title: Of the page.
        question: What was asked, and of what, in one or two sentences.
        summary: The answers in words, a paragraph each.
        sections: The measurements.
        command: Repeats the study.
    """
    content = study.content
    facts: dict[str, str] = {"command": command} if command else {}
    facts |= {key: str(value) for key, value in content["options"].items() if value is not None}
    facts |= {path: f"SHA-256 {digest}" for path, digest in content["inputs"].items()}
    facts["versions"] = ", ".join(f"{name} {value}" for name, value in content["versions"].items())
    facts["machine"] = content["machine"]
    return write_sections(study.out / REPORT, title, question, summary, sections, facts)


def write_sections(
    path: Path, title: str, question: str, summary: Sequence[str], sections: Sequence[Section], facts: Mapping[str, str]
) -> Path:
    """Writes a page, whose path is returned, and ``figures/`` beside it; ``facts`` say how it was measured."""
    plots = [plot for section in sections for plot, _ in section.plots]
    write_page(
        path,
        files(__package__).joinpath("laboratory.html").read_text(encoding="utf-8"),
        title=title,
        question=question,
        summary=summary,
        sections=sections,
        plots=render_plots(plots, path.parent / "figures"),
        facts=facts,
    )
    return path
