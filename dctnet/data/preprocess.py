"""One image to the input of a network, as ``dctnet validate`` reads it."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from dctnet.data.coefficients import CoefficientReader
from dctnet.data.images.photo import Photo, Source, choose_decoder
from dctnet.data.pixels import ChannelReader, RGBReader
from dctnet.data.transforms import CenterCrop, Crop
from dctnet.frequency.channels import ChannelSet

Reader = ChannelReader | CoefficientReader | RGBReader


@dataclass(frozen=True)
class Preprocess:
    """Center crop of one image, as DCT channels or RGB: the evaluation transform of the data module.

    Args:
        channel_set: The channels, in this order; not used for RGB.
        image_size: Side of the crop as the network sees it, in pixels; a multiple of 8.
        crop_fraction: Side of the central square as a share of the image's short side.
        input: ``channels`` or ``rgb``.
        source: ``pixels``, decoded and resized; or ``coefficients`` of JPEG files, without resizing. Coefficients need
            libjpeg-turbo; images without usable coefficients are read by pixels.
        decoder: For JPEG files; ``auto`` is libjpeg-turbo if its library is found, else Pillow.
    """

    channel_set: ChannelSet
    image_size: int
    crop_fraction: float
    input: Literal["channels", "rgb"] = "channels"
    source: Literal["pixels", "coefficients"] = "pixels"
    decoder: Literal["auto", "turbojpeg", "pillow"] = "auto"

    def __call__(self, image: Source) -> Tensor:
        """Reads one image, from the path or the content of a file, or an open Pillow image.

        Shape:
            - output: (1, K, S/8, S/8) channels, or (1, 3, S, S) RGB, 0 … 255; float32, S = image_size

        Raises:
            ImageError: The image cannot be read; or, of coefficients, is smaller than the crop.
            UserError: The decoder is ``turbojpeg`` and its library is not found.
        """
        photo = Photo(image, choose_decoder(self.decoder))
        crop = CenterCrop(self.crop_fraction)
        reader: Any = make_reader(crop, self.image_size, self.channel_set, self.input, self.source)
        rng = np.random.default_rng(0)  # a center crop draws nothing
        return reader.to_device(reader.collate([reader.sample(photo, rng)]))


def make_reader(
    crop: Crop,
    image_size: int,
    channel_set: ChannelSet,
    input: Literal["channels", "rgb"],
    source: Literal["pixels", "coefficients"],
    dct: Literal["loader", "device"] = "loader",
) -> Reader:
    """The reader of an input, for training with a random crop and for evaluation with a center crop.

    Args are those of :class:`Preprocess`, and ``dct``: where the DCT of pixels is computed.
    """
    if input == "rgb":
        return RGBReader(crop, image_size)
    if source == "coefficients":
        return CoefficientReader(crop, image_size, channel_set)
    return ChannelReader(crop, image_size, channel_set, dct)
