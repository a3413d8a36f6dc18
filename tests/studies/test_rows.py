"""A table of rows reads as written; damage is one line with file, line and column."""

import csv
import dataclasses
import os
from pathlib import Path

import pytest

from dctnet.errors import UserError
from dctnet.studies.rows import FIELDS, current_name, read_rows, write_rows
from tests.simulated_rows import make_arm, make_row

NAMES = [f.name for f in FIELDS]


@pytest.fixture
def table(tmp_path):
    """Two trials of one arm and one of another, written."""
    path = tmp_path / "rows.csv"
    other = make_row("rgb_matched", 0, "11111", choose="rgb_matched", channels=0)
    rows = [*make_arm("learned-24", ["1101-", "0101-"]), other]
    write_rows(path, rows)
    return path


def damage(path, line: int, column: str, text: str):
    """Changes one cell; lines count from 1, the header."""
    with open(path, newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    lines[line - 1][NAMES.index(column)] = text
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)


def refusal(path) -> str:
    """The error for a table: one line that begins with the path; the file is unchanged."""
    before = path.read_bytes()
    with pytest.raises(UserError) as error:
        read_rows(path)
    message = str(error.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < 400
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]
    return message


def test_rows_read_as_written(tmp_path):
    odd = 'a "quoted", long\u2014name\nof <two> lines'
    rows = [
        make_row("learned-24", 0, "10-1", gmac=0.1 + 0.2, device=odd),
        make_row("x", 7, "1" * 200_000, label=odd, channels=192, seconds=1e-300),
    ]
    rows[1] = dataclasses.replace(rows[1], correct="0001", images=4, top1=0.25, top5=0.25)
    write_rows(tmp_path / "rows.csv", rows)
    assert read_rows(tmp_path / "rows.csv") == rows
    write_rows(tmp_path / "rows.csv", rows[:1])
    assert read_rows(tmp_path / "rows.csv") == rows[:1]
    assert os.listdir(tmp_path) == ["rows.csv"]


def test_the_column_correct_of_a_large_set_can_be_read(tmp_path):
    write_rows(tmp_path / "rows.csv", [make_row("a", 0, "10" * 100_000)])
    assert len(read_rows(tmp_path / "rows.csv")[0].correct) == 200_000


def test_a_missing_file_and_a_header_alone_have_no_rows(tmp_path):
    assert read_rows(tmp_path / "rows.csv") == []
    write_rows(tmp_path / "rows.csv", [])
    assert read_rows(tmp_path / "rows.csv") == []


@pytest.mark.parametrize(
    ("column", "text", "said"),
    [
        ("seed", "one", "seed must be a whole number, got 'one'"),
        ("seed", "1.5", "seed must be a whole number, got '1.5'"),
        ("seed", "", "seed must be a whole number, got ''"),
        ("seed", "-1", "seed must be finite and at least 0, got '-1'"),
        ("seed", "9" * 400, "seed must be a whole number, got '9999"),
        ("channels", "9" * 5000, "channels must be a whole number, got '9999"),
        ("gmac", "much", "gmac must be a number, got 'much'"),
        ("gmac", "nan", "gmac must be finite and at least 0, got 'nan'"),
        ("gmac", "inf", "gmac must be finite and at least 0, got 'inf'"),
        ("seconds", "-3", "seconds must be finite and at least 0, got '-3'"),
        ("top1", "0.9", "images 4 and top1 0.9 do not match the column correct: 3 right of 4"),
        ("top1", "75", "do not match the column correct: 3 right of 4"),
        ("top5", "0.2", "top5 must be between top1, 0.75, and 1, got 0.2"),
        ("top5", "1.2", "top5 must be between"),
        ("images", "5", "images 5 and top1 0.75"),
        ("correct", "11x1-", "correct must consist of 0, 1 and -, got '11x1-'"),
        ("correct", "1101", "correct has 5 characters, but 4 in trial 'learned-24-s0'"),
        ("correct", "-----", "do not match the column correct: 0 right of 0"),
        ("correct", "", "do not match the column correct"),
        ("indices", "0 1 2", "indices must be 24 whole numbers separated by one space, got '0 1 2'"),
        ("indices", " ".join(["1"] * 23 + ["x"]), "indices must be"),
    ],
)
def test_a_damaged_cell_is_an_error(table, column, text, said):
    damage(table, 2, column, text)
    message = refusal(table)
    assert said in message
    # A row with fewer images than the others is consistent in itself; the error is at the second row.
    assert f"{table}, line {3 if (column, text) == ('correct', '1101') else 2}: " in message


