"""Files, classes and fingerprints of photographs and of a packed store."""

import hashlib
import json
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from dctnet.data.folders import Files
from dctnet.data.packed.writer import pack
from dctnet.data.sources import PhotoSource, StoreSource, _fingerprint
from dctnet.errors import UserError
from tests.data.packed.conftest import make_version_1, reseal
from tests.data.test_splits import ODD_NAMES


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
        assert tuple(files.targets) == photographs.files(split).targets
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
        f"{printed}/val: no val image of 1 of the 3 classes: 'red'; figures are over the other 2",
    ]


def test_a_class_without_images_is_refused_in_training_and_named_in_validation(own_photos):
    for path in (own_photos / "val" / "red").iterdir():
        path.unlink()
    warnings: list[str] = []
    source = PhotoSource(own_photos, warn=warnings.append)
    assert (len(source.files("train")), len(source.files("val"))) == (18, 6)
    assert warnings == [f"{own_photos}/val: no val image of 1 of the 3 classes: 'red'; figures are over the other 2"]
    (own_photos / "train" / "violet" / "deep").mkdir(parents=True)
    with pytest.raises(UserError, match="train: no train image of 1 of the 4 classes: 'violet'; remove empty folders"):
        PhotoSource(own_photos).files("train")
    assert len(PhotoSource(own_photos, classes=["red", "blue"]).files("train")) == 12


def test_a_class_that_is_held_out_altogether_is_refused_or_named(tmp_path):
    (tmp_path / "pair").mkdir()
    (tmp_path / "pair" / "0.jpg").touch()
    (tmp_path / "pair" / "1.jpg").touch()
    (tmp_path / "single").mkdir()
    (tmp_path / "single" / "0.jpg").touch()
    warnings: list[str] = []
    PhotoSource(tmp_path, val_fraction=1e-6, warn=warnings.append).files("val")
    assert "no val image of 1 of the 2 classes: 'single'" in warnings[0]
    with pytest.raises(UserError, match="no train image of 1 of the 2 classes: 'single'"):
        PhotoSource(tmp_path, val_fraction=1 - 1e-6).files("train")


def test_packing_refuses_a_class_of_which_no_image_can_be_read(own_photos, tmp_path):
    for path in (own_photos / "train" / "red").iterdir():
        path.write_bytes(b"no image")
    options = {"channels": "dc", "image_size": 32, "decoder": "pillow", "workers": 1, "on_error": "skip"}
    with pytest.raises(UserError, match="train: no train image of 1 of the 3 classes: 'red'"):
        pack(str(own_photos), str(tmp_path / "store"), **options)


def test_a_file_in_two_classes_by_a_link_is_refused(own_photos):
    (own_photos / "train" / "red" / "x.jpg").symlink_to("../blue/0.jpg")
    with pytest.raises(UserError, match=r"blue/0.jpg and .*red/x.jpg are one file in two classes"):
        PhotoSource(own_photos).files("train")
    (own_photos / "train" / "red" / "x.jpg").unlink()
    (own_photos / "train" / "violet").symlink_to("red")
    with pytest.raises(UserError, match="are one file in two classes"):
        PhotoSource(own_photos).files("train")


@pytest.mark.parametrize(("place", "target", "count"), [("red/x.jpg", "red/0.jpg", "1 of the 10"), (".", ".", "18 of")])
def test_files_in_two_splits_by_links_are_named(own_photos, place, target, count):
    if place == ".":
        shutil.rmtree(own_photos / "val")
    path = own_photos / "val" / place
    path.symlink_to(own_photos / "train" / target)
    warnings: list[str] = []
    source = PhotoSource(own_photos, warn=warnings.append)
    source.files("train"), source.files("val")
    assert [count in text and "files of val are also files of train" in text for text in warnings] == [True]


def test_every_reader_follows_links_and_counts_each_file_once(own_photos, tmp_path):
    shutil.move(own_photos / "train" / "red", tmp_path / "reds")
    (own_photos / "train" / "red").mkdir()
    (own_photos / "train" / "red" / "there").symlink_to(tmp_path / "reds")
    (own_photos / "train" / "red" / "again").symlink_to(tmp_path / "reds")
    (own_photos / "train" / "red" / "up").symlink_to("..")
    warnings: list[str] = []
    source = PhotoSource(own_photos, warn=warnings.append)
    names = [Path(path).relative_to(own_photos).as_posix() for path in source.files("train").paths]
    assert names[12:] == [f"train/red/again/{number}.jpg" for number in range(6)]
    assert "train/red/there leads to files that are counted already" in warnings[0]
    assert "and so is 1 other link" in warnings[0]
    with pytest.warns(UserWarning, match="counted already"):
        pack(str(own_photos), str(tmp_path / "store"), channels="dc", image_size=32, decoder="pillow", workers=1)
    assert list(StoreSource(tmp_path / "store").files("train").paths) == names
    assert len(PhotoSource(own_photos, warn=warnings.append).files("predict")) == 27
    command = [sys.executable, "-m", "dctnet.data.folders"]
    printed = subprocess.run(command, cwd=own_photos, capture_output=True, text=True, check=True).stdout
    assert [name.removeprefix("./") for name in printed.split("\0") if "train" in name] == names


