"""ONNX files: a network with its classes, channels and preprocessing in the metadata."""

import importlib
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dctnet.errors import UserError, did_you_mean_path, first_line
from dctnet.training.checkpoint_schema import check_content, upgrade

_KEY = "dctnet"  # of the metadata, one JSON object
MIN_OPSET = 18


def require(name: str) -> Any:
    """Imports a library of the extra ``export``.

    Raises:
        UserError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"ONNX files need {name}, which is not installed: pip install 'dctnet[export]'") from error


def check_opset(opset: int) -> None:
    """Raises UserError if the converter is not installed or does not know a version of the operators."""
    onnx, _ = require("onnx"), require("onnxscript")
    newest = onnx.defs.onnx_opset_version()
    if not MIN_OPSET <= opset <= newest:
        raise UserError(f"--opset {opset}: the installed onnx {onnx.__version__} writes {MIN_OPSET}…{newest}")


def trace(network: nn.Module, example: Tensor, name: str, opset: int) -> bytes:
    """Converts a network to ONNX, for batches of any size.

    Args:
        network: In evaluation mode.
        example: An input of at least two images.
        name: Name of the input; the output is ``logits``.
        opset: Version of the operators.

    Returns:
        The content of the file.

    Raises:
        UserError: The network has an operation without an equivalent.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                network, (example,), input_names=[name], output_names=["logits"], opset_version=opset,
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},), dynamo=True, verbose=False,
            )  # fmt: skip
        except Exception as error:  # torch.onnx has errors of many types
            raise UserError(f"the network cannot be converted to ONNX: {first_line(error)}") from error
    model = program.model_proto  # type: ignore[union-attr]
    written = {each.version for each in model.opset_import if not each.domain}
    if written != {opset}:
        raise UserError(f"--opset {opset}: torch {torch.__version__} wrote {', '.join(map(str, written))} instead")
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]  # the converter's notes, which have paths of this machine
    return model.SerializeToString()


def with_metadata(content: bytes, metadata: dict[str, Any]) -> bytes:
    """Adds metadata to the content of an ONNX file."""
    onnx = require("onnx")
    model = onnx.load_from_string(content)
    model.producer_name, model.producer_version = "dctnet", metadata["dctnet"]
    onnx.helper.set_model_props(model, {_KEY: json.dumps(metadata)})
    return model.SerializeToString()


class OnnxNetwork(nn.Module):
    """Runs an ONNX file that dctnet wrote, on the CPU; a stand-in for the network it was made from.

    Args:
        source: The file, or its content.
        threads: Threads of one image; 0 lets onnxruntime choose.

    Attributes:
        metadata: What ``dctnet export`` wrote: ``input``, ``classes``, ``channels``, ``image_size``, …
        gate: None; a gate is part of the graph.

    Raises:
        UserError: There is no such file, or dctnet did not write it.
    """

    gate = None
    frozen = False

    def __init__(self, source: str | Path | bytes, threads: int = 0) -> None:
        super().__init__()
        runtime, where = require("onnxruntime"), "the network" if isinstance(source, bytes) else str(source)
        if not isinstance(source, bytes) and not Path(source).is_file():
            raise UserError(f"{source}: no such file.{did_you_mean_path(source)}")
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        try:
            model = source if isinstance(source, bytes) else str(source)
            self._session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no common type
            raise UserError(f"{where}: onnxruntime cannot run it: {first_line(error)}") from error
        found = self._session.get_modelmeta().custom_metadata_map.get(_KEY)
        if found is None:
            raise UserError(f"{where}: not written by dctnet export, so its classes and preprocessing are not known")
        try:
            self.metadata: dict[str, Any] = json.loads(found)
            _check_metadata(self.metadata)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise UserError(f"{where}: its metadata are not those of dctnet export: {first_line(error)}") from error
        self._input = self._session.get_inputs()[0]

    @property
    def backbone_name(self) -> str:
        """That of the network that was exported; the options of model and data have a stand-in."""
        return str(self.metadata.get("backbone", "a network"))

    def cost(self) -> dict[str, float]:
        """Those of the network that was exported, as :meth:`~dctnet.model.network.FrequencyNet.cost` counts them."""
        return self.metadata["cost"]

    def forward(self, input: Tensor) -> Tensor:
        """Computes logits (N, classes); RGB is rounded to 8 bits."""
        is_bytes = self._input.type == "tensor(uint8)"
        if list(input.shape[1:]) != self._input.shape[1:]:
            wanted, got = ("×".join(map(str, shape)) for shape in (self._input.shape[1:], input.shape[1:]))
            raise UserError(
                f"the ONNX network reads inputs of {wanted}, got {got}: it has one image size and kind of input"
            )
        values = input.round().clamp(0, 255).to(torch.uint8) if is_bytes else input.float()
        (logits,) = self._session.run(None, {self._input.name: np.ascontiguousarray(values.cpu().numpy())})
        return torch.from_numpy(logits).to(input.device)

    def forward_gated(self, input: Tensor) -> tuple[Tensor, None]:
        """Computes logits (N, classes), and None for the gate."""
        return self(input), None


def _check_metadata(metadata: dict[str, Any]) -> None:
    """Raises ValueError, TypeError or KeyError for metadata of another format."""
    if metadata["format"] != "dctnet-onnx" or metadata["version"] != 1:
        raise ValueError(f"format {str(metadata['format'])[:40]!r}, version {str(metadata['version'])[:40]!r}")
    if not all(isinstance(value, int | float) for value in metadata["cost"].values()):
        raise ValueError("'cost' must hold numbers")
    for part in ("model", "data"):
        if not isinstance(metadata[part], dict):
            raise TypeError(f"{part!r} must be an object")
    for name in ("input", "channels", "classes", "gate", "image_size"):
        metadata["model"][name]


def is_onnx(path: str | Path) -> bool:
    """Whether a path has the suffix of an ONNX file."""
    return Path(path).suffix == ".onnx"


def read_onnx_options(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of model and data with which an ONNX file is evaluated.

    Raises:
        UserError: As :class:`OnnxNetwork`, or its metadata are not valid.
    """
    found = OnnxNetwork(path).metadata
    content = {"hyper_parameters": found.get("model"), "datamodule_hyper_parameters": found.get("data")}
    try:
        content = upgrade({**content, "state_dict": {}})
    except Exception as error:  # of any form
        raise UserError(f"{path}: its metadata are not those of dctnet export: {first_line(error)}") from error
    check_content(path, content)
    return content["hyper_parameters"], content["datamodule_hyper_parameters"]
