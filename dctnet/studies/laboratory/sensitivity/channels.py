"""The 192 channels one by one and in order of importance, signs and magnitudes, amplitudes and phases."""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from dctnet.frequency.channels import NUM_CHANNELS, planes_to_channels
from dctnet.frequency.dct import block_dct
from dctnet.frequency.selections import named_channels, rank_channels
from dctnet.studies.laboratory.photographs import Photographs
from dctnet.studies.laboratory.sensitivity.answers import Answers, chunks, collect, compare, random_cycle, single
from dctnet.studies.laboratory.study import Measure, Measurement
from dctnet.studies.laboratory.subject import Subject

Method = Literal["swap", "mean", "noise_abs", "noise_rel"]
_ABSOLUTE, _RELATIVE = 32.0, 1.0  # RMS of noise: in the unit of coefficients; in deviations of the channel
STEPS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
CODINGS = {
    "dct_signs": "DCT: random signs",
    "dct_magnitudes": "DCT: magnitudes of another image",
    "fourier_phases": "Fourier: random phases",
    "fourier_amplitudes": "Fourier: amplitudes of another image",
}


class ChannelStudy:
    """Changes channels of a network's photographs.

    Args:
        subject: The network.
        photographs: Its photographs.
        batch: Images per forward pass.
        seed: Of permutations and noise.
    """

    def __init__(self, subject: Subject, photographs: Photographs, batch: int, seed: int) -> None:
        self.subject, self.targets, self.batch, self.seed = subject, photographs.targets, batch, seed
        self.planes = photographs.planes
        self.channels = planes_to_channels(photographs.planes)
        self.read = list(subject.channel_set.indices) if subject.channel_set else list(range(NUM_CHANNELS))
        self.mean, self.std = self.channels.mean((0, 2, 3)), self.channels.std((0, 2, 3))

    def generator(self, number: int) -> torch.Generator:
        """A generator of its own for each channel, so that a resumed study draws the same."""
        return torch.Generator().manual_seed(1000 * self.seed + number)

    def others(self, number: int) -> Tensor:
        """For each image another one: (N,), a random cycle through all."""
        return random_cycle(len(self.targets), self.generator(number))

    def changed(self, method: Method, channel: int) -> Tensor:
        """A channel of all images after a change: (N, S/8, S/8)."""
        values = self.channels[:, channel]
        if method == "swap":
            return values[self.others(channel)]
        if method == "mean":
            return self.mean[channel].expand_as(values)
        noise = torch.randn(values.shape, generator=self.generator(channel))
        return values + noise * (_ABSOLUTE if method == "noise_abs" else _RELATIVE * self.std[channel])

    def answers(self, changes: dict[int, Tensor], fixed: bool = False) -> Answers:
        """Answers with some channels replaced; with ``fixed``, under the gate's choice for the unchanged image."""

        def logits_of(part: slice) -> Tensor:
            channels = self.channels[part].clone()
            kept = self.subject.kept_channels(channels) if fixed else None
            for channel, values in changes.items():
                channels[:, channel] = values[part]
            return self.subject.from_channels(channels, kept)

        return collect(logits_of, self.targets, self.batch)

    @property
    def decides_per_image(self) -> bool:
        """Whether a gate chooses channels image by image, so that it reacts to a change."""
        return self.subject.kept_channels(self.channels[:1]) is not None

    def units(self, clean: Answers, methods: Sequence[Method]) -> Iterator[tuple[str, Measure]]:
        """Units that change one channel; where a gate decides image by image, with its choice free and fixed."""
        kinds = [(method, False) for method in methods]
        if self.decides_per_image:
            kinds += [(method, True) for method in methods]
        for method, fixed in kinds:
            part = f"{method}_fixed" if fixed else method
            for channel in self.read:

                def measure(
                    method: Method = method, channel: int = channel, fixed: bool = fixed, part: str = part
                ) -> list[Measurement]:
                    found = self.answers({channel: self.changed(method, channel)}, fixed)
                    return [compare(part, str(channel), channel, found, clean)]

                yield f"{part}/{channel}", measure

    def gradients(self) -> Tensor:
        """Mean over images of the norm of ∂loss/∂channel, times the channel's deviation: (192,).

        The block DCT is orthonormal, so the gradient of the coefficients is the DCT of the gradient of the planes.
        """
        total = torch.zeros(NUM_CHANNELS, dtype=torch.float64)
        for part in chunks(len(self.targets), self.batch):
            planes = self.planes[part].clone().requires_grad_()
            with torch.enable_grad():
                loss = functional.cross_entropy(self.subject(planes), self.targets[part], reduction="sum")
                (gradient,) = torch.autograd.grad(loss, planes)
            total += block_dct(gradient).flatten(1, 2).flatten(2).norm(dim=2).double().sum(0)
        return total / len(self.targets) * self.std.double()

    def gradient_rows(self) -> list[Measurement]:
        """A row per channel that the network reads."""
        found = self.gradients()
        return [single("gradient", str(c), c, len(self.targets), float(found[c]), None) for c in self.read]

    def curve_units(self, clean: Answers, order: Sequence[int], name: str) -> Iterator[tuple[str, Measure]]:
        """Units of deletion and insertion: the first K channels of an order are set to their means, or all others."""
        for count in sorted({min(step, len(self.read)) for step in STEPS}):
            for part, chosen in (("deletion", order[:count]), ("insertion", order[count:])):

                def measure(part: str = part, chosen: Sequence[int] = chosen, count: int = count) -> list[Measurement]:
                    found = self.answers({c: self.changed("mean", c) for c in chosen})
                    return [compare(f"{part}_{name}", str(count), count, found, clean)]

                yield f"{part}_{name}/{count}", measure

    def by_frequency(self) -> list[int]:
        """The channels that the network reads, the lowest frequency first, in zigzag order."""
        read = set(self.read)
        return [channel for channel in rank_channels(named_channels("all")) if channel in read]

    def coding_units(self, clean: Answers) -> Iterator[tuple[str, Measure]]:
        """Units that destroy signs, magnitudes, phases or amplitudes, and leave the others as they are."""
        for number, name in enumerate(CODINGS):

            def measure(name: str = name, number: int = number) -> list[Measurement]:
                found = collect(lambda part: self._coded(name, number, part), self.targets, self.batch)
                return [compare("coding", name, number, found, clean)]

            yield f"coding/{name}", measure

    def _coded(self, name: str, number: int, part: slice) -> Tensor:
        generator = self.generator(NUM_CHANNELS + len(CODINGS) + number)
        other = self.others(NUM_CHANNELS + number)[part]
        if name.startswith("dct"):
            channels = self.channels[part]
            if name == "dct_signs":
                # For all images at once, so that they do not depend on the batch.
                positive = torch.randint(2, self.channels.shape, generator=generator, dtype=torch.int8)[part]
                coded = channels * (2.0 * positive - 1)
            else:
                coded = self.channels[other].abs() * channels.sign()
            dc = [0, 64, 128]
            coded[:, dc] = channels[:, dc]
            return self.subject.from_channels(coded)
        spectrum = torch.fft.rfft2(self.planes[part])
        if name == "fourier_phases":
            noise = torch.randn(len(self.planes), 1, *self.planes.shape[2:], generator=generator)[part]
            amplitude, phase = spectrum.abs(), torch.fft.rfft2(noise).angle()
        else:
            amplitude, phase = torch.fft.rfft2(self.planes[other]).abs(), spectrum.angle()
        coded = torch.polar(amplitude, phase.expand_as(amplitude))
        coded[..., 0, 0] = spectrum[..., 0, 0]
        return self.subject(torch.fft.irfft2(coded, s=self.planes.shape[-2:]))
