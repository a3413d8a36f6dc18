"""YAML without duplicate keys: PyYAML would silently use the last one."""

from collections.abc import Iterator
from typing import Any

import yaml

from dctnet.errors import UserError

# libyaml's loader, if PyYAML was built with it, composes the same nodes many times faster.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_yaml(text: str, where: str) -> Any:
    """Parses YAML as :func:`yaml.safe_load` does, and rejects duplicate keys.

    Raises:
        UserError: As :func:`refuse_duplicate_keys`, or the text is not YAML.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{where}: {yaml_fault(error)}") from error
    refuse_duplicate_keys(text, where)
    return content


def refuse_duplicate_keys(text: str, where: str) -> None:
    """Raises an error for the first duplicate key in a mapping, at any depth.

    Args:
        text: Valid YAML or JSON.
        where: Name of the file or option, for the message.

    Raises:
        UserError: There is a duplicate key. Has its dotted name and both lines.
    """
    # Nodes are checked instead of values, because values of mappings merged with << can be overridden legitimately.
    for key, first, second in _duplicates(yaml.compose(text, Loader=_Loader), "", set()):
        lines = f"line {first}" if first == second else f"lines {first} and {second}"
        raise UserError(f"{where}: duplicate key {key!r} ({lines}); only the last would be used, keep one")


def with_names_as_text(found: Any, text: str) -> Any:
    """Replaces the elements of each list ``classes`` by their text: YAML reads names like no, 1e3 and 010 as values.

    Args:
        found: What a loader of YAML made of the text.
        text: Valid YAML.
    """
    if isinstance(found, dict) and "classes" in text:
        _restore_names(found, yaml.compose(text, Loader=_Loader))
    return found


def parse_names(text: str) -> list[str] | None:
    """The elements of a YAML list as they are written, such as ``[no, 1e3]``; None if the text is no list of names."""
    try:
        node: Any = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError:
        return None
    is_list = isinstance(node, yaml.SequenceNode) and all(isinstance(item, yaml.ScalarNode) for item in node.value)
    return [item.value for item in node.value] if is_list else None


def _restore_names(found: Any, node: Any) -> None:
    for key, value in node.value if isinstance(found, dict) and isinstance(node, yaml.MappingNode) else ():
        if key.value != "classes":
            _restore_names(found.get(key.value), value)
        elif isinstance(value, yaml.SequenceNode) and all(isinstance(item, yaml.ScalarNode) for item in value.value):
            found["classes"] = [item.value for item in value.value]


def yaml_fault(error: yaml.YAMLError) -> str:
    """Where a text is not YAML, and why, in one line."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"not valid YAML{place}: {problem or ' '.join(str(error).split())[:200]}"


def _duplicates(node: yaml.Node | None, prefix: str, seen: set[int]) -> Iterator[tuple[str, int, int]]:
    """Yields the dotted name of each duplicate key with the lines of two occurrences."""
    if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
        return  # an alias is the node that it refers to, and may be nested in itself
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for place, item in enumerate(node.value):
            yield from _duplicates(item, f"{prefix}{place}.", seen)
        return
    lines: dict[tuple[str, str], int] = {}
    for key, value in node.value:
        name, identity = f"{prefix}{key.value}", (key.tag, str(key.value))  # by tag, because 1 and "1" are two keys
        line = key.start_mark.line + 1
        if identity in lines:
            yield name, lines[identity], line
        lines[identity] = line
        yield from _duplicates(value, f"{name}.", seen)
