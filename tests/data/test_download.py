"""torchvision's own Imagenette downloader, on a local archive of the same form."""

import functools
import hashlib
import http.server
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
    """imagenette2.tgz with one image a class and split, served from this machine in the place of the real one."""
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


def test_download_unpacks_once_and_gives_the_splits(archive, tmp_path):
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


def test_broken_download_is_told_and_leaves_nothing(archive, tmp_path):
    archive.write_bytes(b"other bytes")
    with pytest.raises(UserError, match="could not be downloaded"):
        fetch("imagenette", tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []
