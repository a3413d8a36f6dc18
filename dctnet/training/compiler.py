"""Tries torch.compile before a training that needs it."""

import torch

from dctnet.errors import UserError, first_line


def try_compiler(device: str) -> None:
    """Compiles and runs a small function; a training would find out only in its first step.

    Args:
        device: ``cpu`` or ``cuda``, which need different compilers.

    Raises:
        UserError: torch cannot compile on this machine. Gives the reason.
    """
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.zeros(8, device=device))
    except Exception as error:  # torch's compilers raise exceptions of many types
        raise UserError(
            f"--model.compile true: torch cannot compile on this machine: {first_line(error)}. It needs a C++ "
            "compiler, in PATH or named by CXX (for a GPU a C compiler, CC), and Python's headers; "
            "--model.compile false does without"
        ) from error
