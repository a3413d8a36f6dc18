"""YAML in which a key stands twice: the last would win in silence, so it is refused."""

from collections.abc import Iterator
from typing import Any

import yaml

from dctnet.errors import UserError

# libyaml's where PyYAML was built with it: the same nodes, many times faster.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def refuse_duplicate_keys(text: str, where: str) -> None:
    """Looks for a key that stands twice in the same mapping, at any depth.

    Args:
        text: YAML or JSON that can be read.
        where: The file, or what else the reader of the message finds it by.

    Raises:
        UserError: There is one. Names it, dotted, and its two lines.
    """
    # Asked of the nodes, not while values are made: by then a mapping that merges another one with << has been
    # filled up with keys that it may overrule.
    for key, first, second in _repeated(yaml.compose(text, Loader=_Loader), "", set()):
        stands = f"twice in line {first}" if first == second else f"in lines {first} and {second}"
        raise UserError(f"{where}: the key {key!r} stands {stands}, and only the last would count; keep one")


def load_yaml(text: str, where: str) -> Any:
    """Reads YAML as PyYAML does, without repeated keys.

    Args:
        text: What to read.
        where: The file, for the message.

    Raises:
        UserError: A key stands twice.
        yaml.YAMLError: It is no YAML.
    """
    content = yaml.safe_load(text)
    refuse_duplicate_keys(text, where)
    return content


def _repeated(node: yaml.Node | None, prefix: str, seen: set[int]) -> Iterator[tuple[str, int, int]]:
    """Keys that stand twice, dotted, with the line of the first and of the next."""
    if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
        return  # an alias is the very node that it names, and may stand within it
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for place, item in enumerate(node.value):
            yield from _repeated(item, f"{prefix}{place}.", seen)
        return
    lines: dict[tuple[str, str], int] = {}
    for key, value in node.value:
        name, same = f"{prefix}{key.value}", (key.tag, str(key.value))  # with the tag: 1 and "1" are two keys
        line = key.start_mark.line + 1
        if same in lines:
            yield name, lines[same], line
        lines[same] = line
        yield from _repeated(value, f"{name}.", seen)
