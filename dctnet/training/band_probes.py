"""Accuracy of a network with only and without each frequency band, and its errors by response frequency."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from dctnet.frequency.bands import Band, band_mask, octave_bands
from dctnet.frequency.channels import ChannelSet, PlanesToChannels
from dctnet.frequency.color import ycbcr_to_rgb
from dctnet.frequency.filtering import filtered_errors, gaussian_kernel, squared_distances, width_of

IMAGES = 256
# Quantities: ``chance``, the share of the most frequent class; ``all``, ``only`` and ``without`` a band, accuracies;
# ``e_low`` and ``e_high`` of the filtering method at a width, with the neighbours that it averages over.
COLUMNS = ("epoch", "quantity", "low", "high", "neighbours", "width", "value", "correct")
NEIGHBOURS = (4, 16, 64)  # numbers of images over which the filtering method averages
_BATCH = 64
_MOST_KEPT = 1 << 29  # bytes
Row = dict[str, str | int | float]


class BandProbes:
    """Measures networks on the same images.

    Args:
        planes: Y, Cb, Cr, 0 … 255, (N, 3, S, S), float32.
        targets: (N,)
        to_input: What the networks read, as a function of planes.
        bands: Default: octaves.
    """

    def __init__(
        self,
        planes: Tensor,
        targets: Tensor,
        to_input: Callable[[Tensor], Tensor],
        bands: Sequence[Band] | None = None,
    ) -> None:
        self.planes, self.targets, self._to_input = planes, targets, to_input
        size = planes.shape[-1]
        self.bands = octave_bands(size) if bands is None else list(bands)
        self._masks = [band_mask(band, size) for band in self.bands]
        distances = squared_distances(planes)
        counts = [count for count in NEIGHBOURS if 2 * count <= len(planes)]
        self._widths = {count: width_of(distances, count) for count in counts}
        self._kernels = {count: gaussian_kernel(distances, width) for count, width in self._widths.items()}
        self._kept: list[list[Tensor]] | None = None

    def measure(self, network: Callable[[Tensor], Tensor], epoch: int) -> list[Row]:
        """Rows of one epoch.

        Args:
            network: Logits (N, classes) from inputs, in evaluation mode.
            epoch: Number of epochs trained.
        """
        with torch.inference_mode():
            batches = [[network(input).float().cpu() for input in batch] for batch in self._batches()]
        logits = [torch.cat(parts) for parts in zip(*batches, strict=True)]
        rows = [_accuracy(epoch, "all", None, logits[0], self.targets)]
        for place, band in enumerate(self.bands):
            rows.append(_accuracy(epoch, "only", band, logits[1 + 2 * place], self.targets))
            rows.append(_accuracy(epoch, "without", band, logits[2 + 2 * place], self.targets))
        return [self._chance(epoch), *rows, *self._errors(epoch, logits[0])]

    def _batches(self) -> Iterable[list[Tensor]]:
        """For each batch, the inputs with all bands, and only and without each; kept from the first epoch if small."""
        if self._kept is not None:
            return self._kept
        batches = ([self._to_input(each) for each in self._filtered(part)] for part in self.planes.split(_BATCH))
        one = self._to_input(self.planes[:1]).nbytes
        if (1 + 2 * len(self.bands)) * len(self.planes) * one > _MOST_KEPT:
            return batches
        self._kept = list(batches)
        return self._kept

    def _filtered(self, planes: Tensor) -> Iterator[Tensor]:
        """The images, and for each band only and without it."""
        yield planes
        mean, spectrum = planes.mean((-2, -1), keepdim=True), torch.fft.rfft2(planes)
        for mask in self._masks:
            part = torch.fft.irfft2(spectrum * mask, s=planes.shape[-2:])
            yield mean + part
            yield planes - part

    def _chance(self, epoch: int) -> Row:
        share = float(self.targets.bincount().max()) / len(self.targets)
        return _row(epoch=epoch, quantity="chance", value=share)

    def _errors(self, epoch: int, logits: Tensor) -> list[Row]:
        outputs = logits.double().softmax(1)
        targets = F.one_hot(self.targets, logits.shape[1]).double()
        rows = []
        for count, kernel in self._kernels.items():
            for quantity, value in zip(("e_low", "e_high"), filtered_errors(kernel, targets, outputs), strict=True):
                width = self._widths[count]
                rows.append(_row(epoch=epoch, quantity=quantity, value=value, neighbours=count, width=width))
        return rows


def _row(**values: str | int | float) -> Row:
    return {name: values.get(name, "") for name in COLUMNS}


def _accuracy(epoch: int, quantity: str, band: Band | None, logits: Tensor, targets: Tensor) -> Row:
    right = (logits.argmax(1) == targets).tolist()
    # Letters: a table's reader could take digits for a number.
    correct = "".join("r" if each else "w" for each in right)
    ends = {} if band is None else {"low": band.low, "high": band.high}
    return _row(epoch=epoch, quantity=quantity, value=sum(right) / len(right), correct=correct, **ends)


def network_input(input: str, channels: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """What a network of dctnet reads, as a function of planes.

    Args:
        input: ``channels`` or ``rgb``.
        channels: Indices of the channels.
    """
    return ycbcr_to_rgb if input == "rgb" else PlanesToChannels(ChannelSet("of the network", tuple(channels)))