def test_rows_of_different_images_are_an_error(table):
    damage(table, 4, "correct", "1111")
    damage(table, 4, "images", "4")
    assert refusal(table) == (
        f"{table}, line 4: correct has 4 characters, but 5 in trial 'learned-24-s0': "
        "rows of different evaluation images"
    )


def test_a_duplicate_trial_is_an_error(table):
    damage(table, 3, "seed", "0")
    assert refusal(table) == f"{table}, line 3: duplicate trial 'learned-24-s0'"


@pytest.mark.parametrize(("column", "text"), [("choose", "energy"), ("draw", "1"), ("label", "wide")])
def test_trials_of_an_arm_that_disagree_are_an_error(table, column, text):
    damage(table, 3, column, text)
    assert f"{table}, line 3: {column} must be " in refusal(table)


def test_a_line_feed_in_a_name_is_escaped(table):
    for line in (2, 3):
        damage(table, line, "arm", "a\nb")
    damage(table, 3, "seed", "0")
    assert "duplicate trial 'a\\nb-s0'" in refusal(table)


def test_line_numbers_are_those_of_the_file(table):
    damage(table, 2, "device", "one\ntwo\nthree")
    damage(table, 3, "gmac", "?")
    assert f"{table}, line 5: gmac" in refusal(table)


def test_a_truncated_line_is_an_error(table):
    text = table.read_text()
    table.write_text(text[: text.rindex("rgb_matched,") + 30])
    assert "line 4: " in refusal(table)
    assert refusal(table).endswith(f"columns, expected {len(FIELDS)}")


def test_an_extra_column_is_an_error(table):
    table.write_text(table.read_text().replace("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z,more", 1))
    assert refusal(table) == f"{table}, line 2: {len(FIELDS) + 1} columns, expected {len(FIELDS)}"


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("arm,", "", "line 1: column 1 must be 'arm', got 'choose'"),
        ("device,finished", "device,ended", "line 1: column 24 must be 'finished', got 'ended'"),
        (",finished", "", "line 1: column 24 must be 'finished', is missing"),
        (",finished", ",finished,more", "line 1: column 25 must not exist, got 'more'"),
        ("arm,", "\ufeffarm,", "line 1: column 1 must be 'arm', got '\\ufeffarm'"),
    ],
)
def test_a_different_header_is_an_error_at_its_first_different_column(table, was, becomes, said):
    table.write_text(table.read_text().replace(was, becomes, 1))
    assert said in refusal(table)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\x00\x01", b"\x00" * 100, b'arm,"never closed\n'])
def test_a_file_of_another_format_is_one_line(table, content):
    table.write_bytes(content)
    refusal(table)


def test_a_folder_instead_of_a_file_is_one_line(tmp_path):
    (tmp_path / "rows.csv").mkdir()
    with pytest.raises(UserError, match="cannot be read as CSV"):
        read_rows(tmp_path / "rows.csv")


def test_a_failed_write_leaves_the_old_table(table, monkeypatch):
    before = table.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_rows(table, [])
    assert table.read_bytes() == before


def test_former_names_are_translated(tmp_path):
    """``patchify`` was called ``patches``; the rows of the published benchmark have that name."""
    rows = [make_row(arm, 0, "1101", choose=arm.partition("+")[0], channels=0) for arm in ("patches", "patches_dct")]
    rows += [make_row("patches+wide", 0, "1101", choose="patches", channels=0, label="wide")]
    write_rows(tmp_path / "rows.csv", rows)
    assert [(row.name, row.choose) for row in read_rows(tmp_path / "rows.csv")] == [
        ("patchify-s0", "patchify"), ("patchify_dct-s0", "patchify_dct"), ("patchify+wide-s0", "patchify"),
    ]  # fmt: skip
    assert current_name("patches-s0") == "patchify-s0"
    assert [current_name(name) for name in ("square-24", "dispatches", "patchesx")] == [
        "square-24", "dispatches", "patchesx",
    ]  # fmt: skip


def test_the_published_rows_are_read():
    published = sorted((Path(__file__).parents[2] / "docs" / "benchmark").glob("*/rows.csv"))
    assert published
    for path in published:
        assert "rgb_matched" in {row.arm for row in read_rows(path)}
