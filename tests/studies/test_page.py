"""The page kit that all studies share."""

import csv
import textwrap

import jinja2
import pytest
from PIL import Image

import dctnet.studies.page
from dctnet.studies.page.page import WIDTH, add_legend, new_figure, shorten, write_page
from tests.html_page import Page


def render(path, body: str, **content) -> Page:
    start = '{% extends "page.html" %}{% from "macros.html" import cell, figure, sortable %}{% block main %}'
    write_page(path, start + body + "{% endblock %}", title="A study", **content)
    return Page(path.read_text())


def test_the_example_of_the_docstring_makes_a_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(textwrap.dedent(dctnet.studies.page.__doc__.partition("::\n")[2]), {})
    page = Page((tmp_path / "study" / "report.html").read_text())
    assert page.rows == [["Decoder", "Images/s"], ["pillow", "410"], ["turbojpeg", "803"]]
    assert [tag for tag, _ in page.tags].count("svg") == 1
    assert "Median of five rounds on two cores." in page.text
    with Image.open(tmp_path / "study" / "figures" / "speed.png") as image:
        assert image.size == (3 * WIDTH, 600)
    with open(tmp_path / "study" / "figures" / "speed.csv", newline="") as file:
        assert list(csv.reader(file)) == [["decoder", "speed"], ["pillow", "410.5"], ["turbojpeg", "803"]]


def test_variables_are_escaped_and_missing_ones_are_errors(tmp_path):
    page = render(tmp_path / "page.html", '<p title="{{ name }}">{{ name }}</p>', name='"><script>x</script>')
    assert ("p", {"title": '"><script>x</script>'}) in page.tags
    assert [tag for tag, _ in page.tags].count("script") == 1
    with pytest.raises(jinja2.UndefinedError, match="nothing"):
        render(tmp_path / "page.html", "{{ nothing }}")


def test_cells_have_a_sort_key_and_small_print(tmp_path):
    body = """{% call(row) sortable("All", ["A", "B"], [1.5, none], "B") %}
    <th scope="row">name</th>{{ cell(row, "text", "note" if row else "", strong=row is none) }}{% endcall %}"""
    page = render(tmp_path / "page.html", body)
    assert [attrs["data-value"] for tag, attrs in page.tags if tag == "td"] == ["1.5", ""]
    assert page.rows == [["A", "B"], ["name", "text note"], ["name", "text"]]
    assert [attrs["aria-sort"] for tag, attrs in page.tags if "aria-sort" in attrs] == ["none", "descending"]
    assert "<b>text</b></td>" in page.raw


def test_a_legend_fits_the_width_and_makes_the_figure_higher():
    figure = new_figure(200)
    axes = figure.subplots()
    handles = [axes.plot([0, 1], label=f"a rather long label {number}")[0] for number in range(5)]
    add_legend(figure, handles)
    figure.draw_without_rendering()
    assert figure.legends[0].get_window_extent().width <= WIDTH
    assert figure.bbox.height > 210


def test_names_are_shortened_to_one_printable_line():
    assert shorten("a\nb\x1b") == "a\\nb\\x1b"
    assert shorten("x" * 50, 10) == "x" * 9 + "…"
