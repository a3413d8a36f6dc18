"""Parsing with errors of one line that name the nearest right option."""

import argparse
import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jsonargparse
import yaml

from dctnet.errors import UserError, did_you_mean, first_line
from dctnet.io.strict_yaml import refuse_duplicate_keys

# For every parser of ours, as parser_mode: YAML as jsonargparse reads it, without repeated keys.
YAML = "yaml_without_repeated_keys"
_read = jsonargparse.get_loader("yaml")


def _read_once(text: str, path: str = "") -> Any:
    """Reads a configuration, or the value of one option that may be text, a number or YAML.

    Args:
        text: What to read.
        path: The file's name, where jsonargparse tells.

    Raises:
        UserError: A key stands twice. Not an error of YAML, at which jsonargparse would take the text for a string.
    """
    found = _read(text)
    if isinstance(found, (dict, list)):  # {a,a} is a string to jsonargparse, such as a pattern of files
        # A loader is told the last part of a file's name, and nothing where the file is an option's value.
        loading = getattr(jsonargparse._util, "config_load_stack", None)
        names = [name for _, name in loading.get()] if loading else []
        refuse_duplicate_keys(text, names[-1] if names else path or f"{text.split(chr(10))[0][:60]!r}")
    return found


jsonargparse.set_loader(YAML, _read_once, (yaml.YAMLError,))


def one_line(error: argparse.ArgumentError, known: Iterable[str]) -> UserError:
    """What the parser says, in one line, with the nearest option that exists.

    Args:
        error: What jsonargparse raised.
        known: All options, dotted, without dashes.
    """
    text, known = " ".join(str(error.message).split()), list(known)
    text = text.removeprefix("Parser key ")
    if found := re.search(r"(?:unrecognized arguments: |[Oo]ption ')(?:--)?([\w.-]+)", text):
        return UserError(f"no option {found[1]!r}.{did_you_mean(_right_section(found[1], known), known)}")
    if found := re.search(r'"([\w.]+)": Expected a typing.Literal\[(.*?)\]\. Got value: (.*)', text):
        choices = [choice.strip("' ") for choice in found[2].split(",")]
        return UserError(f"--{found[1]} {found[3]}: not one of {', '.join(choices)}.{did_you_mean(found[3], choices)}")
    if found := re.search(r'"([\w.]+)": Does not validate .*Subtypes: \[(.*?)\] Errors.*Given value: (.*)', text):
        kinds = " or ".join(re.findall(r"'(\w+)'", found[2])).replace("NoneType", "null")
        return UserError(f"--{found[1]} {found[3]}: wanted {kinds or found[2]}")
    return UserError(text[:600])


def _right_section(option: str, known: list[str]) -> str:
    """The option with its first part put right: of ``modl.keep`` that one is wrong, whatever else looks like it."""
    first, dot, rest = option.partition(".")
    sections = {name.partition(".")[0] for name in known if "." in name}
    if not dot or first in sections:
        return option
    near = difflib.get_close_matches(first, sections, n=1, cutoff=0.5)
    return f"{near[0] if near else first}.{rest}"


def call(function: Callable[..., Any], args: list[str], dotted: Mapping[str, str] | None = None) -> Any:
    """Runs a function with arguments parsed by its signature.

    Args:
        function: Annotated and documented; its name is the verb.
        args: The command line after the verb.
        dotted: Parameters that have another name on the command line, such as ``{"root": "data.root"}``, and are text.

    Raises:
        UserError: The command line does not fit the signature.
    """
    prog = f"dctnet {function.__name__.replace('_', '-')}"
    parser = jsonargparse.ArgumentParser(prog=prog, exit_on_error=False, allow_abbrev=False, parser_mode=YAML)
    dotted = dotted or {}
    names = parser.add_function_arguments(function, as_positional=True, skip=set(dotted))
    for name in dotted.values():
        parser.add_argument(f"--{name}", type=str | None)
    try:
        config = parser.parse_args(args)
    except argparse.ArgumentError as error:
        raise one_line(error, option_names(parser)) from error
    except OverflowError as error:
        raise UserError(f"an option's number is too large: {first_line(error)}") from error
    renamed = {parameter: config.pop(name) for parameter, name in dotted.items()}
    given = vars(parser.instantiate(config))
    return function(**{key: value for key, value in given.items() if key in names}, **renamed)


def option_names(parser: argparse.ArgumentParser) -> list[str]:
    """Names of all options of a parser, dotted."""
    return [action.dest for action in parser._actions if action.dest != argparse.SUPPRESS]
