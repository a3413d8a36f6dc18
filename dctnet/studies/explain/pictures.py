"""Pictures of the page, as PNG files within it."""

import base64
import io

import numpy as np
import torch
from markupsafe import Markup, escape
from PIL import Image
from torch import Tensor

from dctnet.frequency.channels import PER_COMPONENT
from dctnet.frequency.dct import BLOCK

_GAP = 2
_FRAME = (213, 94, 0)  # Okabe and Ito's vermillion
_GREY = 128
# Half of the range of a map, in deviations of the channel in this photograph.
_RANGE = 2.5


def picture(pixels: np.ndarray, text: str, crisp: bool = False) -> Markup:
    """An image element.

    Args:
        pixels: (rows, columns) or (rows, columns, 3), uint8.
        text: Alternative for screen readers.
        crisp: Enlarges without smoothing.
    """
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    content = base64.b64encode(file.getvalue()).decode()
    style = ' class="crisp"' if crisp else ""
    return Markup(f'<img{style} alt="{escape(text)}" src="data:image/png;base64,{content}">')


def as_pixels(rgb: Tensor) -> np.ndarray:
    """RGB (3, S, S), 0 … 255, as (S, S, 3), uint8."""
    return rgb.permute(1, 2, 0).clamp(0, 255).byte().numpy()


def mosaic(channels: Tensor, kept: Tensor, component: int) -> np.ndarray:
    """The 64 channels of a component as maps in an 8×8 grid, those that are kept in a frame, the others faded.

    Args:
        channels: (192, rows, columns).
        kept: (192,), bool.
        component: 0 … 2.

    Returns:
        (height, width, 3), uint8. Grey is the channel's mean in this photograph.
    """
    own = channels[component * PER_COMPONENT : (component + 1) * PER_COMPONENT]
    is_kept = kept[component * PER_COMPONENT : (component + 1) * PER_COMPONENT]
    z = (own - own.mean((1, 2), keepdim=True)) / own.std((1, 2), keepdim=True).clamp(min=1e-3)
    strength = torch.where(is_kept, 127.0, 40.0)[:, None, None]
    maps = (_GREY + strength * (z / _RANGE).clamp(-1, 1)).byte().numpy()
    rows, columns = own.shape[1] + 2 * _GAP, own.shape[2] + 2 * _GAP
    out = np.full((BLOCK * rows, BLOCK * columns, 3), _GREY, np.uint8)
    for frequency in range(PER_COMPONENT):
        v, u = divmod(frequency, BLOCK)
        tile = out[v * rows : (v + 1) * rows, u * columns : (u + 1) * columns]
        if is_kept[frequency]:
            tile[:] = _FRAME
        tile[_GAP:-_GAP, _GAP:-_GAP] = maps[frequency][..., None]
    return out
