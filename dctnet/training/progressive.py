"""Checks that a network reads all sizes of the training crops."""

from collections.abc import Sequence

from dctnet.errors import UserError, first_line
from dctnet.frequency.dct import BLOCK
from dctnet.model.metrics import count_gmac
from dctnet.model.network import FrequencyNet


def check_sizes(network: FrequencyNet, sizes: Sequence[int]) -> str:
    """Runs a network once at each size.

    Returns:
        The sizes with the cost of an image, for a message.

    Raises:
        UserError: It cannot read a size, as a transformer with a fixed grid. Gives its name and the size.
    """
    costs = []
    for size in sizes:
        side = size // BLOCK if network.channels else size
        try:
            gmac = count_gmac(network.backbone, (network.input_shape[0], side, side))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise UserError(
                f"--data.progressive: {network.backbone_name} cannot read crops of {size} px, only of "
                f"--data.image_size {sizes[-1]}: {first_line(error)}"
            ) from error
        costs.append(f"{size} px ({gmac:.3f} GMAC)")
    return ", ".join(costs)
