"""Pipelines that end in RGB: decoding, as in most trainings, and stores of decoded images, rivals of packed ones."""

import importlib.util
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision.transforms.v2 as T
from PIL import Image
from torch import Tensor
from torchvision.io import decode_image

from dctnet.data.images.pillow import open_image
from dctnet.data.packed.plan import choose_scales
from dctnet.studies.throughput.passes import Pass, batches

RGB_SIZE = 224
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_STORE_MIN_SCALE = 0.35  # the default of dctnet pack


def rgb_pipelines(photographs: list[str], folder: Path) -> dict[str, Pass]:
    """The pipelines of RGB that this machine has, by name.

    Args:
        photographs: JPEG files.
        folder: A folder for the stores.
    """
    transform = _transform(to_float=True)
    return {
        "rgb_torchvision": _decode(photographs, lambda path: decode_image(path, mode="RGB"), transform),
        "rgb_pillow": _decode(photographs, lambda path: open_image(path).convert("RGB"), _transform(to_float=False)),
        **_webdataset(photographs, folder, transform),
        **_store(photographs, folder),
    }


def _transform(to_float: bool) -> Callable[[Any], Tensor]:
    """Torchvision's transforms; without ``to_float`` they yield uint8, to be normalised on the device."""
    end = [T.ToDtype(torch.float32, scale=True), T.Normalize(_MEAN, _STD)] if to_float else [T.PILToTensor()]
    return T.Compose([T.RandomResizedCrop(RGB_SIZE, antialias=True), T.RandomHorizontalFlip(), *end])


def _decode(photographs: list[str], load: Callable[[str], Any], transform: Callable[[Any], Tensor]) -> Pass:
    def load_batch(number: int, batch: list[int]) -> dict[str, Tensor]:
        torch.manual_seed(number + batch[0])
        return {"image": torch.stack([transform(load(photographs[i])) for i in batch])}

    return batches(len(photographs), load_batch)


def _webdataset(photographs: list[str], folder: Path, transform: Callable[[Any], Tensor]) -> dict[str, Pass]:
    """JPEG files, and decoded images, in a tar file of webdataset."""
    if importlib.util.find_spec("webdataset") is None:
        print("webdataset: not measured, it is not installed")
        return {}
    from webdataset import WebDataset

    tars = {"jpg": folder / "jpeg.tar", "npy": folder / "raw.tar"}
    for suffix, path in tars.items():
        with tarfile.open(path, "w") as tar:
            for number, photograph in enumerate(photographs):
                content = Path(photograph).read_bytes() if suffix == "jpg" else _npy(photograph)
                member = tarfile.TarInfo(f"{number:06d}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))

    def read(suffix: str, decode: Callable[[bytes], Tensor]) -> Pass:
        def run(number: int) -> int:
            samples = iter(WebDataset(str(tars[suffix]), shardshuffle=False, empty_check=False))

            def load(number: int, batch: list[int]) -> dict[str, Tensor]:
                return {"image": torch.stack([transform(decode(next(samples)[suffix])) for _ in batch])}

            return batches(len(photographs), load)(number)

        return run

    def decode_jpeg(content: bytes) -> Tensor:
        return decode_image(torch.frombuffer(bytearray(content), dtype=torch.uint8), mode="RGB")

    def decode_raw(content: bytes) -> Tensor:
        return torch.from_numpy(np.load(io.BytesIO(content)))

    return {"webdataset_jpeg": read("jpg", decode_jpeg), "webdataset_raw": read("npy", decode_raw)}


def _npy(photograph: str) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, decode_image(photograph, mode="RGB").numpy())
    return buffer.getvalue()


def _store(photographs: list[str], folder: Path) -> dict[str, Pass]:
    """A memory-mapped store of decoded images at the scales of a packed store, cropped for a batch at once."""
    scales = choose_scales(RGB_SIZE, 1.0, _STORE_MIN_SCALE, None)["train"]
    path, shapes = folder / "rgb.bin", []
    with open(path, "wb") as file:
        for photograph in photographs:
            image = open_image(photograph).convert("RGB")
            for scale in scales:
                sides = [max(scale, round(side * scale / min(image.size))) for side in image.size]
                file.write(image.resize((sides[0], sides[1]), Image.Resampling.BILINEAR).tobytes())
                shapes.append((sides[1], sides[0], 3))
    starts = np.cumsum([0, *(np.prod(shape) for shape in shapes)])
    stored = np.memmap(path, np.uint8, "r")
    views = [
        stored[start : start + np.prod(shape)].reshape(shape) for start, shape in zip(starts, shapes, strict=False)
    ]

    def load(number: int, batch: list[int]) -> dict[str, Tensor]:
        crops = np.empty((len(batch), RGB_SIZE, RGB_SIZE, 3), np.uint8)
        uniform = np.random.default_rng((number, batch[0])).random((len(batch), 4))
        for crop, i, (scale, y, x, _) in zip(crops, batch, uniform.tolist(), strict=True):
            view = views[i * len(scales) + int(scale * len(scales))]
            top, left = int(y * (view.shape[0] - RGB_SIZE + 1)), int(x * (view.shape[1] - RGB_SIZE + 1))
            crop[...] = view[top : top + RGB_SIZE, left : left + RGB_SIZE]
        return {"image": torch.from_numpy(crops), "flip": torch.from_numpy(uniform[:, 3] < 0.5)}

    mean, std = (torch.tensor(each)[:, None, None] * 255 for each in (_MEAN, _STD))

    def load_float(number: int, batch: list[int]) -> dict[str, Tensor]:
        payload = load(number, batch)
        images = payload["image"].permute(0, 3, 1, 2)
        flipped = [image.flip(-1) if flip else image for image, flip in zip(images, payload["flip"], strict=True)]
        return {"image": torch.stack(flipped).float().sub_(mean).div_(std)}

    count = len(photographs)
    return {
        "rgb_store": batches(count, load, shuffle=True),
        "rgb_store_float": batches(count, load_float, shuffle=True),
    }
