"""Which options of the classifier can be, and be together."""

import math
from collections.abc import Mapping
from typing import Any

from dctnet.errors import UserError

_MAY_BE_NULL = {"keep", "weights"}


def check_options(options: Mapping[str, Any]) -> None:
    """Refuses what cannot be.

    Args:
        options: Of the classifier, by name.

    Raises:
        UserError: The first of them. Says what would be right.
    """
    for name, value in options.items():
        # A configuration file's null comes unchecked: jsonargparse takes it for an option that is not given.
        if value is None and name not in _MAY_BE_NULL:
            raise UserError(f"--model.{name} must not be null; leave it out for the default")
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"--model.{name} must be finite, got {value}")
    if len(options["classes"]) < 2:
        raise UserError(f"a classifier needs at least two classes, got {options['classes']}")
    gate, keep, weight = options["gate"], options["keep"], options["sparsity_weight"]
    if gate == "none" and (keep is not None or weight):
        raise UserError("--model.keep and --model.sparsity_weight need --model.gate static or dynamic")
    if options["stem"] != "torchvision" and options["input"] != "rgb":
        raise UserError(f"--model.stem {options['stem']} reads pixels: it needs --model.input rgb")
    if options["layer2_stride"] != 2 and options["input"] == "rgb" and options["stem"] == "torchvision":
        raise UserError("--model.layer2_stride 1 is for channels and patches; torchvision's network has stride 2")
    if gate != "none" and options["input"] == "rgb":
        raise UserError("--model.gate selects frequency channels; with --model.input rgb it must be none")
    if keep is not None and not 1 <= keep <= len(options["channels"]):
        raise UserError(f"--model.keep must be 1…{len(options['channels'])}, the channels that come in; got {keep}")
    if options["weight_decay"] < 0 or not 0 <= options["momentum"] < 1:
        given = f"{options['weight_decay']} and {options['momentum']}"
        raise UserError(
            f"--model.weight_decay must be at least 0, --model.momentum at least 0 and below 1; got {given}"
        )
    for name in ("lr", "gate_lr", "tau_start", "tau_end"):
        if not options[name] > 0:
            raise UserError(f"--model.{name} must be above 0, got {options[name]}")
    for name in ("label_smoothing", "warmup", "gate_warmup"):
        if not 0 <= options[name] < 1:
            raise UserError(f"--model.{name} must be at least 0 and below 1, got {options[name]}")
    if weight < 0:
        raise UserError(f"--model.sparsity_weight must be at least 0, got {weight}")
