"""Converts errors of Lightning and of the classes that the trainer's options name to one line."""

import contextlib
import os
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities.exceptions import MisconfigurationException

from dctnet.cli.parser_errors import class_problem
from dctnet.errors import Stopped, UserError, first_line

_PACKAGE = Path(__file__).parents[1]
# Parts of Lightning whose errors are about what the user chose, not about the training step that they are called from.
_CHOSEN = re.compile(r"pytorch_lightning/(callbacks|loggers|profilers)/(?!callback\.py)")
# Where Lightning reads the environment variables of Slurm, torchrun and other launchers.
_CLUSTER = re.compile(r"plugins/environments/|utilities/rank_zero\.py")
_RANKS = ("RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@contextlib.contextmanager
def translate_class_errors(trainer: Any) -> Iterator[None]:
    """Converts errors of the trainer and of the classes that its options name, before a run.

    Args:
        trainer: The trainer's options.

    Raises:
        UserError: One of them cannot be made: its package is missing, or an argument, the machine or an environment
            variable does not suit. Errors from dctnet's own code are raised unchanged.
    """
    try:
        yield
    except (UserError, OSError):
        raise
    except Exception as error:
        if _frames_outside(error) is None:
            raise
        raise UserError(
            _about_class(error, trainer) or _about_cluster(error) or f"--trainer: {first_line(error)}"
        ) from error


@contextlib.contextmanager
def translate_lightning_errors() -> Iterator[None]:
    """Converts errors in a run that Lightning, or one of its callbacks, loggers and profilers, raises about options.

    Raises:
        UserError: A wrong configuration, a missing package, or a callback that does not suit the model.
    """
    try:
        yield
    except (UserError, Stopped, OSError):
        raise
    except (MisconfigurationException, ModuleNotFoundError) as error:
        if isinstance(error, ModuleNotFoundError) and _frames_outside(error) is None:
            raise
        raise UserError(f"--trainer: {first_line(error)}") from error
    except Exception as error:
        if cause := _about_cluster(error):
            raise UserError(cause) from error
        for frame in _frames_outside(error) or ():
            if _CHOSEN.search(frame.f_code.co_filename):
                chosen = type(frame.f_locals.get("self")).__name__
                raise UserError(f"--trainer: {chosen}: {first_line(error)}") from error
        raise


def _about_class(error: Exception, trainer: Any) -> str | None:
    """Names the option and the class that jsonargparse could not instantiate."""
    text = str(error)
    paths = re.findall(r"class_path[=' ]+([\w.]+)'", text)
    options = [name for name, value in vars(trainer).items() if paths and paths[0] in str(value)]
    if not options:
        return None
    return f"--trainer.{options[0]} {class_problem(text) or f'cannot be used: {first_line(error.__cause__ or error)}'}"


def _about_cluster(error: Exception) -> str | None:
    """Says whether the environment variables of a cluster are at fault."""
    files = [frame.f_code.co_filename for frame in _frames_outside(error) or ()]
    if not any(_CLUSTER.search(file) for file in files):
        return None
    reason = f"{error} is missing" if isinstance(error, KeyError) else first_line(error)
    names = ", ".join(name for name in os.environ if name.startswith(("SLURM_", "TORCHELASTIC_")) or name in _RANKS)
    return f"the environment variables of a cluster ({names}) do not fit: {reason}"


def _frames_outside(error: BaseException) -> list[Any] | None:
    """The frames below the command line, or None if one of them is dctnet's, whose errors are defects."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    ours = [number for number, frame in enumerate(frames) if _PACKAGE in Path(frame.f_code.co_filename).parents]
    if ours and Path(frames[ours[-1]].f_code.co_filename).parent != _PACKAGE / "cli":
        return None
    return (frames[ours[-1] + 1 :] or None) if ours else frames
