"""YAML as a plain, safe tree that remembers the line of each key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from ids_daemon.errors import ConfigError

Path = tuple[str | int, ...]

#: A configuration is a page or two; what is larger was not meant to be one.
MAX_BYTES = 1 << 20


_PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


@dataclass(frozen=True, slots=True)
class Document:
    """`tree` of dicts, lists and scalars; `lines` maps the path of each key and item to its line."""

    tree: Any
    lines: dict[Path, int]


def read(name: str) -> Document:
    """The one document of a YAML file.

    ConfigError, with file and line, when it cannot be read, is no YAML, repeats a key or uses
    anchors (which a configuration does not need, and which can grow without bound).
    """
    try:
        with open(name, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError([f"{name}: cannot be read: {error.strerror or error}"]) from None
    if len(content) > MAX_BYTES:
        raise ConfigError([f"{name}: larger than 1 MiB: not a configuration"])
    return parse(content, name)


def parse(content: bytes | str, name: str) -> Document:
    """As `read`, of bytes or text; `name` stands in the errors."""
    try:
        for event in yaml.parse(content, Loader=yaml.SafeLoader):
            if getattr(event, "anchor", None):
                line = event.start_mark.line + 1
                raise ConfigError([f"{name}:{line}: anchors and aliases are not taken: write the value out"])
        root = yaml.compose(content, Loader=yaml.SafeLoader)
        lines: dict[Path, int] = {}
        tree = None if root is None else _build(root, (), lines, name)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        raise ConfigError([f"{where}: not YAML: {error.problem or error.context}"]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError([f"{name}: not YAML: {str(error).splitlines()[0]}"]) from None
    return Document(tree, lines)


def _build(node: yaml.Node, path: Path, lines: dict[Path, int], name: str) -> Any:
    """The value of a node, its lines noted on the way."""
    lines.setdefault(path, node.start_mark.line + 1)
    if not isinstance(node, yaml.ScalarNode) and node.tag not in _PLAIN_TAGS:
        raise ConfigError([f"{name}:{node.start_mark.line + 1}: the tag {node.tag} is not taken: remove it"])
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*path, i), lines, name) for i, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return yaml.constructor.SafeConstructor().construct_object(node)
    mapping: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
            raise ConfigError([f"{name}:{line}: a key must be a plain word"])
        key = key_node.value
        if key in mapping:
            before = lines[(*path, key)]
            where = ".".join(str(part) for part in (*path, key))
            raise ConfigError([f"{name}:{line}: {where}: given twice (first in line {before}): remove one"])
        lines[(*path, key)] = line
        mapping[key] = _build(value_node, (*path, key), lines, name)
    return mapping
