"""Files, classes and fingerprints of photographs and of a packed store."""

import shutil

import pytest

from dctnet.data.packed.writer import pack
from dctnet.data.sources import PhotoSource, StoreSource
from dctnet.errors import UserError


@pytest.fixture(scope="module")
def store(photos, tmp_path_factory):
    """A packed store of ``photos``."""
    root = tmp_path_factory.mktemp("packed") / "store"
    pack(str(photos), str(root), channels="dc", image_size=32, decoder="pillow", workers=1)
    return root


def test_one_folder_of_classes_needs_a_fraction(photos):
    with pytest.raises(UserError, match="neither train/ nor val/ in it; --data.val_fraction 0.1"):
        PhotoSource(photos / "train").files("val")
    source = PhotoSource(photos / "train", val_fraction=0.25)
    train, val = (set(source.files(split).paths) for split in source.splits_present)
    assert len(train) + len(val) == 36
    assert not train & val


def test_photographs_and_their_store_have_the_same_classes_and_files(photos, store):
    photographs, packed = PhotoSource(photos), StoreSource(store)
    assert photographs.class_names == packed.class_names == ["blue", "green", "red"]
    assert photographs.splits_present == packed.splits_present == ["train", "val"]
    for split in ("train", "val"):
        files = packed.files(split)
        assert [str(photos / path) for path in files.paths] == list(photographs.files(split).paths)
        assert files.targets == photographs.files(split).targets
        assert photographs.left_out(split) == packed.left_out(split) == ()


def test_classes_of_a_trained_network_replace_those_of_the_source(photos, store):
    for source in (PhotoSource(photos, warn=lambda text: None), StoreSource(store)):
        source.class_names = ["red", "violet", "green", "blue"]
        assert source.files("val").targets.count(3) == 5
        assert source.files("val").targets.count(1) == 0
    for source in (PhotoSource(photos), StoreSource(store)):
        source.class_names = ["red", "green"]
        with pytest.raises(UserError, match="class 'blue' is not among the 2 of training"):
            source.files("val")


def test_missing_split_is_an_error(photos, store):
    with pytest.raises(UserError, match="no folder test/ in it"):
        PhotoSource(photos).files("test")
    with pytest.raises(UserError, match="no split 'test' in this store, it has train, val"):
        StoreSource(store).files("test")


def test_unknown_class_and_empty_split_are_errors(own_photos):
    (own_photos / "val" / "violet").mkdir()
    with pytest.raises(UserError, match="'violet' is not among the 3"):
        PhotoSource(own_photos).files("val")
    for path in (own_photos / "val" / "red").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="val: no image in any of the 1 class folders"):
        PhotoSource(own_photos, classes=["red"]).files("val")


def test_classes_by_name_and_cap_per_class(photos, tmp_path):
    listing = tmp_path / "two.txt"
    listing.write_text("red\nblue\n")
    source = PhotoSource(photos, classes=str(listing), per_class=5)
    assert source.class_names == ["red", "blue"]
    assert len(source.files("train")) == len(source.files("val")) == 10


def test_warnings_are_one_line_each_and_given_once(own_photos):
    root = own_photos.rename(own_photos.with_name("a\nforged\x1b[31m"))
    shutil.rmtree(root / "val" / "red")
    warnings: list[str] = []
    source = PhotoSource(root, val_fraction=0.2, warn=warnings.append)
    assert source.files("val") is source.files("val")
    printed = f"{own_photos.parent}/a\\nforged\\x1b[31m"
    assert warnings == [
        f"{printed} has split folders: --data.val_fraction 0.2 is not used",
        f"{printed}/val: no folder for 1 of the 3 classes, such as 'red'",
    ]


def test_prediction_lists_a_file_or_all_below_a_folder(photos, store, tmp_path):
    path = next((photos / "val" / "red").iterdir())
    assert PhotoSource(path).files("predict").paths == (str(path),)
    files = PhotoSource(photos).files("predict")
    assert (len(files), set(files.targets)) == (51, {-1})
    with pytest.raises(UserError, match="no such folder"):
        PhotoSource(tmp_path / "none").files("predict")
    with pytest.raises(UserError, match="no file in it"):
        PhotoSource(tmp_path).files("predict")
    with pytest.raises(UserError, match="dctnet predict reads photographs, dctnet validate a store"):
        StoreSource(store).files("predict")


def test_fingerprint_depends_on_names_and_classes_and_not_on_the_place(own_photos, tmp_path):
    before = PhotoSource(own_photos).fingerprint()
    moved = own_photos.rename(tmp_path / "moved")
    assert PhotoSource(moved).fingerprint() == before
    # Checkpoints hold these values: they must not change between versions.
    assert before["train"] == {
        "images": 18,
        "sha256": "3cac325c2895ca7e62b71d210114b80bdf04fa8521c963525453e7089112aaa3",
    }
    source = PhotoSource(moved)
    source.class_names = ["red", "green", "blue"]
    assert source.fingerprint(["val"])["val"]["sha256"] != before["val"]["sha256"]
    (moved / "val" / "red" / "0.jpg").rename(moved / "val" / "red" / "9.jpg")
    after = PhotoSource(moved).fingerprint()
    assert after["train"] == before["train"]
    assert after["val"] != before["val"]


def test_fingerprint_of_a_store_includes_its_manifest(photos, store):
    one, other = PhotoSource(photos).fingerprint(), StoreSource(store).fingerprint()
    for split in ("train", "val"):
        assert one[split]["images"] == other[split]["images"]
        assert one[split]["sha256"] != other[split]["sha256"]
