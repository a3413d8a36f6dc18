import csv
import dataclasses
import os

import pytest

from dctnet.errors import UserError
from dctnet.studies.rows import FIELDS, read_rows, write_rows
from tests.simulated_rows import make_arm, make_row

NAMES = [f.name for f in FIELDS]


@pytest.fixture
def table(tmp_path):
    """Two runs of one arm and one of another, written."""
    path = tmp_path / "rows.csv"
    other = make_row("rgb_matched", 0, "11111", choose="rgb_matched", channels=0)
    rows = [*make_arm("learned-24", ["1101-", "0101-"]), other]
    write_rows(path, rows)
    return path


def spoil(path, line: int, column: str, text: str):
    """Changes one cell; lines count from 1, the header."""
    with open(path, newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    lines[line - 1][NAMES.index(column)] = text
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)


def refusal(path) -> str:
    """What is said of a table: one line that begins with the path."""
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


def test_rows_come_back_as_they_were_written(tmp_path):
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


def test_correctness_of_a_large_set_fits_one_field(tmp_path):
    write_rows(tmp_path / "rows.csv", [make_row("a", 0, "10" * 100_000)])
    assert len(read_rows(tmp_path / "rows.csv")[0].correct) == 200_000


def test_no_file_is_no_rows(tmp_path):
    assert read_rows(tmp_path / "rows.csv") == []


def test_a_header_alone_is_no_rows(tmp_path):
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
        ("top1", "0.9", "top1 0.9 and top5"),
        ("top1", "75", "do not fit the column correct, which has 3 right of 4"),
        ("top5", "0.2", "do not fit the column correct"),
        ("top5", "1.2", "do not fit the column correct"),
        ("images", "5", "images 5, top1 0.75"),
        ("correct", "11x1-", "correct must be of 0, 1 and -, got '11x1-'"),
        ("correct", "1101", "correct"),
        ("correct", "-----", "do not fit the column correct, which has 0 right of 0"),
        ("correct", "", "do not fit the column correct"),
        ("indices", "0 1 2", "indices must be as many whole numbers, one space between, as channels says, 24"),
        ("indices", " ".join(["1"] * 23 + ["x"]), "indices must be"),
    ],
)
def test_a_damaged_cell_is_named(table, column, text, said):
    spoil(table, 2, column, text)
    message = refusal(table)
    assert said in message
    # A row too short for the others is told where the others begin.
    assert f"{table}, line {3 if (column, text) == ('correct', '1101') else 2}: " in message


def test_rows_of_other_images_are_named(table):
    spoil(table, 4, "correct", "1111")
    spoil(table, 4, "images", "4")
    assert refusal(table) == (
        f"{table}, line 4: correct has 4 characters, line 2 has 5: rows of different evaluation images"
    )


def test_a_run_twice_is_named(table):
    spoil(table, 3, "seed", "0")
    assert refusal(table) == f"{table}, line 3: run 'learned-24-s0' is there twice"


@pytest.mark.parametrize(("column", "text"), [("choose", "energy"), ("draw", "1"), ("label", "wide")])
def test_seeds_of_an_arm_that_are_not_of_one_kind_are_named(table, column, text):
    spoil(table, 3, column, text)
    assert f"{table}, line 3: {column} must be " in refusal(table)


def test_a_hostile_name_stays_on_one_line(table):
    for line in (2, 3):
        spoil(table, line, "arm", "a\nb")
    spoil(table, 3, "seed", "0")
    assert "run 'a\\nb-s0' is there twice" in refusal(table)


def test_lines_are_counted_as_an_editor_does(table):
    spoil(table, 2, "device", "one\ntwo\nthree")
    spoil(table, 3, "gmac", "?")
    assert f"{table}, line 5: gmac" in refusal(table)


def test_a_cut_line_is_named(table):
    text = table.read_text()
    table.write_text(text[: text.rindex("rgb_matched,") + 30])
    assert "line 4: " in refusal(table)
    assert refusal(table).endswith(f"columns, wanted {len(FIELDS)}")


def test_a_column_more_is_named(table):
    table.write_text(table.read_text().replace("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z,more", 1))
    assert refusal(table) == f"{table}, line 2: {len(FIELDS) + 1} columns, wanted {len(FIELDS)}"


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("arm,", "", "line 1: column 1 must be 'arm', got 'choose'"),
        ("device,finished", "device,ended", "line 1: column 24 must be 'finished', got 'ended'"),
        (",finished", "", "line 1: column 24 must be 'finished', is missing"),
        (",finished", ",finished,more", "line 1: column 25 must not be there, got 'more'"),
        ("arm,", "\ufeffarm,", "line 1: column 1 must be 'arm', got '\\ufeffarm'"),
    ],
)
def test_another_header_is_named_by_its_first_column_that_differs(table, was, becomes, said):
    table.write_text(table.read_text().replace(was, becomes, 1))
    assert said in refusal(table)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\x00\x01", b"\x00" * 100, b'arm,"never closed\n'])
def test_what_is_no_table_is_one_line(table, content):
    table.write_bytes(content)
    refusal(table)


def test_a_folder_in_its_place_is_one_line(tmp_path):
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
