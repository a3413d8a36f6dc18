"""Connection to a Ray cluster."""

import logging
import socket
import subprocess
import sys
from typing import Any

from dctnet.errors import UserError, first_line

_REACH, _ANSWER = 5.0, 60.0  # seconds to reach the head node, and for its answer


def connect(address: str) -> Any:
    """Connects this process to a Ray cluster; returns the module ``ray``.

    Raises:
        UserError: Ray is not installed, no cluster answers at the address, or this machine is not one of its nodes.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError("--executor ray needs Ray: pip install 'dctnet[cluster]'") from error
    host, _, port = address.rpartition(":")
    what = f"--address {address}: no Ray cluster"
    if not host or not port.isdecimal():
        raise UserError(f"{what}; must be HOST:PORT of its head node, such as 10.0.0.1:6379")
    advice = "ray status on the head node shows whether it runs"
    try:
        socket.create_connection((host, int(port)), _REACH).close()
        # In a process of its own: where something else answers, Ray tries for minutes, and can abort the process.
        ask = [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address]
        subprocess.run(ask, capture_output=True, check=True, timeout=_ANSWER)
    except (OSError, OverflowError, subprocess.SubprocessError) as error:
        reason = "" if isinstance(error, subprocess.SubprocessError) else f" ({first_line(error)})"
        raise UserError(f"{what} answers there{reason}; {advice}") from error
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"--address {address}: a Ray cluster answers, but this machine cannot join it ({first_line(error)}); "
            f"run the command on one of its nodes, or make this machine one: ray start --address={address}"
        ) from error
    return ray
