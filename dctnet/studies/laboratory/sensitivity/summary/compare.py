"""Does one network rely on other bands than another? Differences by band, with intervals that hold together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dctnet.studies.intervals import Interval, mean_of_answers
from dctnet.studies.laboratory.sensitivity.summary.groups import Group, Span

RMS = 0.08  # of the noise that is compared
# What is compared, and how a loss of accuracy is put into words.
KINDS = {"removed": "without", "noise": "with noise in"}


@dataclass(frozen=True)
class Difference:
    """Change of the accuracy of one network minus that of another, in points: negative if the first loses more."""

    kind: str
    span: Span
    interval: Interval


@dataclass(frozen=True)
class Comparison:
    """Two networks band by band.

    Args:
        one: A network.
        other: The network that it is compared with.
        differences: Of each kind and each band that both have; their intervals hold together.
        unmatched: Bands that only one of the two has.
    """

    one: Group
    other: Group
    differences: Sequence[Difference]
    unmatched: Sequence[Span]

    @property
    def shown(self) -> list[Difference]:
        """Those whose interval excludes 0."""
        return [each for each in self.differences if each.interval.sign]

    @property
    def verdict(self) -> str:
        """The answer in words."""
        question = f"Does {self.one.name} rely on other bands than {self.other.name}?"
        if not self.differences:
            return f"{question} It cannot be said: they have no band in common, in cycles per image."
        count = len(self.differences)
        answer = "Yes." if self.shown else f"Not shown: none of the {count} differences excludes 0."
        found = [self._sentence(each) for each in self.shown]
        scope = f"{self.one.seeds} against {self.other.seeds}"
        if 1 in (len(self.one.studies), len(self.other.studies)):
            scope += "; of a network with one seed this is about that one training, not about others like it"
        return " ".join([question, answer, *found, f"({count} differences, intervals that hold together; {scope}.)"])

    def _sentence(self, found: Difference) -> str:
        less = found.interval.value > 0
        size = found.interval if less else -found.interval
        return (
            f"{KINDS[found.kind].capitalize()} {found.span} cycles per image, {self.one.name} loses "
            f"{size.fixed(1)} points {'less' if less else 'more'}."
        )


def change(group: Group, kind: str, span: Span) -> Interval:
    """Change of the accuracy of one network without a band or with noise in it, in points."""
    return mean_of_answers(_changes(group, kind, span))


def _changes(group: Group, kind: str, span: Span) -> np.ndarray:
    name = group.bands[span]
    return group.changes("noise", name, RMS, "noise") if kind == "noise" else group.changes(kind, name)


def compare(one: Group, other: Group) -> Comparison:
    """Compares two networks on the bands that both have."""
    common = [span for span in one.bands if span in other.bands]
    count = len(common) * len(KINDS)
    differences = [
        Difference(kind, span, mean_of_answers(_changes(one, kind, span), _changes(other, kind, span), count))
        for kind in KINDS
        for span in common
    ]
    return Comparison(one, other, differences, sorted(set(one.bands) ^ set(other.bands)))
