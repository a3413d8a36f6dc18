"""Command line parsing; errors are one line and suggest the nearest existing option."""

import argparse
import difflib
import inspect
import pydoc
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

import jsonargparse
import yaml

from dctnet.errors import UserError, did_you_mean, first_line
from dctnet.io.strict_yaml import refuse_duplicate_keys

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
        UserError: A key is repeated. Not a YAML error, after which jsonargparse would take the text for a string.
    """
    found = _load_yaml(text)
    if isinstance(found, (dict, list)):  # not for texts such as the file pattern {a,a}
        # jsonargparse passes only the last part of a file's name, and none for a file given as an option's value.
        loading = getattr(jsonargparse._util, "config_load_stack", None)
        names = [name for _, name in loading.get()] if loading else []
        refuse_duplicate_keys(text, names[-1] if names else path or f"{text.split(chr(10))[0][:60]!r}")
    return found


jsonargparse.set_loader(_YAML, _load_strict_yaml, (yaml.YAMLError,))


_UNKNOWN = r"(?:unrecognized arguments: |[Oo]ption ')(?:--)?([\w.-]+)"


def unknown_option(error: argparse.ArgumentError) -> str | None:
    """The option that the parser does not know, dotted, if that is its error."""
    found = re.search(_UNKNOWN, str(error.message))
    return found and found[1]


def one_line(error: argparse.ArgumentError, known: Iterable[str], classes: Collection[str] = ()) -> UserError:
    """Converts an error of the parser to one line with the nearest existing option.

    Args:
        error: The exception raised by jsonargparse.
        known: All options, dotted, without dashes.
        classes: Names of classes that options can name.
    """
    text, known = str(error.message).removeprefix("Parser key ").strip(), list(known)
    if (found := re.match(r'"([\w.]+)"', text)) and (problem := class_problem(text, classes)):
        return UserError(f"--{found[1]} {problem}")
    text = " ".join(text.split())
    if found := re.search(_UNKNOWN, text):
        return UserError(f"no option {found[1]!r}.{did_you_mean(_correct_section(found[1], known), known)}")
    if found := re.search(r'"([\w.]+)": Expected a typing.Literal\[(.*?)\]\. Got value: (.*)', text):
        choices = [choice.strip("' ") for choice in found[2].split(",")]
        return UserError(f"--{found[1]} {found[3]}: not one of {', '.join(choices)}.{did_you_mean(found[3], choices)}")
    if found := re.search(r'"([\w.]+)": Does not validate .*Subtypes: \[(.*?)\] Errors.*Given value: (.*)', text):
        types = " or ".join(re.findall(r"'(\w+)'", found[2])).replace("NoneType", "null")
        return UserError(f"--{found[1]} {found[3]}: expected {types or found[2]}")
    return UserError(text[:600])


def class_problem(text: str, classes: Collection[str] = ()) -> str | None:
    """Finds in jsonargparse's report on all alternatives what is wrong with a class that an option names.

    Args:
        text: The report, with its lines.
        classes: Names of known classes.

    Returns:
        The class and what is wrong with it; None if the report is about something else.
    """
    if found := re.search(r"Expected a dot import path string: (.+)", text):
        return f"{found[1]}: no such class.{did_you_mean(found[1], classes)} Others need a path: package.module.Class"
    no_subclass = r"Import path .*does not correspond to (a subclass of \w+)(?s:.*)Given value: (\S+)"
    if "Problem with given class_path" not in text and (found := re.search(no_subclass, text)):
        return f"{found[2]}: not {found[1]}"
    end = r"(?=\n\s*- |\n\s*Given value|\Z)"
    if not (found := re.search(rf"Problem with given class_path '([^']+)':(?s:(.*?)){end}", text)):
        return None
    path, cause = found[1], " ".join(found[2].split())
    if nested := re.match(r'Parser key "([\w.]+)": Does not validate', cause):
        cause = f"{nested[1]}: " + re.search(r"Errors:\s+- (.*)", text[found.start(2) :])[1]  # type: ignore[index]
    cause = re.sub(
        r'^Parser key "([\w.]+)": Expected a <class \'(\w+)\'>\. Got value: (.*)', r"\1 \3: expected \2", cause
    )
    if missing := re.match(r"module '[\w.]+' has no attribute '(\w+)'", cause):
        cause = f"no such class.{did_you_mean(missing[1], classes)}"
    if unknown := re.match(r"Option '([\w.]+)' is not accepted", cause):
        known = inspect.signature(pydoc.locate(path)).parameters  # type: ignore[arg-type]
        cause = f"no option {unknown[1]!r}.{did_you_mean(unknown[1], known)}"
    return f"{path.rpartition('.')[2] if path.startswith('pytorch_lightning.') else path}: {cause[:400]}"


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
    values = parser.instantiate(config).as_dict()
    values |= values.pop("data", {})
    return function(**{name: values[name] for name in names})


def option_names(parser: argparse.ArgumentParser) -> list[str]:
    """Names of all options of a parser, dotted."""
    return [action.dest for action in parser._actions if action.dest != argparse.SUPPRESS]
