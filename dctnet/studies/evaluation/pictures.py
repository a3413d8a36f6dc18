"""The worst-classified images, as small pictures."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.dataset import make_dataset
from dctnet.data.images.photo import ImageError
from dctnet.data.planes import read_planes
from dctnet.errors import printable
from dctnet.frequency.channels import NUM_CHANNELS, channels_to_planes
from dctnet.frequency.color import ycbcr_to_rgb
from dctnet.studies.evaluation.results import Evaluation
from dctnet.studies.page.page import WIDTH, Numbers, Plot, new_figure, shorten

MOST_IMAGES = 24
_SIDE = 160  # pixels
_COLUMNS = 6


@dataclass(frozen=True)
class Mistake:
    """A wrongly classified image.

    Args:
        path: The file.
        name: Its class.
        predicted: The predicted class.
        probability: Of the predicted class.
        own: Probability of its class.
        picture: Its evaluation crop, None if it cannot be read again.
    """

    path: str
    name: str
    predicted: str
    probability: float
    own: float
    picture: Image.Image | None

    @property
    def file(self) -> str:
        """The file's name without its folders."""
        return PurePath(self.path).name

    @property
    def uri(self) -> str | None:
        """The picture as a ``data:`` address."""
        if self.picture is None:
            return None
        file = io.BytesIO()
        self.picture.save(file, "JPEG", quality=85)
        return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def worst_mistakes(evaluation: Evaluation, data: FrequencyDataModule, index: Sequence[int]) -> list[Mistake]:
    """The wrongly classified images whose class has the lowest probability, with pictures.

    Args:
        evaluation: The evaluation.
        data: Its data.
        index: Position in the split of each image of the evaluation.
    """
    places = [place for place in evaluation.worst() if not evaluation.right[place]][:MOST_IMAGES]
    pictures = _read(data, evaluation.split, [index[place] for place in places])
    return [
        Mistake(
            evaluation.paths[place],
            evaluation.classes[evaluation.target[place]],
            evaluation.classes[evaluation.label[place]],
            float(evaluation.probability[place]),
            float(evaluation.target_probability[place]),
            picture,
        )
        for place, picture in zip(places, pictures, strict=True)
    ]


def _read(data: FrequencyDataModule, split: str, index: Sequence[int]) -> list[Image.Image | None]:
    """The evaluation crops of some images: of photographs in all colours, of a store by its channels."""
    if data.store is not None:
        return [_picture(planes) for planes in _stored_planes(data, split, index)]
    return [_photograph(data, data.files(split).paths[place]) for place in index]


def _photograph(data: FrequencyDataModule, path: str) -> Image.Image | None:
    options = data.hparams
    try:
        return _picture(read_planes([path], options["input"], data.size, options["crop_fraction"])[0])
    except ImageError:  # changed since it was evaluated
        return None


def _stored_planes(data: FrequencyDataModule, split: str, index: Sequence[int]) -> Tensor:
    if not index:
        return torch.empty(0)
    options = {**data.hparams, "residency": "disk"}
    dataset: Any = make_dataset(data.source, split, data.channel_set, data.decoder, options, data.crop_sizes)
    batch = dataset.collate(dataset.__getitems__(list(index)))
    found = dataset.to_device(batch["payload"])
    channels = torch.zeros(len(index), NUM_CHANNELS, *found.shape[-2:])
    channels[:, list(data.channel_set.indices)] = found.float()
    return channels_to_planes(channels)


def _picture(planes: Tensor) -> Image.Image:
    pixels = ycbcr_to_rgb(planes).round().to(torch.uint8).permute(1, 2, 0).numpy()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((_SIDE, _SIDE))
    return image


def plot_mistakes(mistakes: Sequence[Mistake]) -> Plot:
    """A contact sheet of wrongly classified images, with the file names as its numbers."""
    numbers: Numbers = [["path", "class", "predicted", "probability", "class_probability"]]
    for each in mistakes:
        texts = (printable(text) for text in (each.path, each.name, each.predicted))
        numbers.append([*texts, each.probability, each.own])
    alternative = f"Contact sheet of the {len(mistakes)} worst-classified images."
    return Plot("worst", alternative, lambda: _draw_sheet(mistakes), numbers)


def _draw_sheet(mistakes: Sequence[Mistake]) -> Figure:
    cell, title = WIDTH / _COLUMNS, 24
    height = -(-len(mistakes) // _COLUMNS) * (cell + title)
    figure = new_figure(height)
    figure.set_layout_engine("none")
    # One pair of axes in points: a pair for each picture takes a second.
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for place, each in enumerate(mistakes):
        left, top = place % _COLUMNS * cell, place // _COLUMNS * (cell + title)
        text = f"{shorten(each.name, 17)}\n→ {shorten(each.predicted, 15)}"
        axes.text(left + 3, top + title - 3, text, fontsize=7, va="bottom")
        if each.picture is not None:
            box = (left + 3, left + cell - 3, top + cell + title - 6, top + title)
            axes.imshow(np.asarray(each.picture), extent=box, aspect="auto", clip_on=False)
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))  # imshow has changed them
    return figure
