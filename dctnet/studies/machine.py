"""The machine that a study runs on."""

import os
import platform
from pathlib import Path

import torch


def machine() -> str:
    """Processor, number of cores, and GPU, in one line."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    device = f", {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else ""
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores{device}"
