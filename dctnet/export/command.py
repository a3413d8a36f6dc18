"""The verb ``export``: a trained network for other programs, checked against the original."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dctnet.errors import UserError, did_you_mean_path, printable
from dctnet.export.describe import describe
from dctnet.export.graph import PixelNet
from dctnet.export.onnx_file import MIN_OPSET, OnnxNetwork, check_opset, trace, with_metadata
from dctnet.export.quantize import quantize_to_int8
from dctnet.export.samples import Samples, read_samples
from dctnet.io.atomic import atomic_write
from dctnet.model.fixed import without_dropped_channels
from dctnet.training.checkpoint import load, read
from dctnet.training.safetensors_file import write_safetensors

FORMATS = (".onnx", ".safetensors")
# Of the largest logit: rounding of float32 in another order, over the layers of the largest networks.
_BOUND = 1e-4
_ROUNDS, _BATCH = 5, 8
_IMAGES = 256
_NEWEST_OF_INT8 = 20  # onnxruntime quantises with types that later versions do not accept


def export(
    ckpt: str,
    *,
    out: str = "model.onnx",
    input: Literal["channels", "pixels"] | None = None,
    int8: bool = False,
    opset: int = MIN_OPSET,
    images: int = _IMAGES,
    root: str | None = None,
) -> None:
    """Writes a trained network as ONNX or safetensors file, and checks that it computes what the checkpoint computes.

    The channels that a static gate drops are removed from an ONNX file; a dynamic gate becomes part of it. The metadata
    has classes, channels, preprocessing and image size. ``dctnet predict`` and ``validate`` take the file in place of a
    checkpoint; so does ``dctnet.load`` for safetensors.

    Args:
        ckpt: A checkpoint of ``dctnet fit``.
        out: The file to write: ``NAME.onnx`` or ``NAME.safetensors``.
        input: What an ONNX file reads: ``channels`` (N, K, S/8, S/8), float32; or ``pixels``, RGB (N, 3, S, S), uint8,
            with colour conversion, block DCT and normalisation inside. Default: channels; for an RGB network, pixels.
        int8: Quantise an ONNX file to 8 bits, calibrated on training images; prints what it costs on validation images.
        opset: Version of ONNX's operators.
        images: Number of images for the check and for ``int8``.
        root: Data set for them. Default: that of the training, or generated pictures if it is not there.

    Raises:
        UserError: The checkpoint or an option cannot be used, ``out`` exists, or the network differs after conversion.
    """
    target = Path(out)
    _check_target(target)
    _check_options(target, int8, input, images, opset, root)
    if target.suffix == ".safetensors":
        _export_safetensors(ckpt, target)
        return
    written, _ = build_onnx(ckpt, input, int8, opset, images, root)
    atomic_write(target, written)
    print(printable(f"{out}: {len(written) / 1e6:.1f} MB"))


def build_onnx(
    ckpt: str, input: Literal["channels", "pixels"] | None, int8: bool, opset: int, images: int, root: str | None
) -> tuple[bytes, dict[str, Any]]:
    """The content of an ONNX file and its metadata; the arguments are those of :func:`export`."""
    check_opset(opset)
    content, network = read(ckpt), load(ckpt)
    if input == "channels" and network.channels is None:
        raise UserError("--input channels: the checkpoint is of a network on RGB; give --input pixels")
    reads: Literal["channels", "pixels"] = input or ("pixels" if network.channels is None else "channels")
    smaller = without_dropped_channels(network)
    smaller.preprocess = network.preprocess
    wrapped = (PixelNet(smaller) if reads == "pixels" else smaller).eval()
    indices = () if network.channels is None or smaller.channels is None else network.channels.indices
    kept = [place for place, index in enumerate(indices) if index in smaller.channels.indices]  # type: ignore[union-attr]
    samples = read_samples(network, kept, content, root, "val", images, reads)
    metadata = describe(smaller, content, reads)
    plain = with_metadata(trace(wrapped, samples.exported[:1].repeat(2, 1, 1, 1), reads, opset), metadata)
    kind = f"RGB, uint8 {tuple(samples.exported.shape[1:])}" if reads == "pixels" else f"{len(kept)} of 192 channels"
    print(printable(f"ONNX, opset {opset}, reads {kind}"))
    # The network as trained, with its gate and all its channels.
    whole = PixelNet(network).eval() if reads == "pixels" else network
    expected = _logits(whole, samples.exported if reads == "pixels" else samples.original)
    found = _logits(OnnxNetwork(plain), samples.exported)
    _check_parity(expected, found, samples.origin)
    if reads == "pixels" and network.channels is not None:
        agreed = (_logits(network, samples.original).argmax(1) == found.argmax(1)).sum().item()
        print(f"8-bit RGB, against the YCbCr that the training reads: {agreed} of {len(found)} labels agree")
    metadata |= {"accuracy": _accuracy(found, samples)}
    if not int8:
        return with_metadata(plain, metadata), metadata
    calibration = read_samples(network, kept, content, root, "train", images, reads)
    small = with_metadata(quantize_to_int8(plain, calibration.exported), {**metadata, "int8": True})
    labels = _logits(OnnxNetwork(small), samples.exported)
    metadata |= {"int8": True, "accuracy": _accuracy(labels, samples)}
    small = with_metadata(small, metadata)
    _compare_int8(plain, small, samples, calibration)
    return small, metadata


def _check_target(target: Path) -> None:
    if target.suffix not in FORMATS:
        raise UserError(f"{target}: --out must end in {' or '.join(FORMATS)}")
    if not target.parent.is_dir():
        raise UserError(f"{target}: no such folder {target.parent}.{did_you_mean_path(target.parent)}")
    if target.exists() or target.is_symlink():
        raise UserError(f"{target}: exists; export does not replace files")


def _check_options(target: Path, int8: bool, input: str | None, images: int, opset: int, root: str | None) -> None:
    of_onnx = {
        "int8": int8, "input": input is not None, "opset": opset != MIN_OPSET, "images": images != _IMAGES,
        "data.root": root is not None,
    }  # fmt: skip
    if target.suffix != ".onnx" and (given := [f"--{name}" for name, is_given in of_onnx.items() if is_given]):
        raise UserError(f"{', '.join(given)}: for ONNX files; {target.suffix} has the weights as trained")
    if int8 and opset > _NEWEST_OF_INT8:
        raise UserError(f"--int8 writes operators of --opset {MIN_OPSET}…{_NEWEST_OF_INT8}, got {opset}")
    if images < 1:
        raise UserError(f"--images must be at least 1, got {images}")


@torch.inference_mode()
def _logits(network: nn.Module, inputs: Tensor) -> Tensor:
    return torch.cat([network(part) for part in inputs.split(_BATCH)])


def _accuracy(logits: Tensor, samples: Samples) -> dict[str, Any] | None:
    """Share of the labelled images that are classified correctly; None without labels."""
    known = samples.targets >= 0
    if not known.any():
        return None
    right = (logits.argmax(1) == samples.targets)[known].float().mean().item()
    return {"top1": round(right, 6), "images": int(known.sum()), "of": samples.origin.partition(" of ")[0]}


def _check_parity(expected: Tensor, found: Tensor, origin: str) -> None:
    """Prints the largest difference of the logits and the agreement of labels; raises UserError above the bound."""
    difference, bound = (expected - found).abs().max().item(), _BOUND * max(1.0, expected.abs().max().item())
    agreed = (expected.argmax(1) == found.argmax(1)).sum().item()
    text = f"{agreed} of {len(expected)} labels agree, largest difference of a logit {difference:.1e}"
    if not expected.isfinite().all():
        raise UserError(f"the checkpoint's own logits of {origin} are not finite; nothing is written")
    if not difference <= bound:  # also of NaN
        raise UserError(
            f"the ONNX network differs from the checkpoint: {text}, allowed {bound:.1e}; nothing is written"
        )
    print(f"checked on {origin}: {text}")


def _compare_int8(plain: bytes, small: bytes, samples: Samples, calibration: Samples) -> None:
    """Prints size, accuracy and speed of a quantised network beside those of the original."""
    networks = [OnnxNetwork(plain, threads=1), OnnxNetwork(small, threads=1)]
    labels = [_logits(each, samples.exported).argmax(1) for each in networks]
    known = samples.targets >= 0
    print(f"int8, calibrated on {len(calibration.exported)} {calibration.origin}:")
    print(f"  size      {len(plain) / 1e6:.1f} -> {len(small) / 1e6:.1f} MB")
    if known.any():
        before, after = ((label == samples.targets)[known].float().mean().item() for label in labels)
        print(f"  accuracy  {100 * before:.2f} -> {100 * after:.2f} % on {int(known.sum())} {samples.origin}")
    print(f"  labels    {(labels[0] == labels[1]).sum().item()} of {len(labels[0])} as before")
    batch = samples.exported[:_BATCH]
    seconds: list[list[float]] = [[], []]
    for _ in range(_ROUNDS + 1):
        for own, network in zip(seconds, networks, strict=True):
            started = time.perf_counter()
            network(batch)
            own.append(time.perf_counter() - started)
    before, after = (len(batch) / statistics.median(own[1:]) for own in seconds)
    print(f"  speed     {before:.0f} -> {after:.0f} images/s on one thread ({after / before:.1f}×)")


def _export_safetensors(ckpt: str, target: Path) -> None:
    """Writes the file after a first one in another folder was read back and is equal."""
    own = load(ckpt).state_dict()
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder, "model.safetensors")
        write_safetensors(trial, read(ckpt))
        again = load(trial).state_dict()
        if own.keys() != again.keys() or not all(torch.equal(own[name], again[name]) for name in own):
            raise UserError(f"{target}: the weights that were read back differ; nothing is written")
        content = trial.read_bytes()
    atomic_write(target, content)
    print(
        printable(
            f"{target}: {len(content) / 1e6:.1f} MB, {len(own)} tensors, read back and equal; dctnet.load reads it"
        )
    )
