"""Draws docs/augmentation.jpg, one photograph under each operation; or measures the share of a training step.

    python -m tests.stress.augmentation picture PHOTOGRAPH docs/augmentation.jpg
    python -m tests.stress.augmentation time [--rounds 7]
    python -m tests.stress.augmentation borders PHOTOGRAPHS

``borders`` measures how far sharpness and blur of channels are from those of pixels, on a folder of photographs.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dctnet.data.augment_pixels import PixelOperations
from dctnet.data.augmentation import OPERATIONS, Augmentation
from dctnet.data.folders import list_files
from dctnet.data.mixing import Mixing
from dctnet.data.planes import read_channels
from dctnet.frequency.augment import ChannelOperations
from dctnet.frequency.channels import channels_to_planes, planes_to_channels
from dctnet.frequency.color import rgb_to_ycbcr, ycbcr_to_rgb
from dctnet.frequency.selections import named_channels
from dctnet.training.module import FrequencyClassifier

ALL = named_channels("all")
STRENGTH, BATCH, SIDE = 2.0, 64, 28
# Where the picture shows more with other random numbers.
SHOWN = {"turn": 0.0, "hue": 0.1, "erasing": 0.6, "blur": 1.0}


def picture(photograph: str, out: str) -> None:
    """Draws an operation a panel, made from channels by the inverse DCT, at the strength of randaugment."""
    from matplotlib.figure import Figure

    on, x = ChannelOperations(range(192)), read_channels([photograph], ALL, 160, 1.0)
    panels = {"the photograph": x}
    for name, (_, count, act) in OPERATIONS.items():
        u = torch.full((1, count), SHOWN.get(name, 0.9))
        if name == "frequency_dropout":
            u[:, 1:] = torch.rand(1, count - 1, generator=torch.Generator().manual_seed(0))
        panels[name] = act(on, x, u, STRENGTH)
    for name in ("basic", "randaugment"):
        augmentation = Augmentation(name, ALL, "channels", 0)
        panels[name] = augmentation(x, augmentation.draw(0, np.array([4])))
    figure = Figure((9, 9.6), layout="constrained")
    for axes, (name, channels) in zip(figure.subplots(4, 4).flat, panels.items(), strict=True):
        axes.imshow(ycbcr_to_rgb(channels_to_planes(channels))[0].permute(1, 2, 0) / 255)
        axes.set_title(name, fontsize=10)
        axes.axis("off")
    figure.savefig(out, dpi=80, pil_kwargs={"quality": 90, "subsampling": 0})


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(rounds: int) -> None:
    """Prints the median time of each augmentation, interleaved with training steps of ResNet-18 on 24 channels."""
    chosen = named_channels("square-24")
    model = FrequencyClassifier([str(i) for i in range(10)], list(chosen.indices))
    model.network.normalisation.fit(torch.zeros(24), torch.ones(24))
    optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9)
    x, target, indices = torch.randn(BATCH, 24, SIDE, SIDE), torch.arange(BATCH) % 10, np.arange(BATCH)
    rgb = 128 + torch.randn(BATCH, 3, 112, 112)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = model.loss(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def augment(spec: str, kind: Any = "channels") -> Callable[[], Tensor]:
        augmentation, images = Augmentation(spec, chosen, kind, 0), x if kind == "channels" else rgb
        return lambda: augmentation(images, augmentation.draw(0, indices))

    mixing = Mixing(0.8, 1.0, 0, "channels")
    runs = {name: augment(name) for name in ("basic", "randaugment", "turn", "erasing", "shift")}
    runs |= {f"{name}, RGB at 112 px": augment(name, "rgb") for name in ("basic", "randaugment")}
    runs["mixup and cutmix"] = lambda: mixing(x, target, mixing.draw(0, indices), 10)
    runs = {"training step, bf16": step, **runs}
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):  # the first warms up
        for name, run in runs.items():
            taken[name].append(_seconds(run))
    medians = {name: statistics.median(seconds[1:]) for name, seconds in taken.items()}
    for name, median in medians.items():
        print(f"{name:<28}{1000 * median:8.1f} ms{100 * median / medians['training step, bf16']:8.2f} %")


def borders(folder: str) -> None:
    """Prints how far filtered channels are from filtered pixels, relative to what the filter changes."""
    channels = read_channels(list_files(Path(folder))[::40][:64], ALL, 224, 1.0)
    rgb = ycbcr_to_rgb(channels_to_planes(channels), clamp=False) - 128
    for name, value in [("sharpness", 0.0), ("sharpness", 0.5), ("sharpness", 2.0), ("blur", 0.75), ("blur", 1.5)]:
        values = torch.full((len(channels),), value)
        found = channels_to_planes(getattr(ChannelOperations(range(192)), name)(channels, values))
        expected = rgb_to_ycbcr(getattr(PixelOperations(), name)(rgb, values) + 128)
        difference, change = found - expected, expected - channels_to_planes(channels)
        low = torch.tensor(named_channels("square-24").indices)
        in_low = planes_to_channels(found)[:, low] - planes_to_channels(expected)[:, low]
        print(
            f"{name} {value}: RMS {difference.square().mean().sqrt():.2f} levels, of the change "
            f"{difference.norm() / change.norm():.2f}; of the channels of square-24 "
            f"{in_low.norm() / planes_to_channels(expected)[:, low].norm():.4f}"
        )


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    draw = verbs.add_parser("picture")
    draw.add_argument("photograph")
    draw.add_argument("out")
    verbs.add_parser("time").add_argument("--rounds", type=int, default=7)
    verbs.add_parser("borders").add_argument("folder")
    args = vars(parser.parse_args())
    {"picture": picture, "time": measure, "borders": borders}[args.pop("verb")](**args)


if __name__ == "__main__":
    main()
