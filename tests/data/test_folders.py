"""Listing files in class folders, and choosing classes."""

import os
from pathlib import Path

import pytest

from dctnet.data import folders
from dctnet.errors import UserError


@pytest.fixture
def tree(tmp_path):
    for name, count in (("ant", 40), ("bee", 40), ("cat", 1)):
        (tmp_path / name).mkdir()
        for number in range(count):
            (tmp_path / name / f"{number}.jpg").touch()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "ant" / ".DS_Store").touch()
    return tmp_path


def test_classes_are_sorted_and_hidden_names_do_not_count(tree):
    assert folders.class_folders(tree) == ["ant", "bee", "cat"]
    files = folders.list_classes(tree, folders.class_folders(tree))
    assert len(files) == 81
    assert files.targets == (0,) * 40 + (1,) * 40 + (2,)


def test_files_in_deeper_folders_belong_to_the_class(tree):
    (tree / "ant" / "deep" / "er").mkdir(parents=True)
    (tree / "ant" / "deep" / "er" / "x.png").touch()
    assert len(folders.list_files(tree / "ant")) == 41


def test_checksum_file_is_not_an_image_and_links_to_folders_are_not_followed(tree):
    (tree / "ant" / folders.CHECKSUMS).touch()
    (tree / "ant" / "bees").symlink_to(tree / "bee")
    (tree / "ant" / "link.jpg").symlink_to(tree / "bee" / "0.jpg")
    assert len(folders.list_files(tree / "ant")) == 41


def test_folder_that_cannot_be_listed_is_an_error(tree, monkeypatch):
    scandir = os.scandir

    def fail(path):
        if str(path).endswith("ant"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", fail)
    with pytest.raises(UserError, match="ant: cannot be listed: PermissionError"):
        folders.list_files(tree)
    assert folders.list_files(tree / "none") == []


def test_class_list_from_a_file_keeps_its_order(tree):
    listing = tree / "list.txt"
    listing.write_text("cat\nant\n\n")
    assert folders.choose_classes(["ant", "bee", "cat"], str(listing), tree) == ["cat", "ant"]


@pytest.mark.parametrize(("name", "count"), [("imagenette", 10), ("imagewoof", 10), ("imagenet100", 100)])
def test_imagenet_subsets_are_there(name, count):
    wnids = folders._read_class_list(name)
    assert len(set(wnids)) == count
    assert all(len(w) == 9 and w[0] == "n" and w[1:].isdigit() for w in wnids)
    assert folders.choose_classes([*wnids, "n99999999"], name, Path("x")) == wnids


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("imagenete", "Did you mean 'imagenette'"),
        (["ants"], "no class folder 'ants'.*Did you mean 'ant'"),
        ("imagenette", "10 of 10 missing"),
    ],
)
def test_error_names_the_nearest_class_or_list(tree, wanted, message):
    with pytest.raises(UserError, match=message):
        folders.choose_classes(folders.class_folders(tree), wanted, tree)


def test_missing_or_empty_folder_is_an_error(tree):
    with pytest.raises(UserError, match=f"Did you mean {tree / 'ant'}"):
        folders.class_folders(tree / "antt")
    with pytest.raises(UserError, match="ant: no class folder in it"):
        folders.class_folders(tree / "ant")


def test_class_list_must_have_distinct_names(tree):
    for content in ("", "ant\nant\n"):
        (tree / "list.txt").write_text(content)
        with pytest.raises(UserError, match="wanted distinct class names, one per line"):
            folders.choose_classes(["ant"], str(tree / "list.txt"), tree)
