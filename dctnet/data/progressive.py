"""Progressive sizes: smaller crops in the early epochs of a training."""

import itertools
from collections.abc import Sequence

from dctnet.errors import UserError
from dctnet.frequency.dct import BLOCK


class CropSizes:
    """The side of the training crops in each epoch: each size for an equal part of the epochs.

    A crop of photographs shows the same region at every size, in fewer blocks; see
    :class:`~dctnet.data.packed.reader.PackedDataset` and :class:`~dctnet.data.coefficients.CoefficientReader` for the
    others.

    Args:
        sizes: Sides in pixels, ascending; the last one is that of the evaluation.

    Attributes:
        epochs: Epochs of the training. Before they are known, all crops have the last size.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes, self.epochs = tuple(sizes), 0

    def at(self, epoch: int) -> int:
        """The side in an epoch, counted from 0; the last size after the training."""
        if epoch >= self.epochs:
            return self.sizes[-1]
        return self.sizes[epoch * len(self.sizes) // self.epochs]

    def plan(self, epochs: int | None, is_trial: bool = False) -> None:
        """Takes the number of epochs of a training, which a trial may have too few of.

        Raises:
            UserError: There is none, or fewer than there are sizes.
        """
        count = len(self.sizes)
        if count == 1:
            return
        if epochs is None or epochs < 0:
            raise UserError("--data.progressive divides the epochs of a training: set --trainer.max_epochs")
        if epochs < count and not is_trial:
            raise UserError(f"--data.progressive: {count} sizes need at least {count} epochs, got {epochs}")
        self.epochs = epochs


def parse_shares(option: str | list[float] | None) -> list[float] | None:
    """The value of ``--data.progressive`` as a list.

    Raises:
        UserError: It is no ascending list of numbers from above 0 to 1.
    """
    if option is None:
        return None
    try:
        shares = [float(share) for share in (option.split(",") if isinstance(option, str) else option)]
    except ValueError:
        shares = []
    if not shares or not shares[0] > 0 or shares[-1] != 1 or not all(a < b for a, b in itertools.pairwise(shares)):
        raise UserError(
            "--data.progressive must be shares of --data.image_size that rise to 1, such as 0.5,0.75,1; got "
            + str(option)[:60]
        )
    return shares


def crop_sizes(shares: Sequence[float] | None, image_size: int) -> CropSizes:
    """The sizes that are these shares of the full one, to the nearest pixel; without shares, the full one.

    Raises:
        UserError: A size is no multiple of 8. Names the nearest shares that are.
    """
    sizes = [round(share * image_size) for share in shares or [1.0]]
    for share, size in zip(shares or [1.0], sizes, strict=True):
        if size % BLOCK or not size:
            near = [n for n in (size // BLOCK * BLOCK, (size // BLOCK + 1) * BLOCK) if n]
            names = " and ".join(f"{n / image_size:.4g} ({n} px)" for n in near)
            raise UserError(
                f"--data.progressive {share:g} of --data.image_size {image_size} is {size} px, no multiple of {BLOCK}; "
                f"the nearest are {names}"
            )
    return CropSizes(sizes)
