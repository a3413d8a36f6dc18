"""Download of Imagenette with the checksum of torchvision, from a small archive on a local server."""

import functools
import hashlib
import http.server
import io
import tarfile
import threading

import pytest
from torchvision.datasets import Imagenette

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.download import fetch
from dctnet.errors import UserError
from tests.conftest import paint

WNIDS = ["n01440764", "n02102040", "n02979186", "n03000684", "n03028079",
         "n03394916", "n03417042", "n03425413", "n03445777", "n03888257"]  # fmt: skip


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """imagenette2.tgz with one image per class and split, served in place of the real one."""
    source = tmp_path / "source" / "imagenette2"
    for split in ("train", "val"):
        for wnid in WNIDS:
            folder = source / split / wnid
            folder.mkdir(parents=True)
            paint((90, 90, 90), (32, 32), 0).save(folder / f"{wnid}_1.JPEG")
    path = tmp_path / "imagenette2.tgz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(source, "imagenette2")
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/imagenette2.tgz"
    monkeypatch.setitem(Imagenette._ARCHIVES, "full", (url, md5))
    yield path
    server.shutdown()


def test_download_is_extracted_once(archive, tmp_path):
    root = tmp_path / "data"
    assert fetch("imagenette", root) == root / "imagenette2"
    assert sorted(p.name for p in root.rglob("*") if p.is_dir() and p.parent == root / "imagenette2") == [
        "train",
        "val",
    ]
    assert [p.name for p in root.iterdir()] == ["imagenette2"]
    archive.unlink()
    assert fetch("imagenette", root) == root / "imagenette2"
    data = FrequencyDataModule(str(root), download="imagenette", classes="imagenette", image_size=32)
    assert data.class_names == WNIDS
    assert len(data.files("train")) == len(data.files("val")) == 10


def test_failed_download_is_one_line_and_leaves_nothing(archive, tmp_path):
    archive.write_bytes(b"other bytes")
    with pytest.raises(UserError, match="could not be downloaded"):
        fetch("imagenette", tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def link(name, kind, target):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def file(name, content=b"x", size=None):
    member = tarfile.TarInfo(name)
    member.size = len(content) if size is None else size
    return member, content


def malicious_archives(outside):
    """Members of archives that write outside the folder or fill the disk, by name."""
    up = "../" * 12
    return {
        "parent": [file("../../../escaped")],
        "parent within": [file("imagenette2/../../../../escaped")],
        "absolute": [file(f"{outside}/escaped")],
        "link out": [link("imagenette2", tarfile.SYMTYPE, str(outside)), file("imagenette2/escaped")],
        "relative link out": [link("a", tarfile.SYMTYPE, f"{up}{outside}"), file("a/escaped")],
        "hard link out": [link("a", tarfile.LNKTYPE, f"{up}{outside}/other"), file("a", b"changed")],
        "link to a link": [link("b", tarfile.SYMTYPE, "a"), link("a", tarfile.SYMTYPE, ".."), file("b/../escaped")],
        "device": [link("zero", tarfile.CHRTYPE, "")],
        "pipe": [link("pipe", tarfile.FIFOTYPE, "")],
        "bomb": [file(f"{i}", bytes(10**6)) for i in range(60)],
        "many": [file(f"{i}", b"") for i in range(3000)],
    }


@pytest.mark.parametrize("kind", malicious_archives(""))
def test_archive_writes_nothing_outside_its_folder(archive, tmp_path, kind, monkeypatch):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "other").write_text("unchanged")
    with tarfile.open(archive, "w:gz") as tar:
        for member, content in malicious_archives(outside)[kind]:
            tar.addfile(member, io.BytesIO(content))
    url = Imagenette._ARCHIVES["full"][0]
    monkeypatch.setitem(Imagenette._ARCHIVES, "full", (url, hashlib.md5(archive.read_bytes()).hexdigest()))
    monkeypatch.setattr("dctnet.data.download._MAX_BYTES", 50 * 10**6)
    monkeypatch.setattr("dctnet.data.download._MAX_MEMBERS", 2000)
    with pytest.raises(UserError, match="could not be downloaded") as caught:
        fetch("imagenette", tmp_path / "a" / "b" / "data")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "a" / "b" / "data").iterdir()) == []
    assert [p.name for p in outside.iterdir()] == ["other"]
    assert (outside / "other").read_text() == "unchanged"
    assert not list(tmp_path.rglob("escaped"))


def test_checksum_is_verified_before_extraction(archive, tmp_path, monkeypatch):
    def refuse(*args):
        raise AssertionError("extracted")

    monkeypatch.setattr("dctnet.data.download._extract", refuse)
    monkeypatch.setitem(Imagenette._ARCHIVES, "full", (Imagenette._ARCHIVES["full"][0], "0" * 32))
    with pytest.raises(UserError, match="could not be downloaded"):
        fetch("imagenette", tmp_path / "data")
