"""Split folders, held-out validation files, and the cap per class."""

import hashlib
from pathlib import Path

import pytest

from dctnet.data.folders import Files, class_folders, list_classes
from dctnet.data.splits import cap_per_class, hold_out, look_like_splits, split_folder
from dctnet.errors import UserError


@pytest.fixture
def tree(tmp_path):
    for name, count in (("ant", 40), ("bee", 40), ("cat", 1)):
        (tmp_path / name).mkdir()
        for number in range(count):
            (tmp_path / name / f"{number}.jpg").touch()
    return tmp_path


def list_all(root: Path) -> Files:
    return list_classes(root, class_folders(root))


def test_validation_is_another_name_for_val(tmp_path):
    assert split_folder(tmp_path, "val") is None
    (tmp_path / "validation").mkdir()
    assert split_folder(tmp_path, "val") == tmp_path / "validation"


@pytest.mark.parametrize("train", ["train", "Train", "TRAIN", "training"])
@pytest.mark.parametrize("val", ["val", "Val", "valid", "VALID", "Validation"])
def test_other_names_are_splits_if_there_is_one_of_each(tmp_path, train, val):
    (tmp_path / train).mkdir()
    assert split_folder(tmp_path, "train") == (tmp_path / "train" if train == "train" else None)
    (tmp_path / val).mkdir()
    (tmp_path / "Test").mkdir()
    found = [split_folder(tmp_path, split) for split in ("train", "val", "test")]
    assert found == [tmp_path / train, tmp_path / val, tmp_path / "Test"]


def test_one_such_name_alone_is_a_class(tmp_path):
    for name in ("Train", "plane", "invalid", "valid"):
        (tmp_path / name).mkdir()
    (tmp_path / "Train").rename(tmp_path / "car")
    assert [split_folder(tmp_path, split) for split in ("train", "val", "test")] == [None] * 3


@pytest.mark.parametrize(
    ("names", "alike"),
    [
        (["Train"], True),
        (["train_images", "val_images"], True),
        (["TrainSet", "TestSet"], True),
        (["1 training", "2 validation", "3 testing"], True),
        (["steam train", "freight train"], False),
        (["valid", "invalid"], False),
        (["train", "tram"], False),
        (["cat"], False),
    ],
)
def test_folders_that_look_like_splits(names, alike):
    assert look_like_splits(names) == alike


def test_hold_out_divides_each_class(tree):
    files = list_all(tree)
    train, val = hold_out(files, tree, 0.25)
    assert sorted(train.paths + val.paths) == sorted(files.paths)
    for target in (0, 1):
        assert 3 <= val.targets.count(target) <= 18
    assert train.targets.count(2) == 1


def test_hold_out_does_not_move_files_when_others_are_added(tree):
    before = set(hold_out(list_all(tree), tree, 0.25)[1].paths)
    for number in range(40, 90):
        (tree / "ant" / f"{number}.jpg").touch()
    after = set(hold_out(list_all(tree), tree, 0.25)[1].paths)
    assert before < after


def test_hold_out_does_not_depend_on_the_path_of_the_root(tree, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("other") / "moved"
    names = {Path(p).relative_to(tree) for p in hold_out(list_all(tree), tree, 0.25)[1].paths}
    tree.rename(elsewhere)
    assert {Path(p).relative_to(elsewhere) for p in hold_out(list_all(elsewhere), elsewhere, 0.25)[1].paths} == names


def test_each_class_of_two_files_has_one_in_each_split(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(2):
            (tmp_path / name / f"{number}.jpg").touch()
    for fraction in (0.01, 0.99):
        train, val = hold_out(list_all(tmp_path), tmp_path, fraction)
        assert sorted(train.targets) == sorted(val.targets) == [0, 1]


ODD_NAMES = [
    "1.jpg",
    'a", "b.jpg',
    "back\\\\.jpg",
    "é.jpg",
    "\udcff.jpg",
    "new\nline.jpg",
    '"',
    "deep/2.jpg",
    "\U0001f600.png",
]


@pytest.mark.parametrize("root", ["/photos", "photos", ".", "/"])
def test_hash_ranks_are_those_of_the_relative_paths(root):
    def rank(path):
        relative = Path(path).relative_to(root).as_posix().encode("utf-8", "surrogateescape")
        return int.from_bytes(hashlib.sha256(relative).digest()[:8], "big") / 2**64

    paths = tuple(str(Path(root, f"class{i % 2}", name)) for i, name in enumerate(ODD_NAMES))
    files = Files(paths, tuple(i % 2 for i in range(len(paths))))
    held = set(hold_out(files, Path(root), 0.4)[1].paths)
    for target in (0, 1):
        own = sorted((path for path, of in zip(files.paths, files.targets, strict=True) if of == target), key=rank)
        count = min(max(sum(rank(path) < 0.4 for path in own), 1), len(own) - 1)
        assert held & {*own} == {*own[:count]}
        assert {*cap_per_class(files, Path(root), 2).paths} & {*own} == {*own[:2]}


def test_cap_keeps_at_most_so_many_files_of_each_class(tree):
    capped = cap_per_class(list_all(tree), tree, 5)
    assert [capped.targets.count(t) for t in range(3)] == [5, 5, 1]
    assert set(capped.paths) < set(cap_per_class(list_all(tree), tree, 6).paths)


@pytest.mark.parametrize("other", ["valid", "validation"])
def test_two_folders_for_one_split_are_refused(tmp_path, other):
    for name in ("train", "val", other):
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=r"(val and|and val).* can all be the folder of val"):
        split_folder(tmp_path, "val")
    assert split_folder(tmp_path, "train") == tmp_path / "train"
