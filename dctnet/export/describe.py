"""What is known of a trained network, as metadata of the files that are written from it."""

from typing import Any, Literal

from dctnet import __version__
from dctnet.data.preprocess import Preprocess
from dctnet.model.network import FrequencyNet
from dctnet.training.public_options import public_options


def describe(network: FrequencyNet, content: dict[str, Any], reads: Literal["channels", "pixels"]) -> dict[str, Any]:
    """The metadata of an ONNX file: what it reads and computes, and the options with which it is evaluated."""
    preprocess = network.preprocess
    assert isinstance(preprocess, Preprocess)
    size, fraction = network.image_size, preprocess.crop_fraction
    source: dict[str, str] = {}
    square = f"the central square of {100 * fraction:g} % of the short side, resized to {size}×{size} pixels"
    channels = None if network.channels is None else list(network.channels.indices)
    # Lightning's module builds a network, which the ONNX file then replaces; a small one will do.
    trained = content["hyper_parameters"]
    model = {**trained, "backbone": "resnet18", "entry": "stem", "stem": "torchvision"}
    model |= {"layer2_stride": 2, "weights": None, "freeze": None, "compile": False}
    model |= {"gate": "none", "keep": None, "sparsity_weight": 0.0}
    if reads == "pixels":
        text = f"{square}; RGB, 8 bits, (N, 3, {size}, {size})"
        model["input"], source = "rgb", {"source": "pixels"}
    else:
        if preprocess.source == "coefficients":
            square = f"JPEG coefficients of the central {size}×{size} pixels, aligned to blocks, not resized"
        text = f"{square}; YCbCr of JFIF minus 128; orthonormal DCT-II of 8×8 blocks; channels 64·component + 8·v + u"
        model["channels"] = channels
    return {
        "format": "dctnet-onnx",
        "version": 1,
        "dctnet": __version__,
        "input": reads,
        "classes": network.classes,
        "channels": channels,
        "image_size": size,
        "crop_fraction": fraction,
        "preprocessing": text,
        "gate": trained["gate"],
        "backbone": network.backbone_name,
        "accuracy": None,
        "cost": network.cost(),
        "int8": False,
        "model": model,
        "data": {**public_options(content["datamodule_hyper_parameters"], model), "input": model["input"], **source},
    }
