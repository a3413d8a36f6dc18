"""The precision that ``--trainer.precision auto`` stands for."""

from typing import Literal

import torch


def choose_precision(accelerator: str) -> Literal["bf16-mixed", "32-true"]:
    """``bf16-mixed`` where the processor or GPU multiplies bfloat16 natively, else ``32-true``.

    Elsewhere bfloat16 is emulated, which is slower than float32.

    Args:
        accelerator: The trainer's.
    """
    if accelerator != "cpu" and torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities: dict[str, bool] = getattr(
            torch.cpu, "get_capabilities", dict
        )()  # not in every release since 2.11
        native = bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    return "bf16-mixed" if native else "32-true"
