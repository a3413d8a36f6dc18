"""Errors of the command line parser as one line, with option, value and the nearest name that exists."""

import argparse
import difflib
import inspect
import os
import pydoc
import re
from collections.abc import Collection, Iterable

from dctnet.errors import UserError, did_you_mean, did_you_mean_path

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
    if found := re.search(r"arguments are required: (.*)", text):
        names = [name.removeprefix("fit.") for name in found[1].split(", ")]
        return UserError(f"required: {', '.join(f'--{name}' if '.' in name else name for name in names)}")
    if found := re.match(r'"([\w.]+)": Unable to load config (\S+)(?: - (.*))?', text):
        fault = (found[3] or "").replace('in "<unicode string>", ', "")
        wanted = f"not valid YAML: {fault}" if "line" in fault else "expected a file or a mapping of options"
        return UserError(f"--{found[1]} {found[2]}: {wanted}")
    if found := re.match(r'"([\w.]+)": File does not exist: \'(.*)\'$', text):
        near = os.path.relpath(found[2])
        path = found[2] if near.startswith("..") else near
        return UserError(f"--{found[1]} {path}: no such file.{did_you_mean_path(path)}")
    if found := re.match(r'"([\w.]+)": Not a valid subclass of .*?\. Got value: (.*?) Subclass types expect', text):
        return UserError(f"--{found[1]} {found[2]}: expected a mapping of options")
    if found := re.match(r'"([\w.]+)".*?: .*?Subtypes: \[(.*)\] Errors: .* Given value: (.*)', text):
        return _wrong_type(found[1], _split_types(found[2]), found[3])
    if found := re.match(r'"([\w.]+)".*?: Expected a (.*?)\. Got value: (.*)', text):
        return _wrong_type(found[1], [found[2]], found[3])
    return UserError(_plain_types(text)[:600])


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


def _plain_types(text: str) -> str:
    """Names types in words: an integer, not <class 'int'>."""
    return re.sub(r"Expected a (<class '\w+'>)", lambda match: f"expected {_describe_type(match[1])}", text)


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
    nested = re.match(r'Parser key "([\w.]+)": Does not validate', cause)
    if nested and (first := re.search(r"Errors:\s+- (.*)", text[found.start(2) :])):
        cause = f"{nested[1]}: {first[1]}"
    if wrong := re.match(r'Parser key "([\w.]+)": Expected a (.*?)\. Got value: (.*)', cause):
        cause = str(_wrong_type(wrong[1], [wrong[2]], wrong[3])).removeprefix("--")
    cause = _plain_types(cause)
    if missing := re.match(r"module '[\w.]+' has no attribute '(\w+)'", cause):
        cause = f"no such class.{did_you_mean(missing[1], classes)}"
    if unknown := re.match(r"Option '([\w.]+)' is not accepted", cause):
        known = inspect.signature(located).parameters if callable(located := pydoc.locate(path)) else ()
        hint = did_you_mean(unknown[1], known) or did_you_mean(unknown[1].partition(".")[0], known)
        cause = f"no option {unknown[1]!r}.{hint}"
    return f"{path.rpartition('.')[2] if path.startswith(('pytorch_lightning.', 'dctnet.')) else path}: {cause[:400]}"


def _correct_section(option: str, known: list[str]) -> str:
    """Corrects the first part of a dotted option: for ``modl.keep``, ``model.keep`` is nearer than other options."""
    first, dot, rest = option.partition(".")
    sections = {name.partition(".")[0] for name in known if "." in name}
    if not dot or first in sections:
        return option
    near = difflib.get_close_matches(first, sections, n=1, cutoff=0.5)
    return f"{near[0] if near else first}.{rest}"


def option_names(parser: argparse.ArgumentParser) -> list[str]:
    """Names of all options of a parser that its help shows, dotted."""
    shown = (action for action in parser._actions if argparse.SUPPRESS not in (action.dest, action.help))
    return [action.dest for action in shown if action.option_strings]
