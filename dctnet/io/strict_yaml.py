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
        UserError: As :func:`refuse_duplicate_keys`.
        yaml.YAMLError: The text is not YAML.
    """
    content = yaml.safe_load(text)
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
