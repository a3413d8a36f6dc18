"""Help texts without the markup of the docstrings that they are from, dctnet's and Lightning's."""

import argparse
import re

_ROLE = re.compile(r":(?:\w+:)?\w+:`(?:[^`<]*<)?~?!?([^`>]+)>?`")
_LINK = re.compile(r"`([^`<]+?)\s*<[^`>]+>`__?")


def use_plain_help(parser: argparse.ArgumentParser) -> None:
    """Removes Sphinx roles and doubled backticks from all help texts of a parser.

    Args:
        parser: With all its options.
    """
    for action in parser._actions:
        if isinstance(action.help, str):
            action.help = _plain(action.help)
    for part in (parser, *parser._action_groups):
        for name in ("title", "description"):
            if isinstance(text := getattr(part, name, None), str):
                setattr(part, name, _plain(text))


def _plain(text: str) -> str:
    # A role becomes the last part of its name.
    text = _ROLE.sub(lambda role: role[1].rpartition(".")[2], text)
    text = _LINK.sub(r"\1", text)
    return re.sub(r"`{1,2}([^`]+)`{1,2}", r"\1", text)
