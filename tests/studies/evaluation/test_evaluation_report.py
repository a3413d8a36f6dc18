"""The folder of an evaluation: tables, figures, pictures and the page."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.ignored import is_own_folder
from dctnet.data.packed.writer import pack
from dctnet.studies.evaluation.figures import MOST_CLASSES, plot_confusion, shown_classes
from dctnet.studies.evaluation.pictures import worst_mistakes
from dctnet.studies.evaluation.report import write_evaluation
from tests.commands import read_csv
from tests.html_page import Page
from tests.studies.evaluation.planted_answers import make_evaluation, random_evaluation


def data_of(photos, **options):
    return FrequencyDataModule(str(photos), image_size=32, crop_fraction=1.0, num_workers=0, **options)


def of_photos(data, wrong, **options):
    """An evaluation of the validation images, of which some are taken for the next class with rising certainty."""
    files = data.files("val")
    target = np.array(files.targets)
    logits = 3.0 * np.eye(3)[target]
    for place, image in enumerate(wrong):
        logits[image] = (4.0 + place) * np.eye(3)[(target[image] + 1) % 3]
    return make_evaluation(logits, target, data.class_names, paths=list(files.paths), **options)


@pytest.fixture(scope="module")
def written(photos, tmp_path_factory):
    """Folder, evaluation and page, with markup in the name of a class."""
    folder, data = tmp_path_factory.mktemp("out") / "evaluation", data_of(photos, channels="square-24")
    evaluation = of_photos(data, [2, 7], skipped={"a.jpg": "no <b>JPEG</b>"}, unread=3)
    evaluation = dataclasses.replace(evaluation, classes=["<script>blue", "green", "red"])
    write_evaluation(folder, evaluation, data, list(range(15)))
    return folder, evaluation, Page((folder / "report.html").read_text())


def test_tables_have_every_image_and_class(written):
    folder, evaluation, _ = written
    images = read_csv(folder / "images.csv")
    assert [row["path"] for row in images[:2]] == [evaluation.paths[7], evaluation.paths[2]]
    assert sorted(row["path"] for row in images) == sorted(evaluation.paths)
    assert (images[0]["class"], images[0]["predicted"], images[0]["rank"]) == ("green", "red", "1")
    chances = [float(row["class_probability"]) for row in images]
    assert chances == sorted(chances)
    with open(folder / "confusion.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["class", *evaluation.classes]
    assert [[int(each) for each in row[1:]] for row in rows[1:]] == [[4, 1, 0], [0, 4, 1], [0, 0, 5]]
    classes = read_csv(folder / "classes.csv")
    assert [row["accuracy"] for row in classes] == ["0.8", "0.8", "1"]
    assert [row["confused_with"] for row in classes] == ["green", "red", ""]


def test_the_record_is_one_of_dctnet_and_the_folder_is_never_read_as_photographs(written):
    folder, evaluation, _ = written
    content = json.loads((folder / "evaluation.json").read_text())
    assert (content["format"], content["version"], content["split"]) == ("dctnet-evaluation", 1, "val")
    assert (content["images"], content["skipped"], content["unread"]) == (15, 1, 3)
    assert content["top1"] == pytest.approx(13 / 15)
    assert content["calibration_error"] == pytest.approx(evaluation.calibration_error)
    assert is_own_folder(str(folder))


def test_the_page_is_self_contained_and_escapes_names(written):
    folder, _, page = written
    assert [tag for tag, _ in page.tags].count("script") == 1  # that of the page
    assert "<script>blue" in page.text
    assert "no <b>JPEG</b>" in page.text
    assert [tag for tag, _ in page.tags].count("svg") == 3
    pictures = [attrs for tag, attrs in page.tags if tag == "img"]
    assert len(pictures) == 2
    assert all(each["src"].startswith("data:image/jpeg;base64,") for each in pictures)
    assert not [attrs for tag, attrs in page.tags if attrs.get("href", "#")[0] not in "#d" or tag == "object"]
    assert page.row("red")[1:3] == ["5", "100.0"]
    assert "2 wrong images" in page.text
    for name in ("classes", "confusion", "reliability", "worst"):
        assert (folder / "figures" / f"{name}.png").stat().st_size
        assert read_csv(folder / "figures" / f"{name}.csv")


def test_without_mistakes_there_is_no_picture(photos, tmp_path):
    data = data_of(photos, channels="square-24")
    write_evaluation(tmp_path / "out", of_photos(data, []), data, list(range(15)))
    page = Page((tmp_path / "out/report.html").read_text())
    assert "No image is classified wrong." in page.text
    assert "img" not in {tag for tag, _ in page.tags}
    assert not (tmp_path / "out/figures/worst.png").exists()


def test_names_that_are_not_utf_8_are_kept_in_the_tables(photos, tmp_path):
    data = data_of(photos, channels="square-24")
    evaluation = of_photos(data, [2])
    evaluation.paths[2] = "photos/\udcff.jpg"
    write_evaluation(tmp_path / "out", evaluation, data, list(range(15)))
    assert (tmp_path / "out/images.csv").read_bytes().splitlines()[1].startswith(b"photos/\xff.jpg,blue,green,")


@pytest.mark.parametrize("kind", ["channels", "rgb", "store"])
def test_pictures_are_the_crops_of_the_images(photos, tmp_path, kind):
    root, options = photos, {"input": "rgb"} if kind == "rgb" else {"channels": "zigzag-10"}
    if kind == "store":
        pack(str(photos), str(tmp_path / "store"), image_size=32, crop_fraction=1.0, workers=1, **options)
        root, options = tmp_path / "store", {}
    data = data_of(root, **options)
    mistakes = worst_mistakes(of_photos(data, [12, 1]), data, list(range(15)))
    assert [each.path for each in mistakes] == [data.files("val").paths[place] for place in (1, 12)]
    assert [(each.name, each.predicted) for each in mistakes] == [("blue", "green"), ("red", "blue")]
    for each, colour in zip(mistakes, ((60, 90, 200), (200, 70, 60)), strict=True):
        assert np.abs(np.asarray(each.picture).mean((0, 1)) - colour).max() < 20


def test_a_picture_that_cannot_be_read_again_is_left_out(own_photos):
    data = data_of(own_photos, channels="square-24")
    evaluation = of_photos(data, [0])
    (own_photos / "val/blue/0.jpg").unlink()
    (mistake,) = worst_mistakes(evaluation, data, list(range(9)))
    assert mistake.picture is mistake.uri is None


def test_few_classes_are_all_in_the_picture_in_their_order():
    evaluation, _ = random_evaluation(200, MOST_CLASSES, 5)
    assert shown_classes(evaluation) == list(range(MOST_CLASSES))
    plot = plot_confusion(evaluation)
    assert [row[1:] for row in plot.numbers[1:]] == evaluation.matrix.tolist()


def test_of_many_classes_the_most_confused_are_in_the_picture_and_rows_are_whole():
    target = np.repeat(np.arange(1000), 3)
    logits = 3.0 * np.eye(1000)[target]
    logits[3 * 700 : 3 * 700 + 2] = np.eye(1000)[912]
    logits[3 * 30] = np.eye(1000)[5]
    evaluation = make_evaluation(logits, target, [f"class {number}" for number in range(1000)])
    assert shown_classes(evaluation) == [700, 912, 5, 30]
    header, *rows = plot_confusion(evaluation).numbers
    assert header == ["class", "class 700", "class 912", "class 5", "class 30", "all others"]
    assert rows[0] == ["class 700", 1, 2, 0, 0, 0]
    assert all(sum(row[1:]) == 3 for row in rows)
    crowded, _ = random_evaluation(3000, 100, 100)
    assert 2 <= len(shown_classes(crowded)) <= MOST_CLASSES
