"""Command line parsing; errors are one line and suggest the nearest existing option."""

import argparse
import difflib
import inspect
import re
import warnings
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import jsonargparse
import yaml

import dctnet
from dctnet.errors import UserError, did_you_mean, first_line
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


def one_line(error: argparse.ArgumentError, known: Iterable[str]) -> UserError:
    """Converts an error of the parser to one line with the nearest existing option.

    Args:
        error: The exception raised by jsonargparse.
        known: All options, dotted, without dashes.
    """
    text, known = " ".join(str(error.message).split()), list(known)
    text = text.removeprefix("Parser key ")
    if found := re.search(r"(?:unrecognized arguments: |[Oo]ption ')(?:--)?([\w.-]+)", text):
        return UserError(f"no option {found[1]!r}.{did_you_mean(_correct_section(found[1], known), known)}")
    if found := re.search(r"arguments are required: (.*)", text):
        names = [name.removeprefix("fit.") for name in found[1].split(", ")]
        return UserError(f"required: {', '.join(f'--{name}' if '.' in name else name for name in names)}")
    if found := re.match(r'"([\w.]+)": Unable to load config (\S+)(?: - (.*))?', text):
        fault = (found[3] or "").replace('in "<unicode string>", ', "")
        wanted = f"not valid YAML: {fault}" if "line" in fault else "expected a file or a mapping of options"
        return UserError(f"--{found[1]} {found[2]}: {wanted}")
    if found := re.match(r'"([\w.]+)": Not a valid subclass of .*?\. Got value: (.*?) Subclass types expect', text):
        return UserError(f"--{found[1]} {found[2]}: expected a mapping of options")
    if found := re.match(r'"([\w.]+)".*?: .*?Subtypes: \[(.*)\] Errors: .* Given value: (.*)', text):
        return _wrong_type(found[1], _split_types(found[2]), found[3])
    if found := re.match(r'"([\w.]+)".*?: Expected a (.*?)\. Got value: (.*)', text):
        return _wrong_type(found[1], [found[2]], found[3])
    return UserError(text[:600])


def _wrong_type(option: str, types: list[str], value: str) -> UserError:
    """The error for a value of none of the types, which are written as Python prints them."""
    choices = list(dict.fromkeys(choice.strip("' ") for each in types for choice in _literals(each)))
    words = [_describe_type(each) for each in types if not _literals(each)]
    value = value[:200]
    if choices:
        more = f", or {' or '.join(words)}" if words else ""
        return UserError(f"--{option} {value}: not one of {', '.join(choices)}{more}.{did_you_mean(value, choices)}")
    # Every text of a command line is accepted as text, so the value comes from YAML.
    quote = (
        "; in YAML, quote a text like no, 1e3 or null: 'no'" if "text" in words or "a list of texts" in words else ""
    )
    return UserError(f"--{option} {value}: expected {' or '.join(dict.fromkeys(words))}{quote}")


_TYPES = {
    "int": "an integer", "float": "a number", "bool": "true or false", "str": "text", "NoneType": "null",
    "list": "a list", "tuple": "a list", "dict": "a mapping", "list[str]": "a list of texts",
    "list[int]": "a list of integers", "timedelta": "a time as h:m:s",
}  # fmt: skip


def _describe_type(type_: str) -> str:
    name = re.sub(r"<class '(.*)'>", r"\1", type_)
    if name in _TYPES:
        return _TYPES[name]
    outer, _, inner = name.partition("[")
    if inner:
        return f"a list of {_describe_type(inner.removesuffix(']')).removeprefix('a ')}"
    last = outer.rpartition(".")[2]
    return _TYPES.get(last.lower(), f"a {last} (class_path)")


def _literals(type_: str) -> list[str]:
    found = re.fullmatch(r"typing\.Literal\[(.*)\]", type_)
    return found[1].split(",") if found else []


def _split_types(types: str) -> list[str]:
    """Splits at the commas that are not in brackets."""
    parts, depth = [""], 0
    for char in types:
        depth += (char == "[") - (char == "]")
        if char == "," and not depth:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def _correct_section(option: str, known: list[str]) -> str:
    """Corrects the first part of a dotted option: for ``modl.keep``, ``model.keep`` is nearer than other options."""
    first, dot, rest = option.partition(".")
    sections = {name.partition(".")[0] for name in known if "." in name}
    if not dot or first in sections:
        return option
    near = difflib.get_close_matches(first, sections, n=1, cutoff=0.5)
    return f"{near[0] if near else first}.{rest}"


def call(function: Callable[..., Any], args: list[str], data_options: Collection[str] = ()) -> Any:
    """Calls a function with arguments that are parsed by its signature and documented by its docstring.

    Args:
        function: The function; its name is the verb.
        args: The command line after the verb.
        data_options: Parameters that are named ``--data.NAME`` on the command line, as for ``fit``.

    Raises:
        UserError: The command line does not match the signature.
    """
    parser = jsonargparse.ArgumentParser(prog=f"dctnet {function.__name__.replace('_', '-')}", **STRICT)
    names = inspect.signature(function).parameters
    parser.add_function_arguments(function, as_positional=True, skip={*data_options})
    if data_options:
        others: set[str | int] = {name for name in names if name not in data_options}
        parser.add_function_arguments(function, "data", skip=others)
    try:
        config = parser.parse_args(args)
    except argparse.ArgumentError as error:
        raise one_line(error, option_names(parser)) from error
    except OverflowError as error:
        raise UserError(f"an option's number is too large: {first_line(error)}") from error
    shorten_own_warnings()
    values = parser.instantiate(config).as_dict()
    values |= values.pop("data", {})
    return function(**{name: values[name] for name in names})


def check_folder_name(name: str) -> None:
    """Raises UserError if the value of ``--name`` is a path, which could lead elsewhere, not a name."""
    if name in ("", ".", "..") or Path(name).name != name:
        raise UserError(f"--name {name}: must be the name of one folder; its parent is given by another option")


def option_names(parser: argparse.ArgumentParser) -> list[str]:
    """Names of all options of a parser, dotted."""
    return [action.dest for action in parser._actions if action.dest != argparse.SUPPRESS]
