"""Renders a study's template into one HTML file."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from dctnet.io.atomic import atomic_open


def write_page(path: Path, template: str, **content: object) -> None:
    """Renders a template and writes the page atomically. The same input gives the same bytes.

    Args:
        path: The HTML file.
        template: Jinja2 source that extends ``page.html``; it can import from ``macros.html``.
        content: Variables of the template; ``title`` is required. Strings are escaped, ``markupsafe.Markup`` is not.
    """
    environment = Environment(
        loader=PackageLoader("dctnet.studies.page", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.from_string(template).render(content)
    # errors="replace": file names can hold lone surrogates, which UTF-8 cannot encode.
    with atomic_open(path, "w", encoding="utf-8", errors="replace") as file:
        file.write(page)
