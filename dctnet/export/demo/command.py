"""The verb ``demo``: writes the folder of a demonstration."""

import json
import shutil
from importlib.resources import files
from pathlib import Path

from dctnet.errors import UserError, did_you_mean_path, printable
from dctnet.export.command import build_onnx
from dctnet.export.onnx_file import MIN_OPSET
from dctnet.io.atomic import atomic_folder, atomic_write

RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
_PAGE = ("index.html", "app.js")
_IMAGES = 256  # for calibration and check


def demo(ckpt: str, out: str, *, runtime: str, int8: bool = True, root: str | None = None) -> None:
    """Writes a static folder that classifies photographs in the browser, without a server that computes.

    It holds the network as ONNX file on pixels, onnxruntime-web, and a page. Any web server can serve it:
    ``python -m http.server -d OUT``. Nothing is loaded from elsewhere, and photographs stay in the browser.

    Args:
        ckpt: A checkpoint of ``dctnet fit``.
        out: The folder to write.
        runtime: The unpacked npm package onnxruntime-web (``npm pack onnxruntime-web`` and ``tar xzf``), or its dist/.
        int8: Quantise the network to 8 bits, calibrated on training images: a quarter of the bytes.
        root: Data set for the calibration and the check. Default: that of the training.

    Raises:
        UserError: The checkpoint or the runtime cannot be used, or ``out`` exists.
    """
    target, library = Path(out), _find_runtime(Path(runtime))
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{out}: exists and is no empty folder; demo does not replace files")
    if not target.parent.is_dir():
        raise UserError(f"{out}: no such folder {target.parent}.{did_you_mean_path(target.parent)}")
    with atomic_folder(target) as folder:
        model, metadata = build_onnx(ckpt, "pixels", int8, MIN_OPSET, _IMAGES, root)
        atomic_write(folder / "model.onnx", model)
        public = {key: value for key, value in metadata.items() if key not in ("model", "data")}
        atomic_write(folder / "model.json", json.dumps(public).encode())
        for name in _PAGE:
            atomic_write(folder / name, files(__package__).joinpath(name).read_bytes())
        (folder / "runtime").mkdir()
        for name in RUNTIME:
            shutil.copy(library / name, folder / "runtime" / name)
    print(printable(f"{out}: to try it, run python -m http.server -d {out} and open http://localhost:8000"))


def _find_runtime(given: Path) -> Path:
    for folder in (given, given / "dist", given / "package" / "dist"):
        if all((folder / name).is_file() for name in RUNTIME):
            return folder
    if not given.exists():
        raise UserError(f"--runtime {given}: no such folder.{did_you_mean_path(given)}")
    raise UserError(
        f"--runtime {given}: has no {RUNTIME[0]}; expected the unpacked npm package onnxruntime-web, of 1.20 or later"
    )