@pytest.mark.parametrize(
    ("names", "fraction", "message"),
    [
        (("Train",), 0.1, "wanted train/ and val/, found Train; .* --data.root .*Train --data.val_fraction 0.1"),
        (("train_images", "val_images"), 0.1, "wanted train/ and val/, found train_images, val_images; rename them"),
        (("train", "Test"), 0.1, "wanted train/ and val/, found train"),
        (("ant", "bee"), 0.0, r"--data.val_fraction 0.1 takes its folders \(ant, bee\) for classes"),
    ],
)
def test_misnamed_splits_do_not_become_classes(tmp_path, names, fraction, message):
    for name in names:
        (tmp_path / name / "red").mkdir(parents=True)
        (tmp_path / name / "red" / "0.jpg").touch()
    with pytest.raises(UserError, match=message):
        PhotoSource(tmp_path, val_fraction=fraction, warn=lambda text: None).files("val")


def test_a_class_in_another_unicode_form_is_named_as_such(own_photos):
    for split, form in (("train", "NFC"), ("val", "NFD")):
        (own_photos / split / "red").rename(own_photos / split / unicodedata.normalize(form, "Möwe"))
    with pytest.raises(UserError, match="val: class .* There is one with the same letters in another Unicode form"):
        PhotoSource(own_photos).files("val")


def test_a_run_cannot_be_written_into_a_class_folder_or_store(own_photos, store, tmp_path):
    source = PhotoSource(own_photos)
    (tmp_path / "link").symlink_to(own_photos / "train" / "red")
    for path in (own_photos / "train" / "red", own_photos / "val" / "red" / "a" / "b", tmp_path / "link" / "run"):
        with pytest.raises(UserError, match=r"--out_dir .* lies in the class folder .*red"):
            source.check_output(path, "--out_dir")
    for path in (own_photos, own_photos / "checkpoints", own_photos / "train" / "reds"):
        source.check_output(path, "--out_dir")
    with pytest.raises(UserError, match="lies in the packed store"):
        StoreSource(store).check_output(store / "run", "--out_dir")


def test_prediction_lists_a_file_or_all_below_a_folder(photos, store, tmp_path):
    path = next((photos / "val" / "red").iterdir())
    assert PhotoSource(path).files("predict").paths == (str(path),)
    files = PhotoSource(photos).files("predict")
    assert (len(files), set(files.targets)) == (51, {-1})
    with pytest.raises(UserError, match="no such folder"):
        PhotoSource(tmp_path / "none").files("predict")
    with pytest.raises(UserError, match="no file in it that could be an image"):
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


def test_fingerprint_is_the_hash_of_class_folder_file_name_and_target():
    """That of earlier versions, so that their checkpoints can be resumed."""
    paths = [f"/photos/{name}/{i}" for name in ("cat", "dog") for i in ODD_NAMES]
    files = Files(tuple(paths), tuple([0] * len(ODD_NAMES) + [1] * len(ODD_NAMES)))
    digest = hashlib.sha256(json.dumps(["cat", "dog"]).encode())
    for path, target in zip(files.paths, files.targets, strict=True):
        digest.update(json.dumps(["/".join(Path(path).parts[-2:]), target]).encode())
    digest.update(b"extra")
    found = _fingerprint(files, ["cat", "dog"], b"extra")
    assert found == {"images": 2 * len(ODD_NAMES), "sha256": digest.hexdigest()}


def test_fingerprint_of_a_store_includes_its_manifest(photos, store):
    one, other = PhotoSource(photos).fingerprint(), StoreSource(store).fingerprint()
    for split in ("train", "val"):
        assert one[split]["images"] == other[split]["images"]
        assert one[split]["sha256"] != other[split]["sha256"]


def test_fingerprint_of_a_store_of_version_1_is_that_of_earlier_versions(store, tmp_path):
    former = make_version_1(Path(shutil.copytree(store, tmp_path / "former")))
    source, checksum = StoreSource(former), json.loads((former / "manifest.json").read_text())["sha256"]
    for split in ("train", "val"):
        files = source.files(split)
        expected = _fingerprint(Files(tuple(files.paths), tuple(files.targets)), source.class_names, checksum.encode())
        assert source.fingerprint([split]) == {split: expected}


def test_fingerprint_of_a_store_depends_on_split_classes_and_manifest(store, tmp_path):
    def hashes(source):
        return {split: each["sha256"] for split, each in source.fingerprint().items()}

    source, own_store = StoreSource(store), Path(shutil.copytree(store, tmp_path / "own"))
    before = hashes(source)
    assert before == hashes(StoreSource(own_store))
    assert before["train"] != before["val"]
    source.class_names = ["red", "green", "blue"]
    assert all(hashes(source)[split] != before[split] for split in before)
    reseal(own_store, lambda content: content["splits"]["train"].update(skipped=[["a", "b"]]))
    assert all(hashes(StoreSource(own_store))[split] != before[split] for split in before)


def test_a_folder_that_is_created_while_the_data_are_listed_is_no_class(own_photos):
    root = own_photos / "train"
    source = PhotoSource(root, val_fraction=0.25)
    source.files("train")
    (root / "logs").mkdir()
    (root / "logs" / "0.jpg").write_bytes(b"")
    assert len(source.files("val").paths) == len(
        PhotoSource(root, classes=source.class_names, val_fraction=0.25).files("val").paths
    )
    assert source.class_names == ["blue", "green", "red"]


def test_a_root_one_level_too_high_is_named(tmp_path):
    for split in ("train", "val"):
        for name in ("a", "b"):
            (tmp_path / "data" / split / name).mkdir(parents=True)
    with pytest.raises(UserError, match="neither train/ nor val/ in it; they are in .*data"):
        PhotoSource(tmp_path).class_names  # noqa: B018
