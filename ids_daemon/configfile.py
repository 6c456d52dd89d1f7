"""Flags, IDS_* environment, file and defaults become one Config, or a list of what is wrong with it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ids_daemon import yamlfile
from ids_daemon.config import Config
from ids_daemon.errors import ConfigError

#: Read when no file is named and it exists.
DEFAULT_FILE = "/etc/ids-daemon/ids_daemon.yaml"

#: IDS_SECTION__KEY; names without the double underscore belong to somebody else.
_PREFIX, _LEVEL = "IDS_", "__"

_Loc = tuple[str | int, ...]


def load(
    file: str | None = None,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    compile_filter: bool = False,
) -> Config:
    """The configuration in force: flags over environment over file over defaults.

    `file` None means DEFAULT_FILE where that exists.  `flags` maps `detector.meter` and the like to
    values; None among them means not given.  `compile_filter` has `capture.filter` compiled, too, which
    only those need who capture.  ConfigError names each problem's place, key and remedy.
    """
    if file is None and Path(DEFAULT_FILE).exists():
        file = DEFAULT_FILE
    tree: dict[str, Any] = {}
    origins: dict[_Loc, str] = {}
    if file is not None:
        tree = _from_file(file, origins)
    for name, path, value in _from_environment(os.environ if environment is None else environment):
        _put(tree, path, value, name)
        origins[path] = name
    for dotted, value in (flags or {}).items():
        if value is not None:
            path = tuple(dotted.split("."))
            _put(tree, path, value, "command line")
            origins[path] = "command line"
    try:
        return Config.model_validate(tree, context={"filter": compile_filter})
    except ValidationError as error:
        raise ConfigError([_line(problem, origins, file) for problem in error.errors()]) from None


def _from_file(file: str, origins: dict[_Loc, str]) -> dict[str, Any]:
    document = yamlfile.read(file)
    origins.update({path: f"{file}:{line}" for path, line in document.lines.items()})
    if document.tree is None:
        return {}
    if not isinstance(document.tree, dict):
        raise ConfigError([f"{file}:1: wants sections such as `sensor:`, got {_shown(document.tree)}"])
    # A section whose keys are all commented out is an empty one, not a wrong one.
    return {key: {} if value is None and key in Config.model_fields else value
            for key, value in document.tree.items()}  # fmt: skip


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """(variable, path, value) of each IDS_SECTION__KEY; values are read as YAML."""
    for name in sorted(environment):
        if name.startswith(_PREFIX) and _LEVEL in name:
            path = tuple(name.removeprefix(_PREFIX).lower().split(_LEVEL))
            yield name, path, yamlfile.parse(environment[name], name).tree


def _put(tree: dict[str, Any], path: tuple[str, ...], value: Any, origin: str) -> None:
    for depth, key in enumerate(path[:-1], 1):
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise ConfigError([f"{origin}: {'.'.join(path[:depth])} is no section that holds {path[-1]}"])
    tree[path[-1]] = value


def _line(problem: ErrorDetails, origins: Mapping[_Loc, str], file: str | None) -> str:
    """`FILE:LINE: KEY: what is wrong; what to do`."""
    location = problem["loc"]
    known = [location[:n] for n in range(len(location), 0, -1) if location[:n] in origins]
    where = origins[known[0]] if known else (file or "configuration")
    return f"{where}: {'.'.join(str(part) for part in location)}: {_words(problem, location)}"


def _words(problem: ErrorDetails, location: _Loc) -> str:
    kind, given, context = problem["type"], _shown(problem["input"]), problem.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(location)
    if kind == "missing":
        return "is missing: give it a value"
    if kind == "value_error":
        return f"{context['error']}; got {given}"
    if kind == "literal_error":
        return f"wants {context['expected']}, got {given}"
    bounds = {
        "greater_than_equal": "at least {ge}",
        "less_than_equal": "at most {le}",
        "multiple_of": "a multiple of {multiple_of}",
        "string_too_short": "a text that is not empty",
        "int_type": "a whole number",
        "float_type": "a number",
        "finite_number": "a finite number",
        "bool_type": "true or false",
        "string_type": "a text (in quotes, if it looks like a number)",
        "list_type": "a list, such as [a, b]",
        "model_type": "a section with keys of its own",
    }
    if kind in bounds:
        return f"wants {bounds[kind].format(**context)}, got {given}"
    return f"{problem['msg']}, got {given}"


def _unknown(location: _Loc) -> str:
    """What to do about a key that does not exist: the nearest one, or all there are."""
    key = str(location[-1])
    section = _section(location[:-1])
    keys = list(section.model_fields) if section else []
    near = difflib.get_close_matches(key, keys, n=1)
    if near:
        return f"unknown key; did you mean `{near[0]}`?"
    elsewhere = [path for path in _all_keys(Config) if path.split(".")[-1] == key]
    if elsewhere:
        return f"unknown key; did you mean `{elsewhere[0]}`?"
    return f"unknown key; here are {', '.join(keys)}" if keys else "unknown key"


def _section(location: _Loc) -> type[BaseModel] | None:
    """The model at a path, through lists too; None where there is none."""
    model: Any = Config
    for key in location:
        if isinstance(key, int):
            continue
        field = getattr(model, "model_fields", {}).get(key)
        if field is None:
            return None
        model = field.annotation
        inner = getattr(model, "__args__", ())
        model = inner[0] if inner else model
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def _all_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _all_keys(field.annotation, f"{prefix}{name}.")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
