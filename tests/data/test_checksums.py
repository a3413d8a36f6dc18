"""What happens to a data set after its checksums were written is found and named, file by file."""

import hashlib
import os
import random
import shutil
import subprocess

import pytest

from dctnet.cli import main
from dctnet.data import checksums
from dctnet.data.checksums import dump_sums, manifest, read_sums, verify
from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.folders import CHECKSUMS, list_files
from dctnet.errors import UserError

ODD_NAMES = [b"a\nb.jpg", b"a\rb.jpg", b"back\\slash.jpg", b"\\n.jpg", b"bytes\xff\xfe.jpg", b" # x.jpg", b"*star.jpg"]
needs_sha256sum = pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not found")


def flip_bit(path, draw):
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


@pytest.fixture
def set_of_files(own_photos):
    """Small photographs with their manifest."""
    manifest(str(own_photos))
    return own_photos


def faults(root, capsys, **options):
    """Lines that name a file, and the closing one."""
    capsys.readouterr()
    with pytest.raises(UserError) as caught:
        verify(str(root), **options)
    assert "\n" not in str(caught.value)
    return capsys.readouterr().out.splitlines(), str(caught.value)


def test_untouched_set_passes(set_of_files, capsys):
    verify(str(set_of_files))
    assert "every byte of 27 files" in capsys.readouterr().out


@needs_sha256sum
def test_sha256sum_understands_ours_and_we_understand_its(own_photos, tmp_path):
    for name in ODD_NAMES:
        (own_photos / "train" / "red" / os.fsdecode(name)).write_bytes(name)
    manifest(str(own_photos))
    check = ["sha256sum", "--check", "--strict", "--quiet", CHECKSUMS]
    assert subprocess.run(check, cwd=own_photos, capture_output=True).returncode == 0
    files = [os.path.relpath(path, own_photos) for path in list_files(own_photos)]
    theirs = subprocess.run(["sha256sum", "--binary", *files], cwd=own_photos, capture_output=True, check=True).stdout
    (tmp_path / "theirs").write_bytes(theirs)
    assert read_sums(tmp_path / "theirs") == read_sums(own_photos / CHECKSUMS)
    verify(str(own_photos), str(tmp_path / "theirs"))


@pytest.mark.parametrize("seed", range(3))
def test_one_flipped_bit_in_every_file_is_found_in_every_file(set_of_files, capsys, monkeypatch, seed):
    monkeypatch.setattr(checksums, "_NAMED", 1000)
    draw = random.Random(seed)
    for path in list_files(set_of_files):
        flip_bit(set_of_files / path, draw)
    lines, closing = faults(set_of_files, capsys)
    assert sorted(lines) == [f"changed: {os.path.relpath(p, set_of_files)}" for p in list_files(set_of_files)]
    assert "27 changed; " in closing


def test_of_many_faults_the_first_are_named_and_all_are_counted(set_of_files, capsys):
    for path in list_files(set_of_files):
        os.truncate(path, 10)
    lines, closing = faults(set_of_files, capsys)
    assert len(lines) == 21
    assert lines[-1] == "… and 7 more changed"
    assert "27 changed; " in closing


def test_swapped_renamed_deleted_and_added_files_are_named(set_of_files, capsys):
    train = set_of_files / "train"
    first, second = train / "blue" / "0.jpg", train / "red" / "0.jpg"
    contents = first.read_bytes(), second.read_bytes()
    second.write_bytes(contents[0])
    first.write_bytes(contents[1])
    (train / "green" / "1.jpg").rename(train / "green" / "one.jpg")
    (train / "green" / "2.jpg").unlink()
    shutil.copy(train / "green" / "3.jpg", train / "green" / "33.jpg")
    (train / "green" / "a\nb").touch()
    lines, closing = faults(set_of_files, capsys)
    assert lines == [
        *("changed: train/blue/0.jpg", "changed: train/red/0.jpg"),
        *("missing: train/green/1.jpg", "missing: train/green/2.jpg"),
        *("added: train/green/33.jpg", "added: train/green/a\\nb", "added: train/green/one.jpg"),
    ]
    assert closing.endswith(f"2 changed, 2 missing, 3 added; {set_of_files / CHECKSUMS} names 27 files")


