"""Parsing with errors of one line that name the nearest right option."""

import argparse
import difflib
import re
from collections.abc import Callable, Iterable
from typing import Any

import jsonargparse

from dctnet.errors import UserError


def one_line(error: argparse.ArgumentError, known: Iterable[str]) -> UserError:
    """What the parser says, in one line, with the nearest option that exists.

    Args:
        error: What jsonargparse raised.
        known: All options, dotted, without dashes.
    """
    text = " ".join(str(error.message).split())
    text = text.removeprefix("Parser key ")
    found = re.search(r"unrecognized arguments: (?:--)?([\w.-]+)|Option '([\w.-]+)' is not accepted", text)
    if not found:
        return UserError(text[:600])
    wrong = (found[1] or found[2]).replace("-", "_")
    near = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UserError(f"no option {wrong!r}.{hint}")


def call(function: Callable[..., Any], args: list[str]) -> Any:
    """Runs a function with arguments parsed by its signature.

    Args:
        function: Annotated and documented; its name is the verb.
        args: The command line after the verb.

    Raises:
        UserError: The command line does not fit the signature.
    """
    parser = jsonargparse.ArgumentParser(prog=f"dctnet {function.__name__.replace('_', '-')}", exit_on_error=False)
    parser.add_function_arguments(function, as_positional=True)
    try:
        config = parser.parse_args(args)
    except argparse.ArgumentError as error:
        raise one_line(error, option_names(parser)) from error
    return function(**config.as_dict())


def option_names(parser: argparse.ArgumentParser) -> list[str]:
    """Names of all options of a parser, dotted."""
    return [action.dest for action in parser._actions if action.dest != argparse.SUPPRESS]
