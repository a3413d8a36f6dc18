"""The demonstration in a real browser, against the same network in Python."""

import functools
import http.server
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dctnet.export.demo.command import RUNTIME, demo
from tests.browser import open_browser
from tests.commands import CKPT, fails

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
from dctnet.export.onnx_file import OnnxNetwork

pytestmark = pytest.mark.usefixtures("small_backbones")


@pytest.fixture
def fake_runtime(tmp_path) -> Path:
    folder = tmp_path / "package" / "dist"
    folder.mkdir(parents=True)
    for name in RUNTIME:
        (folder / name).write_text(name)
    return tmp_path / "package"


def test_the_folder_has_all_that_the_page_loads(gated_run, tmp_path, monkeypatch, fake_runtime):
    monkeypatch.chdir(gated_run)
    demo(CKPT, str(tmp_path / "demo"), runtime=str(fake_runtime), int8=False)
    names = {str(path.relative_to(tmp_path / "demo")) for path in (tmp_path / "demo").rglob("*.*")}
    assert names == {"index.html", "app.js", "model.json", "model.onnx", *(f"runtime/{name}" for name in RUNTIME)}
    card = json.loads((tmp_path / "demo" / "model.json").read_text())
    assert card["classes"] == ["blue", "green", "red"]
    assert str(gated_run) not in (tmp_path / "demo" / "model.json").read_text()


def test_mistakes_are_one_line(gated_run, tmp_path, monkeypatch, capsys, fake_runtime):
    monkeypatch.chdir(gated_run)
    (tmp_path / "empty").mkdir()
    line = fails(capsys, "demo", CKPT, tmp_path / "demo", "--runtime", tmp_path / "empty")
    assert "expected the unpacked npm package onnxruntime-web" in line
    assert "no such folder" in fails(capsys, "demo", CKPT, tmp_path / "demo", "--runtime", tmp_path / "missing")
    assert "no empty folder" in fails(capsys, "demo", CKPT, tmp_path / "package", "--runtime", fake_runtime)
    assert "no such folder" in fails(capsys, "demo", CKPT, tmp_path / "new/demo", "--runtime", fake_runtime)
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_browser_computes_the_same_probabilities(gated_run, tmp_path, monkeypatch):
    runtime = os.environ.get("ONNXRUNTIME_WEB")
    if not runtime:
        pytest.skip("ONNXRUNTIME_WEB does not name the unpacked npm package")
    browser = open_browser()
    monkeypatch.chdir(gated_run)
    demo(CKPT, str(tmp_path / "demo"), runtime=runtime)
    network = OnnxNetwork(tmp_path / "demo" / "model.onnx")
    size = network.metadata["image_size"]
    # A square of the size at which nothing is resized: the crop has a share of the side.
    side = round(size / network.metadata["crop_fraction"])
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    (tmp_path / "note.txt").write_text("no image")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "demo")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        browser.get(f"http://127.0.0.1:{server.server_port}/")
        wait(browser, "Ready.")
        choose(browser, tmp_path / "photo.png")
        wait(browser, "Classified in")
        seen = browser.execute_script(
            "const c = document.getElementById('seen');"
            "return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)"
        )
        rgb = torch.tensor(seen, dtype=torch.uint8).view(size, size, 4)[..., :3].permute(2, 0, 1)[None]
        expected = network(rgb).softmax(1)[0]
        shown = browser.execute_script(
            "return [...document.querySelectorAll('#classes li')].map(e => [e.dataset.name, +e.dataset.probability])"
        )
        for name, probability in shown:
            assert probability == pytest.approx(expected[network.metadata["classes"].index(name)].item(), abs=2e-2)
        assert shown[0][0] == network.metadata["classes"][int(expected.argmax())]
        browser.execute_script("window.photo = document.getElementById('file').files[0]")
        choose(browser, tmp_path / "note.txt")
        wait(browser, "not an image")
        browser.execute_script(
            "const transfer = new DataTransfer(); transfer.items.add(window.photo);"
            "document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: transfer, bubbles: true}))"
        )
        wait(browser, "Classified in")
        assert browser.find_element("css selector", "#classes li").get_attribute("data-name") == shown[0][0]
    finally:
        server.shutdown()
        browser.quit()


def choose(browser, path: Path) -> None:
    browser.execute_script("document.getElementById('file').value = ''")
    browser.find_element("id", "file").send_keys(str(path))


def wait(browser, text: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 120).until(lambda driver: text in driver.find_element("id", "status").text)
