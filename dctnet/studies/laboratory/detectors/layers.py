"""Layers of a network: their names, their exact receptive fields, their convolutions, and responses to images."""

import copy
import dataclasses
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, fx, nn
from torchvision.models.feature_extraction import NodePathTracer, create_feature_extractor

from dctnet.errors import UserError, did_you_mean, first_line
from dctnet.frequency.dct import BLOCK
from dctnet.model.gates import sample_gate
from dctnet.model.network import FrequencyNet
from dctnet.studies.laboratory.subject import Subject

_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Mish, nn.Softplus)
_PROBES = (256, 512, 1024)  # widths in pixels of the images that measure a receptive field


@dataclass(frozen=True)
class Field:
    """Receptive field in pixels: position o reads pixels start + jump·o to start + jump·o + size − 1, by both axes."""

    size: int
    jump: int
    start: int

    def center(self, position: int) -> float:
        """Coordinate of the middle of the field; half of an odd number if the size is even."""
        return self.start + self.jump * position + (self.size - 1) / 2


class Network:
    """A traced network, whose layers can be read.

    Args:
        subject: The network. Of a network on channels the backbone is traced, behind normalisation and gate.

    Raises:
        UserError: It cannot be traced by torch.fx.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        inner = subject.network
        self.module: nn.Module = inner.backbone if isinstance(inner, FrequencyNet) else inner
        self.scale = 1 if subject.kind == "rgb" else BLOCK  # pixels per value that the module reads
        tracer = NodePathTracer()
        try:
            self.graph: fx.Graph = tracer.trace(self.module)
        except Exception as error:  # of a network that we do not know
            raise UserError(f"{subject.name}: its layers cannot be traced: {first_line(error)}") from error
        self.names: dict[fx.Node, str] = dict(tracer.node_to_qualname)
        self._fields: dict[str, Field | None] = {}

    def input(self, planes: Tensor) -> Tensor:
        """What the traced module reads, from planes (N, 3, S, S), 0 … 255."""
        inner, values = self.subject.network, self.subject.input(planes)
        if not isinstance(inner, FrequencyNet):
            return values
        values = inner.normalisation(values)
        return values if inner.gate is None else values * sample_gate(inner.gate(values), 1.0, False)[..., None, None]

    @cached_property
    def blocks(self) -> list[str]:
        """Names of the residual blocks in order; of a network without any, of the activations."""
        added = [name for node, name in self.names.items() if _is_sum(node) and "." in name]
        blocks = list(dict.fromkeys(name.rpartition(".")[0] for name in added))
        return blocks or [name for node, name in self.names.items() if self._is(node, _ACTIVATIONS)]

    def check(self, layer: str) -> None:
        """Raises UserError, with the nearest name, if there is no such layer."""
        known = [name for node, name in self.names.items() if node.op not in ("placeholder", "get_attr")]
        prefixes = [".".join(name.split(".")[:n]) for name in known for n in range(1, name.count(".") + 1)]
        if layer not in [*known, *prefixes]:
            hint = did_you_mean(layer, dict.fromkeys([*self.blocks, *known]))
            raise UserError(f"--layer {layer}: {self.subject.name} has no such layer.{hint}")

    def read(self, layers: Sequence[str], module: nn.Module | None = None) -> Callable[[Tensor], dict[str, Tensor]]:
        """A function from the module's input to the outputs of layers, (N, C, H, W) each; it computes nothing behind.

        Args:
            layers: Their names.
            module: A copy of the traced module with other weights.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about differences of training mode
            return create_feature_extractor(module or self.module, {name: name for name in layers}).eval()

    def field(self, layer: str, check_stop: Callable[[], None] = lambda: None) -> Field | None:
        """The receptive field of a layer; None if it sees the whole image. Measuring it can take a minute."""
        if layer not in self._fields:
            self._fields[layer] = self._measure_field(layer, check_stop)
        return self._fields[layer]

    def _measure_field(self, layer: str, check_stop: Callable[[], None]) -> Field | None:
        module = copy.deepcopy(self.module).double()
        read = self.read([layer], module)
        channels = next(len(m.weight[0]) * m.groups for m in module.modules() if isinstance(m, nn.Conv2d))
        widths = [width // self.scale for width in _PROBES]
        try:
            found = [measure_field(lambda x: read(x)[layer], channels, widths, axis, check_stop) for axis in (-1, -2)]
        except (RuntimeError, AssertionError) as error:
            raise UserError(
                f"{self.subject.name}: layer {layer} fails at other image sizes: {first_line(error)}"
            ) from error
        if found[0] != found[1]:
            raise UserError(f"{self.subject.name}: layer {layer} has a receptive field that is not square: {found}")
        return found[0] and Field(*(self.scale * value for value in dataclasses.astuple(found[0])))

    def depth(self, layer: str) -> float:
        """Convolutions on the longest way to a layer, as a share of those, and linear layers, on that to the logits."""
        depths: dict[fx.Node, int] = {}
        for node in self.graph.nodes:
            weighted = self._is(node, (nn.Conv2d, nn.Linear))
            depths[node] = max((depths[each] for each in node.all_input_nodes), default=0) + weighted
        return depths[self._last(layer)] / max(depths.values())

    def before_activation(self, layer: str) -> str:
        """Name of the layer that the activation function at a layer's end reads; the layer itself if it has none."""
        last = self._last(layer)
        return self.names[last.all_input_nodes[0]] if self._is(last, _ACTIVATIONS) else layer

    def conv_before(self, layer: str) -> str | None:
        """Name of the spatial convolution from which a layer is computed, without another convolution between."""
        found = self._convs([self._last(layer)], lambda node: node.all_input_nodes)
        return next((name for name in found if self.conv(name).kernel_size != (1, 1)), None)

    def convs_after(self, layer: str) -> list[str]:
        """Names of the convolutions that read a layer, without another convolution between."""
        return self._convs(list(self._last(layer).users), lambda node: list(node.users))

    def conv(self, name: str) -> nn.Conv2d:
        """A convolution by name."""
        found = self.module.get_submodule(name)
        assert isinstance(found, nn.Conv2d)
        return found

    def scale_after(self, conv: str) -> Tensor:
        """Factor of each output of a convolution in the batch norm that follows it: (C,); 1 without one."""
        node = next(node for node, name in self.names.items() if name == conv)
        for user in node.users:
            norm = self.module.get_submodule(str(user.target)) if user.op == "call_module" else None
            if isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None:
                scale = torch.rsqrt(norm.running_var + norm.eps)
                return scale if norm.weight is None else scale * norm.weight.detach()
        return torch.ones(self.conv(conv).out_channels)

    def _last(self, layer: str) -> fx.Node:
        return [node for node, name in self.names.items() if name == layer or name.startswith(f"{layer}.")][-1]

    def _is(self, node: fx.Node, types: tuple[type[nn.Module], ...]) -> bool:
        return node.op == "call_module" and isinstance(self.module.get_submodule(str(node.target)), types)

    def _convs(self, nodes: list[fx.Node], onward: Callable[[fx.Node], Iterable[fx.Node]]) -> list[str]:
        found, seen = [], set(nodes)
        for node in nodes:  # grows
            if self._is(node, (nn.Conv2d,)):
                found.append(self.names[node])
                continue
            new = [each for each in onward(node) if each not in seen]
            seen.update(new)
            nodes.extend(new)
        return found


def _is_sum(node: fx.Node) -> bool:
    """Whether a node adds two activations."""
    return (
        node.op in ("call_function", "call_method")
        and node.name.rstrip("_0123456789") in ("add", "iadd")
        and len(node.all_input_nodes) == 2
    )


def measure_field(
    layer: Callable[[Tensor], Tensor],
    channels: int,
    widths: Sequence[int],
    axis: int,
    check_stop: Callable[[], None] = lambda: None,
) -> Field | None:
    """Measures a receptive field along one axis: NaN spreads from a pixel to exactly the positions that read it.

    Args:
        layer: (N, C, H, W) in float64 to (N, K, H', W'). In float64 convolutions are exactly local, unlike Winograd's.
        channels: C.
        widths: Tried one after the other, until the field fits.
        axis: −1 or −2.
        check_stop: Called before each image.

    Returns:
        None if every position reads the whole width.

    Raises:
        RuntimeError: The layer does not take such images.
    """
    for width in widths:
        first: dict[int, int] = {}  # position to the first pixel that it reads
        end: dict[int, int] = {}  # position to the pixel behind the last that it reads
        before: tuple[int, int] | None = None
        for cut in range(width // 2, width):
            check_stop()
            image = torch.zeros(2, channels, width // 4, width, dtype=torch.float64)
            image[0, ..., :cut] = torch.nan
            image[1, ..., cut:] = torch.nan
            with torch.inference_mode():
                output = layer(image.transpose(-1, axis)).transpose(-1, axis)
            if output.shape[-1] == 1:  # of a global pooling, at every width
                return None
            alive = ~output.isnan().any(1).any(-2)
            if not alive.any(1).all():
                break
            left, right = int(alive[0].nonzero()[0]), int(alive[1].nonzero()[-1])
            if before is not None and left != before[0]:
                first[before[0]] = cut - 1
            if before is not None and right != before[1]:
                end[right] = cut
            before = left, right
            if len(first) >= 2 and end:
                a, b = sorted(first)[:2]
                jump = (first[b] - first[a]) // (b - a)
                start, (position, stop) = first[a] - jump * a, next(iter(end.items()))
                return Field(stop - jump * position - start, jump, start)
    return None
