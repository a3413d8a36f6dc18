"""Image classifiers on block-DCT frequency channels, and the channels worth keeping.

The public names are imported on first use, so that ``dctnet --help`` does not import torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dctnet.data.coefficients import read_coefficients
    from dctnet.frequency.channels import ChannelSet
    from dctnet.frequency.dct import block_dct
    from dctnet.model.network import FrequencyNet
    from dctnet.training.checkpoint import load

__all__ = ["ChannelSet", "FrequencyNet", "__version__", "block_dct", "load", "read_coefficients"]
__version__ = "0.1.0"

_MODULES = {
    "ChannelSet": "dctnet.frequency.channels",
    "FrequencyNet": "dctnet.model.network",
    "block_dct": "dctnet.frequency.dct",
    "load": "dctnet.training.checkpoint",
    "read_coefficients": "dctnet.data.coefficients",
}


def __getattr__(name: str) -> Any:
    """Imports a public name from its module."""
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'dctnet' has no attribute {name!r}")