def test_split_that_is_gone_is_named_file_by_file(set_of_files, capsys):
    shutil.rmtree(set_of_files / "val")
    (set_of_files / "val").touch()  # a path that leads through a file
    lines, _ = faults(set_of_files, capsys)
    assert [line for line in lines if "val/blue" in line] == [f"missing: val/blue/{n}.jpg" for n in range(3)]


def test_folder_s_name_writes_no_lines_of_its_own(own_photos, capsys):
    root = own_photos.rename(own_photos.with_name("a\ndctnet: forged\x1b[31m"))
    capsys.readouterr()
    for what in (manifest, verify):
        what(str(root))
        (line,) = capsys.readouterr().out.splitlines()
        assert "a\\ndctnet: forged\\x1b[31m" in line


def test_hidden_files_and_manifests_do_not_count(set_of_files):
    (set_of_files / ".cache").mkdir()
    for name in (".DS_Store", ".cache/x", "train/red/.x", f"train/red/{CHECKSUMS}"):
        (set_of_files / name).touch()
    verify(str(set_of_files))


def test_folders_behind_links_count_under_their_own_names(own_photos, tmp_path, capsys):
    (own_photos / "train" / "red").rename(tmp_path / "elsewhere")
    (own_photos / "train" / "red").symlink_to(tmp_path / "elsewhere")
    manifest(str(own_photos))
    (tmp_path / "elsewhere" / "3.jpg").write_bytes(b"")
    assert faults(own_photos, capsys)[0] == ["changed: train/red/3.jpg"]


def test_link_to_a_folder_that_holds_it_is_refused(own_photos):
    (own_photos / "train" / "red" / "up").symlink_to(own_photos)
    with pytest.raises(UserError, match="red/up: a link to .*, which holds it"):
        manifest(str(own_photos))


