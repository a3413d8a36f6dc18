"""A study's folder: units, resumption, and folders that do not fit."""

import json
import signal

import pytest

from dctnet.errors import Stopped, UserError
from dctnet.signals import SignalRecorder
from dctnet.studies.laboratory.study import Study

COLUMNS = ("name", "value")


class Counter:
    """Units that count how often they are measured, one of which raises a signal."""

    def __init__(self, stop_in: str = "") -> None:
        self.measured: list[str] = []
        self.stop_in = stop_in

    def units(self, *names: str):
        return {name: lambda name=name: self.measure(name) for name in names}

    def measure(self, name: str):
        self.measured.append(name)
        if name == self.stop_in:
            signal.raise_signal(signal.SIGTERM)
        return [{"name": name, "value": 0.1 + len(name)}, {"name": "other", "value": 7}]


def test_rows_are_read_back_as_they_were_measured(tmp_path):
    study = Study("tested", tmp_path / "out", COLUMNS, {"seed": 0})
    study.run(Counter().units("a", "b/c"))
    again = Study("tested", tmp_path / "out", COLUMNS, {"seed": 0})
    assert again.rows == study.rows
    assert again.of("b") == [row for row in study.rows if row["unit"] == "b/c"]
    assert not list((tmp_path / "out").glob(".rows*"))


def test_a_finished_unit_is_not_measured_again(tmp_path):
    counter = Counter()
    for names in (("a", "b"), ("a", "b", "c"), ("c", "a")):
        Study("tested", tmp_path / "out", COLUMNS, {}).run(counter.units(*names))
    assert counter.measured == ["a", "b", "c"]


def test_rows_with_other_random_numbers_are_shown_but_get_no_others(tmp_path):
    units = Counter().units("a", "b")
    Study("tested", tmp_path / "out", COLUMNS, {}).run(units)
    later = Study("tested", tmp_path / "out", COLUMNS, {}, streams=1)
    later.run(units)
    assert len(later.rows) == 4
    with pytest.raises(UserError, match="other random numbers, and 1 of 3 units are missing; give another --out"):
        later.run(Counter().units("a", "b", "c"))


def test_a_signal_stops_after_the_unit_and_the_rest_follows(tmp_path):
    first, second, straight = Counter(stop_in="b"), Counter(), Counter()
    with SignalRecorder() as signals:
        study = Study("tested", tmp_path / "out", COLUMNS, {}, signals=signals)
        with pytest.raises(Stopped, match=r"SIGTERM after 2 of 3 units; to resume, repeat the same command"):
            study.run(first.units("a", "b", "c"))
    resumed = Study("tested", tmp_path / "out", COLUMNS, {})
    resumed.run(second.units("a", "b", "c"))
    whole = Study("tested", tmp_path / "whole", COLUMNS, {})
    whole.run(straight.units("a", "b", "c"))
    assert (first.measured, second.measured) == (["a", "b"], ["c"])
    assert resumed.rows == whole.rows
    assert (tmp_path / "out" / "rows.csv").read_bytes() == (tmp_path / "whole" / "rows.csv").read_bytes()


def test_a_unit_that_fails_leaves_the_finished_ones(tmp_path):
    def broken():
        raise RuntimeError("out of memory")

    study = Study("tested", tmp_path / "out", COLUMNS, {})
    with pytest.raises(RuntimeError):
        study.run({**Counter().units("a"), "b": broken})
    assert [row["unit"] for row in Study("tested", tmp_path / "out", COLUMNS, {}).rows] == ["a", "a"]


def test_a_folder_belongs_to_its_options_and_files(tmp_path):
    given = tmp_path / "net.pt"
    given.write_bytes(b"one")
    Study("tested", tmp_path / "out", COLUMNS, {"seed": 0}, [given]).run(Counter().units("a"))
    content = json.loads((tmp_path / "out" / "study.json").read_text())
    assert content["versions"]["torch"]
    assert content["machine"]
    with pytest.raises(UserError, match=r"was made with seed 0, now 1; give another --out"):
        Study("tested", tmp_path / "out", COLUMNS, {"seed": 1}, [given])
    with pytest.raises(UserError, match=r"was made with study 'tested', now 'other'"):
        Study("other", tmp_path / "out", COLUMNS, {"seed": 0}, [given])
    given.write_bytes(b"two")
    with pytest.raises(UserError, match=r"was made with .*net.pt"):
        Study("tested", tmp_path / "out", COLUMNS, {"seed": 0}, [given])


def test_a_folder_without_a_measurement_takes_the_options_of_the_corrected_command(tmp_path):
    Study("tested", tmp_path / "out", COLUMNS, {"root": "nowhere"})
    Study("tested", tmp_path / "out", COLUMNS, {"root": "photos"}).run(Counter().units("a"))
    assert json.loads((tmp_path / "out" / "study.json").read_text())["options"] == {"root": "photos"}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("study.json", "{", "cannot be read"),
        ("study.json", "[]", "cannot be read"),
        ("rows.csv", "unit,name\n", "expected the columns unit, name, value"),
        ("rows.csv", "unit,name,value\na,b\n", "line 2: expected 3 columns"),
        ("rows.csv", "unit,name,value\na,b,1,2\n", "line 2: expected 3 columns"),
    ],
)
def test_damaged_files_are_named(tmp_path, file, content, message):
    Study("tested", tmp_path / "out", COLUMNS, {}).run(Counter().units("a"))
    (tmp_path / "out" / file).write_text(content)
    with pytest.raises(UserError, match=message):
        Study("tested", tmp_path / "out", COLUMNS, {})


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(UserError, match="a folder with other files"):
        Study("tested", tmp_path, COLUMNS, {})
    with pytest.raises(UserError, match="is a file"):
        Study("tested", tmp_path / "note.txt", COLUMNS, {})
