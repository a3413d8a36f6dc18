"""Cost and step time of one network of each family: on pixels, and on channels behind its stem and at 1/8.

    python -m tests.stress.backbones > table.md

The three read the same grids: RGB at half the size that the network was made for, channels at half their native size. A
step is forward, backward and SGD on one random batch; the steps of the three alternate, and the ratio is that of the
medians. GMAC and parameters are at the full sizes, for ten classes.
"""

import argparse
import statistics
import time

import torch
from torch.nn import functional as F

from dctnet.model.backbones.build import geometry
from dctnet.model.backbones.families import find_family
from dctnet.model.network import FrequencyNet

NAMES = (
    "resnet18", "mobilenet_v2", "regnety_002", "efficientnet_b0", "mobilenetv4_conv_small", "convnext_atto",
    "deit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "csatv2",
)  # fmt: skip
ARMS = {"RGB": ("rgb", "stem"), "stem": ("channels", "stem"), "stride8": ("channels", "stride8")}
CLASSES = [str(number) for number in range(10)]


def build(name: str, arm: str, share: int) -> FrequencyNet:
    """A network for its native size, divided by ``share``."""
    input, entry = ARMS[arm]
    size = geometry(name, None if input == "rgb" else entry).native // share
    channels = "square-24" if input == "channels" else ()
    return FrequencyNet(CLASSES, channels, size, input, backbone=name, entry=entry)


def step_times(networks: dict[str, FrequencyNet], batch: int, rounds: int) -> dict[str, float]:
    """Median seconds of a training step of each network; the first round warms up."""
    taken: dict[str, list[float]] = {arm: [] for arm in networks}
    inputs = {arm: torch.randn(batch, *network.input_shape) for arm, network in networks.items()}
    optimizers = {arm: torch.optim.SGD(network.parameters(), 0.01) for arm, network in networks.items()}
    target = torch.arange(batch) % len(CLASSES)
    for _ in range(rounds + 1):
        for arm, network in networks.items():
            began = time.perf_counter()
            optimizers[arm].zero_grad()
            F.cross_entropy(network(inputs[arm]), target).backward()
            optimizers[arm].step()
            taken[arm].append(time.perf_counter() - began)
    return {arm: statistics.median(each[1:]) for arm, each in taken.items()}


def row(name: str, batch: int, rounds: int) -> str:
    """A row of the table."""
    arms = [arm for arm in ARMS if arm != "stride8" or find_family(name).stages]
    with torch.device("meta"):
        full = {arm: build(name, arm, 1) for arm in arms}
        cost = {arm: network.cost() for arm, network in full.items()}
    seconds = step_times({arm: build(name, arm, 2) for arm in arms}, batch, rounds)
    cells = [name, f"{cost['stem']['parameters'] / 1e6:.2f}"]
    for arm in ARMS:
        if arm in arms:
            cells += [f"{full[arm].native_size}", f"{cost[arm]['gmac']:.3f}"]
            cells += [f"{seconds[arm] / seconds['RGB']:.2f}"] if arm != "RGB" else []
        else:
            cells += ["–"] * 3
    return f"| {' | '.join(cells)} | {' | '.join(['not measured yet'] * 3)} |"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="+", default=NAMES)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    head = ["backbone", "M parameters", "RGB, px", "GMAC", "stem, px", "GMAC", "step", "stride8, px", "GMAC", "step"]
    head += [f"accuracy, {arm}" for arm in ARMS]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for name in options.names:
        print(row(name, options.batch, options.rounds), flush=True)


if __name__ == "__main__":
    main()
