"""Range checks for options, whether they come from the command line, a configuration file or Python."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dctnet.errors import UserError

# Larger integers fit no tensor size, and Python cannot divide integers of some hundred digits as floats.
_MAX_INT = (1 << 63) - 1


@dataclass(frozen=True)
class Range:
    """Allowed values of an option; the default allows every finite number, and values that are not numbers.

    ``at_least`` and ``at_most`` are inclusive, ``above`` and ``below`` exclusive; ``nullable`` allows None.
    """

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    nullable: bool = False

    def contains(self, value: float) -> bool:
        """Whether a number is within all four ends."""
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        """The range in words, as it follows "must be"."""
        ends = {"at least": self.at_least, "above": self.above, "at most": self.at_most, "below": self.below}
        words = " and ".join(f"{name} {end}" for name, end in ends.items() if end is not None)
        return f"{words}, or null" if self.nullable else words


def check_options(prefix: str, options: Mapping[str, Any], table: Mapping[str, Range]) -> None:
    """Raises an error for the first option that is out of range.

    Args:
        prefix: Group of the options on the command line, such as ``data``.
        options: Values by name. Those that the table does not name must be finite and not None.
        table: Allowed range by name.

    Raises:
        UserError: Names the option, its value and its range.
    """
    for name, value in options.items():
        allowed, option = table.get(name, Range()), f"--{prefix}.{name}"
        if value is None:
            # jsonargparse passes a configuration file's null through without checking its type.
            if not allowed.nullable:
                raise UserError(f"{option} must not be null; leave it out for the default")
        elif isinstance(value, int) and abs(value) > _MAX_INT:
            raise UserError(f"{option} must be a number of at most 63 bits, got {repr(value)[:80]}")
        elif isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{option} must be finite, got {value}")
        elif isinstance(value, (int, float)) and not allowed.contains(value):
            raise UserError(f"{option} must be {allowed}, got {value}")
