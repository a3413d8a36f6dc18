"""dctnet lab detectors: from the command line to the page, resumption, and bad input."""

import csv
import json
import shutil

import pytest
import torch

from dctnet.cli import main
from dctnet.cli.parsing import call
from dctnet.errors import Stopped
from dctnet.signals import SignalRecorder
from dctnet.studies.laboratory.detectors.command import DATA_OPTIONS, detectors
from dctnet.studies.laboratory.detectors.results import count_layers, read_units
from dctnet.studies.laboratory.study import ROWS, Study
from tests.studies.laboratory.planted_detectors import DETECTOR

pytest.importorskip("sklearn")
NET = "tests.studies.laboratory.planted_detectors:planted"


def arguments(out, photos, *more) -> list[str]:
    options = {
        "--out": out, "--data.root": photos, "--image_size": 64, "--layer": "relu3", "--wavelengths": "[4]",
        "--images": 9, "--steps": 2, "--show": 2,
    }  # fmt: skip
    return [NET, *(f"{key}={value}" for key, value in options.items()), *more]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, photos):
    """The folder of a study of the planted network."""
    out = tmp_path_factory.mktemp("detectors") / "out"
    assert main(["lab", "detectors", *arguments(out, photos)]) == 0
    return out


def rows_of(out) -> list[dict]:
    return Study("detectors", out, *_study_arguments(out)).rows


def _study_arguments(out):
    content = json.loads((out / "study.json").read_text())
    with open(out / ROWS, newline="") as file:
        columns = next(csv.reader(file))[1:]
    return columns, content["options"], list(content["inputs"])


def test_the_command_counts_the_planted_detectors(finished):
    rows = rows_of(finished)
    (count,) = count_layers(rows)
    assert (count.layer, count.judged, count.found) == ("relu3", len(DETECTOR), sum(DETECTOR))
    assert count.shuffled <= 1
    assert count.ratio1 == 0
    assert count.exceeding == sum(DETECTOR)  # neither texture alone excites them as much
    assert [bool(unit.passed) for unit in read_units(rows)] == DETECTOR


def test_the_command_finds_their_circuit_and_their_use(finished):
    page = (finished / "report.html").read_text()
    assert "8 of 23 units" in page
    assert "This is the pattern Invariant→Equivariant" in page
    rows = rows_of(finished)
    assert {row["text"] for row in rows if row["measure"] == "use"} == {"conv4"}
    inputs = [row for row in rows if row["measure"] == "factor_input"]  # by factor, strongest first
    strongest = {row["item"]: row["channel"] for row in reversed(inputs)}
    assert strongest == {0: 0, 1: 1}  # the planted fine and coarse bands
    assert "Strongest inputs of each factor" in page
    assert len([row for row in rows if row["measure"] == "example"]) == 2 * 9
    assert len(list((finished / "images").glob("*.png"))) == 2


@pytest.mark.slow
def test_a_study_that_was_stopped_goes_on_to_the_same_rows(finished, photos, tmp_path, monkeypatch):
    out = tmp_path / "out"
    stop = SignalRecorder()
    units = {line["unit"]: None for line in csv.DictReader(open(finished / ROWS, newline=""))}
    for keep in (1, len(units) - 1):  # in the screening, and in the closer look
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(finished, out)
        kept = list(units)[:keep]
        with open(finished / ROWS, newline="") as file:
            reader = csv.DictReader(file)
            rows = [row for row in reader if row["unit"] in kept]
        with open(out / ROWS, "w", newline="") as file:
            writer = csv.DictWriter(file, reader.fieldnames)
            writer.writeheader()
            writer.writerows(rows)
        calls = []

        def check(self, calls=calls):
            calls.append(self)
            if len(calls) == 2:
                stop.received = 15
            if stop.received:
                raise Stopped("stopped")

        monkeypatch.setattr(Study, "check_stop", check)
        with pytest.raises(Stopped):
            call(detectors, arguments(out, photos), DATA_OPTIONS, "lab", signals=stop)
        monkeypatch.undo()
        stop.received = None
        if keep > 1:
            call(detectors, arguments(out, photos), DATA_OPTIONS, "lab", signals=stop)
            assert (out / ROWS).read_bytes() == (finished / ROWS).read_bytes()


def test_a_finished_study_makes_the_same_page_again(finished, photos, capsys):
    before = (finished / "report.html").read_bytes()
    assert main(["lab", "detectors", *arguments(finished, photos)]) == 0
    assert (finished / "report.html").read_bytes() == before
    assert str(finished / "report.html") in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("small_backbones")
def test_several_networks_on_channels_are_compared(gated_run, photos, tmp_path):
    first = next((gated_run / "out").rglob("last.ckpt"))
    second = tmp_path / "other.ckpt"
    shutil.copy(first, second)
    options = ["--wavelengths=[4]", "--images=9", "--steps=1", "--show=1", f"--data.root={photos}"]
    assert main(["lab", "detectors", f"[{first}, {second}]", f"--out={tmp_path / 'out'}", *options]) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Each network is one training" in page


@pytest.mark.slow
@pytest.mark.usefixtures("small_backbones")
def test_networks_of_the_same_name_are_refused(gated_run, photos, tmp_path, capsys):
    checkpoint = next((gated_run / "out").rglob("last.ckpt"))
    copy = tmp_path / checkpoint.relative_to(gated_run)
    copy.parent.mkdir(parents=True)
    shutil.copy(checkpoint, copy)
    args = [f"[{checkpoint}, {copy}]", f"--out={tmp_path / 'study'}", f"--data.root={photos}"]
    assert main(["lab", "detectors", *args]) == 2
    assert "have the same name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--layer=relu33"], "--layer relu33: {net} has no such layer. Did you mean 'relu3'?"),
        (["--layer=pool"], "--layer pool: its units see the whole image"),
        (["--rank=15"], "--rank 15: conv3, in front of relu3, has 14 input units; the rank must be 1 … 14"),
        (["--units=[3, 23]"], "--units [3, 23]: relu3 has 23 units, from 0"),
        (["--wavelengths=[2]"], "--wavelengths must be different numbers of pixels, at least 3"),
        (["--show=0"], "--show must be at least 1, got 0"),
        (["--seed=-1"], "--seed must be at least 0, got -1"),
        (["--image_size=60"], "--image_size must be a multiple of 8, got 60"),
        (["--data.root=/nowhere"], "/nowhere: no such folder"),
    ],
)
def test_bad_input_is_one_line(photos, tmp_path, capsys, more, message):
    assert main(["lab", "detectors", *arguments(tmp_path / "out", photos, *more)]) == 2
    error = capsys.readouterr().err
    assert message.format(net=NET) in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["tests.studies.laboratory.planted_detectors:branching"], "its layers cannot be traced"),
        ([f"[{NET}, {NET}]"], "expected one network or several different ones"),
        (["runs/last.ckpt"], "runs/last.ckpt: no such checkpoint"),
        ([NET, "--units=[1]"], "--units are channels of one layer: give it as --layer"),
    ],
)
def test_networks_that_cannot_be_studied_are_one_line(tmp_path, capsys, args, message):
    assert main(["lab", "detectors", *args, f"--out={tmp_path / 'out'}", "--image_size=64"]) == 2
    assert message in capsys.readouterr().err


def test_weights_of_another_network_are_refused(tmp_path, capsys):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "weights.pth")
    args = [NET, f"--weights={tmp_path / 'weights.pth'}", f"--out={tmp_path / 'out'}", "--image_size=64"]
    assert main(["lab", "detectors", *args]) == 2
    assert "not the weights of" in capsys.readouterr().err
