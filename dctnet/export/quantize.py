"""Quantisation of an ONNX file to 8 bits."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from dctnet.export.onnx_file import require

_BATCH = 16


class _Calibration:
    """The images by which the ranges of activations are found, in batches."""

    def __init__(self, name: str, images: Tensor) -> None:
        self._batches = iter([{name: np.ascontiguousarray(part.numpy())} for part in images.split(_BATCH)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch, or None at the end."""
        return next(self._batches, None)


def quantize_to_int8(content: bytes, images: Tensor) -> bytes:
    """Quantises convolutions and matrix products of a network, with weights per channel (static QDQ).

    The block DCT of pixels, the normalisation and a gate stay in float32: their ranges are wide and they cost little.

    Args:
        content: An ONNX file.
        images: Inputs for calibration, (n, …).

    Returns:
        The content of the new file, without metadata.
    """
    onnx, tools = require("onnx"), require("onnxruntime.quantization")
    preprocess = require("onnxruntime.quantization.shape_inference").quant_pre_process
    with tempfile.TemporaryDirectory() as folder:
        plain, ready, written = (Path(folder, f"{name}.onnx") for name in ("plain", "ready", "int8"))
        plain.write_bytes(content)
        preprocess(str(plain), str(ready), skip_symbolic_shape=True)
        model = onnx.load(ready)
        reader = _Calibration(model.graph.input[0].name, images)
        tools.quantize_static(
            str(ready), str(written), reader, quant_format=tools.QuantFormat.QDQ, per_channel=True,
            op_types_to_quantize=["Conv", "Gemm", "MatMul", "Add", "MaxPool", "GlobalAveragePool", "ReduceMean"],
            nodes_to_exclude=_before_the_backbone(model),
        )  # fmt: skip
        return written.read_bytes()


def _before_the_backbone(model: Any) -> list[str]:
    """Names of the nodes in front of the entry: the first convolution with trained weights and all behind it remain."""
    names = []
    for node in model.graph.node:
        if any(".backbone." in f".{name}" for name in node.input):
            break
        names.append(node.name)
    return names
