"""Which files belong to which split and class."""

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


def everything(tree: Path) -> folders.Files:
    return folders.list_classes(tree, folders.class_folders(tree))


def test_classes_are_sorted_and_hidden_names_do_not_count(tree):
    assert folders.class_folders(tree) == ["ant", "bee", "cat"]
    files = everything(tree)
    assert len(files) == 81
    assert files.targets == (0,) * 40 + (1,) * 40 + (2,)


def test_files_in_deeper_folders_belong_to_the_class(tree):
    (tree / "ant" / "deep" / "er").mkdir(parents=True)
    (tree / "ant" / "deep" / "er" / "x.png").touch()
    assert len(folders.list_files(tree / "ant")) == 41


@pytest.mark.parametrize(
    ("links", "refused"),
    [
        ({"ant/x": "../bee", "bee/y": "../ant"}, r"(ant/x/y|bee/y/x): a link to .*, which holds it"),
        ({"ant/x": "../bee", "bee/y": "../cat", "cat/z": "../ant"}, "which holds it"),
        ({"ant/self": "."}, "ant/self: a link"),
        ({"ant/up": ".."}, "ant/up: a link"),
        ({"ant/x": "../bee", "bee/up": "../.."}, "ant/x/up: a link"),
        ({"ant/x": "../bee", "cat/y": "../bee"}, None),
        ({"ant/x": "../bee", "bee/y": "../cat"}, None),
    ],
)
def test_links_to_folders_are_followed_but_not_round_in_circles(tree, links, refused):
    for link, target in links.items():
        (tree / link).symlink_to(target)
    if refused is None:
        assert len(folders.list_files(tree, follow=True)) > len(folders.list_files(tree))
    else:
        with pytest.raises(UserError, match=refused):
            folders.list_files(tree, follow=True)


def test_class_list_from_a_file_keeps_its_order(tree):
    listing = tree / "list.txt"
    listing.write_text("cat\nant\n\n")
    assert folders.choose_classes(["ant", "bee", "cat"], str(listing), tree) == ["cat", "ant"]


@pytest.mark.parametrize(("name", "count"), [("imagenette", 10), ("imagewoof", 10), ("imagenet100", 100)])
def test_imagenet_subsets_are_there(name, count):
    from dctnet.data.folders import _read_class_list

    wnids = _read_class_list(name)
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
def test_what_is_missing_gets_the_nearest(tree, wanted, message):
    with pytest.raises(UserError, match=message):
        folders.choose_classes(folders.class_folders(tree), wanted, tree)


def test_folder_that_is_not_there_gets_its_nearest_sibling(tree):
    with pytest.raises(UserError, match=f"Did you mean {tree / 'ant'}"):
        folders.class_folders(tree / "antt")


def test_folder_without_folders_is_told(tree):
    with pytest.raises(UserError, match="no class folder"):
        folders.class_folders(tree / "ant")
