"""Listing files in class folders, and choosing classes."""

import os
import unicodedata
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


def test_checksum_file_is_not_an_image(tree):
    (tree / "ant" / "SHA256SUMS").touch()
    assert len(folders.list_files(tree / "ant")) == 40


def link(path, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def names(found):
    return {Path(path).name for path in found.paths}


@pytest.fixture
def outside(tmp_path_factory):
    """A folder outside the data set, with a file in it and one in a folder in it."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "inner").mkdir()
    (folder / "a.jpg").touch()
    (folder / "inner" / "b.jpg").touch()
    return folder


def test_links_to_folders_and_files_are_followed(tree, outside):
    link(tree / "cat" / "more", outside)
    link(tree / "cat" / "deep" / "c.jpg", tree / "bee" / "0.jpg")
    found = folders.list_tree(tree / "cat")
    assert [Path(path).relative_to(tree / "cat").as_posix() for path in found.paths] == [
        "0.jpg",
        "deep/c.jpg",
        "more/a.jpg",
        "more/inner/b.jpg",
    ]
    assert (found.linked, found.repeated) == (True, ())


@pytest.mark.parametrize("target", [".", "..", "/", "deep", "deep/up"])
def test_no_cycle_of_links_is_followed(tree, target):
    (tree / "cat" / "deep").mkdir()
    (tree / "cat" / "deep" / "x.jpg").touch()
    link(tree / "cat" / "deep" / "up", "..")
    link(tree / "cat" / "back", target)
    found = folders.list_tree(tree / "cat")
    assert found.paths == (str(tree / "cat" / "0.jpg"), str(tree / "cat" / "deep" / "x.jpg"))
    assert len(found.repeated) == 2


def test_folders_that_link_to_each_other_are_listed_once(tree, outside):
    link(outside / "inner" / "root", tree / "cat")
    link(outside / "inner" / "out", outside)
    link(tree / "cat" / "one", outside / "inner")
    link(tree / "cat" / "two", outside)
    found = folders.list_tree(tree / "cat")
    assert sorted(Path(path).name for path in found.paths) == ["0.jpg", "a.jpg", "b.jpg"]


def test_a_file_with_several_paths_is_listed_by_the_one_without_links(tree):
    file = tree / "cat" / "z.jpg"
    file.touch()
    link(tree / "cat" / "a.jpg", "z.jpg")
    link(tree / "cat" / "b.jpg", "a.jpg")
    link(tree / "cat" / "c" / "d.jpg", file)
    found = folders.list_tree(tree / "cat")
    assert found.paths == (str(tree / "cat" / "0.jpg"), str(file))
    assert [Path(path).name for path in found.repeated] == ["a.jpg", "b.jpg", "d.jpg"]


def test_a_hard_link_is_a_file_of_its_own(tree):
    os.link(tree / "cat" / "0.jpg", tree / "cat" / "1.jpg")
    assert names(folders.list_tree(tree / "cat")) == {"0.jpg", "1.jpg"}


def test_broken_links_are_listed_or_named(tree):
    for name in ("a", "b", "c"):
        link(tree / "cat" / f"{name}.jpg", "nowhere" if name < "c" else "c.jpg")
    assert names(folders.list_tree(tree / "cat")) == {"0.jpg", "a.jpg", "b.jpg", "c.jpg"}
    link(tree / "dog", "/nowhere/dogs")
    link(tree / "elk", "elk")
    assert folders.class_folders(tree)[-2:] == ["dog", "elk"]
    for name, target in (("dog", "/nowhere/dogs"), ("elk", "elk")):
        with pytest.raises(UserError, match=f"{name}: a broken link to {target}"):
            folders.list_tree(tree / name)


def test_real_paths_are_those_of_the_system(tree, outside):
    link(tree / "cat" / "more", outside)
    link(tree / "cat" / "a.jpg", "more/inner/../a.jpg")
    link(tree / "cat" / "b.jpg", "../ant/0.jpg")
    link(tree / "cat" / "c.jpg", "b.jpg")
    link(tree / "cat" / "d.jpg", "/nowhere")
    paths = [str(path) for path in sorted(tree.rglob("*"))] + [str(tree / "cat" / "more" / "a.jpg")]
    expected = [path if path.endswith("d.jpg") else os.path.realpath(path) for path in paths]
    assert list(folders.real_paths(paths)) == expected


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


def test_names_in_another_unicode_form_are_recognised(tree):
    composed, decomposed = (unicodedata.normalize(form, "Möwe") for form in ("NFC", "NFD"))
    (tree / decomposed).mkdir()
    with pytest.raises(UserError, match="There is one with the same letters in another Unicode form"):
        folders.choose_classes(folders.class_folders(tree), [composed], tree)
    with pytest.raises(UserError, match="There is one with the same letters in another Unicode form"):
        folders.class_folders(tree / composed)
    (tree / composed).mkdir()
    with pytest.raises(UserError, match="two class folders .* with the same letters in another Unicode form"):
        folders.class_folders(tree)


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
