"""Command line parsing, strict: no duplicate keys, no abbreviations, names as text."""

import argparse
import inspect
import warnings
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import jsonargparse
import yaml

import dctnet
from dctnet.cli.parser_errors import one_line, option_names, unknown_option
from dctnet.cli.plain_help import use_plain_help
from dctnet.errors import UserError, first_line
from dctnet.io.files import expand_home
from dctnet.io.strict_yaml import refuse_duplicate_keys, with_names_as_text, yaml_fault

_YAML = "yaml_without_duplicate_keys"
# Arguments of every parser. An abbreviation would be accepted until another option begins with the same letters.
STRICT: dict[str, Any] = {"exit_on_error": False, "allow_abbrev": False, "parser_mode": _YAML}
_load_yaml = jsonargparse.get_loader("yaml")


def _load_strict_yaml(text: str, path: str = "") -> Any:
    """Parses a configuration file, or the value of one option.

    Args:
        text: YAML, or the text of an option.
        path: The file's name, if jsonargparse passes it.

    Raises:
        UserError: A key is repeated, or a file is not YAML or no mapping.
        yaml.YAMLError: An option's text is not YAML; jsonargparse then takes it for a string.
    """
    # jsonargparse passes only the last part of a file's name, and none for a file given as an option's value.
    loading = getattr(jsonargparse._util, "config_load_stack", None)
    names = [name for _, name in loading.get()] if loading else []
    where = names[-1] if names else str(path)
    try:
        found = expand_home(_load_yaml(text))
    except RecursionError as error:
        raise UserError(f"{where or text[:60]!r}: not valid YAML: an alias contains itself, or too deep") from error
    except yaml.YAMLError as error:
        if path:
            raise UserError(f"{where}: {yaml_fault(error)}") from error
        raise
    if path and not isinstance(found, dict):
        raise UserError(f"{where}: no options in it; expected a mapping, such as data: {{root: photos}}")
    if isinstance(found, (dict, list)):  # not for texts such as the file pattern {a,a}
        refuse_duplicate_keys(text, where or f"{text.split(chr(10))[0][:60]!r}")
    return with_names_as_text(found, text)


jsonargparse.set_loader(_YAML, _load_strict_yaml, (yaml.YAMLError,))


def shorten_own_warnings() -> None:
    """Prints each warning of dctnet as one line without its place in the source; to be called after all imports."""
    default, own = warnings.formatwarning, str(Path(dctnet.__file__).parent)

    def format_warning(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if filename.startswith(own):
            return f"dctnet: warning: {message}\n"
        return default(message, category, filename, lineno, line)

    if default.__module__ != __name__:
        warnings.formatwarning = format_warning


def call(
    function: Callable[..., Any], args: list[str], data_options: Collection[str] = (), group: str = "", **fixed: Any
) -> Any:
    """Calls a function with arguments that are parsed by its signature and documented by its docstring.

    Args:
        function: The function; its name is the verb.
        args: The command line after the verb.
        data_options: Parameters that are named ``--data.NAME`` on the command line, as for ``fit``.
        group: Verb whose first argument is the function's name.
        **fixed: Parameters that are no options.

    Raises:
        UserError: The command line does not match the signature.
    """
    parser = function_parser(function, data_options, group, fixed)
    return call_parsed(function, parse(parser, args), **fixed)


def function_parser(
    function: Callable[..., Any], data_options: Collection[str], group: str, fixed: Collection[str]
) -> jsonargparse.ArgumentParser:
    """A parser for :func:`call`, to which options can be added."""
    prog = " ".join(filter(None, ["dctnet", group, function.__name__.replace("_", "-")]))
    parser = jsonargparse.ArgumentParser(prog=prog, **STRICT)
    parser.add_function_arguments(function, as_positional=True, skip={*data_options, *fixed})
    _spread_lists(parser)
    if data_options:
        names = inspect.signature(function).parameters
        others: set[str | int] = {name for name in names if name not in data_options}
        parser.add_function_arguments(function, "data", skip=others)
    return parser


def parse(parser: jsonargparse.ArgumentParser, args: list[str]) -> dict[str, Any]:
    """Values of a parser's options.

    Raises:
        UserError: The command line does not match the options.
    """
    use_plain_help(parser)
    try:
        config = parser.parse_args(args)
    except argparse.ArgumentError as error:
        positions = [action.dest for action in parser._actions if not action.option_strings]
        if (unknown := unknown_option(error)) in positions:
            usage = " ".join([parser.prog, *map(str.upper, positions)])
            raise UserError(f"--{unknown}: given by its position, without the name: {usage}") from error
        raise one_line(error, option_names(parser)) from error
    except OverflowError as error:
        raise UserError(f"an option's number is too large: {first_line(error)}") from error
    return parser.instantiate(config).as_dict()


def call_parsed(function: Callable[..., Any], values: Mapping[str, Any], **fixed: Any) -> Any:
    """Calls a function with those of the values, as of :func:`parse`, that are its parameters."""
    shorten_own_warnings()
    values = {**values, **values.get("data", {})}
    names = [name for name in inspect.signature(function).parameters if name not in fixed]
    return function(**{name: values[name] for name in names}, **fixed)


def _spread_lists(parser: jsonargparse.ArgumentParser) -> None:
    """Makes a list that is given by its position one or more arguments, not one argument with brackets."""
    for action in parser._actions:
        if not action.option_strings and getattr(action, "_typehint", None) == list[str]:
            action._typehint, action.nargs, action.metavar = str, "+", action.dest.upper()  # type: ignore[attr-defined]


def check_folder_name(name: str) -> None:
    """Raises UserError if the value of ``--name`` is a path, which could lead elsewhere, not a name."""
    if name in ("", ".", "..") or Path(name).name != name:
        raise UserError(f"--name {name}: must be the name of one folder; its parent is given by another option")