def test_pipe_in_place_of_a_manifest_is_refused_without_being_opened(own_photos, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe: cannot be read: .*no regular file"):
        verify(str(own_photos), str(tmp_path / "pipe"))


def test_unreadable_files_are_named_and_no_manifest_is_written(own_photos, capsys):
    (own_photos / "val" / "red" / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(own_photos / "val" / "red" / "pipe")
    with pytest.raises(UserError, match="2 of 29 files cannot be read, so .*SHA256SUMS is not written"):
        manifest(str(own_photos))
    assert not (own_photos / CHECKSUMS).exists()
    out = capsys.readouterr().out
    assert "unreadable: val/red/gone.jpg: No such file or directory\n" in out
    assert "unreadable: val/red/pipe: no regular file\n" in out


def test_file_that_became_unreadable_is_named(set_of_files, capsys):
    path = set_of_files / "val" / "red" / "1.jpg"
    path.unlink()
    path.mkdir()
    assert faults(set_of_files, capsys)[0] == ["unreadable: val/red/1.jpg: no regular file"]


def test_folder_that_cannot_be_listed_is_told(own_photos, monkeypatch):
    real = os.scandir

    def scandir(path):
        if str(path).endswith("green"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    for read in (manifest, lambda root: FrequencyDataModule(root).files("train")):
        with pytest.raises(UserError, match="green: cannot be listed: PermissionError"):
            read(str(own_photos))


@pytest.mark.parametrize("seed", range(5))
def test_manifest_with_a_flipped_bit_is_refused_or_says_the_same(set_of_files, seed):
    path, draw = set_of_files / CHECKSUMS, random.Random(seed)
    whole, before = path.read_bytes(), read_sums(path)
    for _ in range(100):
        path.write_bytes(whole)
        flip_bit(path, draw)
        try:
            sound = read_sums(path) == before
        except UserError as error:
            sound = "damaged" in str(error) and "\n" not in str(error)
        assert sound


def test_manifest_cut_short_never_passes(set_of_files):
    path = set_of_files / CHECKSUMS
    whole = path.read_bytes()
    for keep in [*range(0, len(whole) - 100, 97), whole.rindex(b"#") - 66]:
        path.write_bytes(whole[:keep])
        with pytest.raises(UserError):
            verify(str(set_of_files))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged: it names no file"),
        (b"\xff\xfe\0\0", "damaged: line 1 is"),
        (b"0" * 63 + b"  a\n", "damaged: line 1 is"),
        (b"0" * 64 + b"  ../a\n", "line 1 names ../a, which is not below"),
        (b"0" * 64 + b"  /etc/passwd\n", "line 1 names /etc/passwd, which is not below"),
        (b"0" * 64 + b"  a\n" + b"1" * 64 + b" *./a\n", "line 2 names a a second time"),
        (b"\\" + b"0" * 64 + b"  ..\\n/../../a\n", "which is not below"),
    ],
)
def test_foreign_file_is_refused_in_one_line(own_photos, content, message):
    (own_photos / CHECKSUMS).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        verify(str(own_photos))
    assert "\n" not in str(caught.value)


def test_what_is_written_is_what_is_read(tmp_path):
    sums = {os.fsdecode(name): hashlib.sha256(name).hexdigest() for name in ODD_NAMES}
    (tmp_path / "sums").write_bytes(dump_sums(sums))
    assert read_sums(tmp_path / "sums") == sums


def test_manifest_that_is_there_is_not_replaced(set_of_files):
    before = (set_of_files / CHECKSUMS).read_bytes()
    (set_of_files / "val" / "red" / "0.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="is there already"):
        manifest(str(set_of_files))
    assert (set_of_files / CHECKSUMS).read_bytes() == before


def test_manifest_elsewhere(own_photos, tmp_path, capsys):
    out = tmp_path / "sums"
    with pytest.raises(UserError, match="would count as one of the files"):
        manifest(str(own_photos), str(own_photos / "val" / "sums"))
    manifest(str(own_photos), str(out))
    verify(str(own_photos), str(out))
    (own_photos / "val" / "red" / "0.jpg").unlink()
    assert faults(own_photos, capsys, manifest=str(out))[0] == ["missing: val/red/0.jpg"]
    with pytest.raises(UserError, match="cannot write there"):
        manifest(str(own_photos), str(tmp_path / "none" / "sums"))


def test_training_and_predicting_see_what_they_saw_before(own_photos):
    def seen():
        data = FrequencyDataModule(str(own_photos))
        return data.class_names, data.files("train"), data.files("val"), data.files("predict")

    before = seen()
    manifest(str(own_photos))
    manifest(str(own_photos / "train" / "red"))
    assert seen() == before


def test_verbs_end_with_status_2_and_one_closing_line(own_photos, capsys):
    assert main(["verify", str(own_photos)]) == 2
    assert "dctnet manifest" in capsys.readouterr().err
    assert main(["manifest", str(own_photos)]) == 0
    assert main(["verify", str(own_photos)]) == 0
    (own_photos / "val" / "red" / "0.jpg").unlink()
    capsys.readouterr()
    assert main(["verify", str(own_photos)]) == 2
    said = capsys.readouterr()
    assert said.out == "missing: val/red/0.jpg\n"
    assert [line for line in said.err.splitlines() if line.startswith("dctnet: ")] == [
        f"dctnet: {own_photos}: 1 missing; {own_photos / CHECKSUMS} names 27 files"
    ]


def test_folder_that_is_not_there_or_empty(tmp_path):
    (tmp_path / "empty").mkdir()
    for what in (manifest, verify):
        with pytest.raises(UserError, match="emty: no such folder. Did you mean .*empty"):
            what(str(tmp_path / "emty"))
    with pytest.raises(UserError, match="no file in it"):
        manifest(str(tmp_path / "empty"))


def test_store_has_checksums_of_its_own(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="a packed store, whose checksums manifest.json has"):
        manifest(str(tmp_path))
