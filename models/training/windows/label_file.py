"""Files of labels: JSON lines as corpora have them, or YAML written by hand.

Both say the same with the same keys, an entry for a benign capture or for an attack in one; a
capture of several attacks has an entry for each.  JSON lines may say more than is read here and
have words among their addresses (`spoofed`); YAML is held to the letter, so that no slip of the pen
becomes a wrong label.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import difflib
import hashlib
import ipaddress
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import yaml

from models.errors import TrainingError
from models.evidence import FAMILIES
from models.training.windows.labels import CaptureLabel, Networks

#: Families as labelled by others, and as the network knows them (models.evidence.FAMILIES).
FAMILY_OF = {
    "sweep": "scan",
    "flood": "dos",
    "slow-dos": "dos",
    "http-dos": "dos",
    "reflection": "dos",
    "ddos": "dos",
    "botnet": "c2",
    "malware": "c2",
    "exfiltration": "exfil",
    "exploit": "other",
}

_KEYS = ("path", "kind", "origin", "family", "attackers", "victims", "attackers_total", "victims_total",
         "attack_start", "attack_end", "in_scope")  # fmt: skip
_OF_ATTACKS = tuple(key for key in _KEYS if key not in ("path", "kind", "origin"))
_KINDS = ("attack", "benign")

#: Lists of hosts in a label stop here; a longer one (see `*_total`) counts as anybody.
_LISTED = 64
_MISTAKES_TOLD = 20

_Entry = Mapping[str, Any]


def read_labels(path: str | os.PathLike[str]) -> list[CaptureLabel]:
    """The labels of a file, YAML by its ending `.yaml` or `.yml`; other kinds of capture are left out.

    TrainingError has a line for each mistake, with file and line.
    """
    by_hand = os.fspath(path).endswith((".yaml", ".yml"))
    labels: list[tuple[int, CaptureLabel]] = []
    mistakes: list[str] = []
    for line, entry in _yaml_entries(path) if by_hand else _json_entries(path):
        try:
            if isinstance(entry, ValueError):
                raise entry
            if by_hand:
                _check(entry)
            if entry["kind"] in _KINDS:
                labels.append((line, _label(entry)))
        except KeyError as error:
            mistakes.append(f"{path}:{line}: not a capture's label: it has no {error.args[0]!r}")
        except (ValueError, TypeError, AttributeError) as error:
            mistakes.append(f"{path}:{line}: not a capture's label: {error}")
    mistakes += _contradictions(path, labels)
    if len(mistakes) > _MISTAKES_TOLD:
        mistakes[_MISTAKES_TOLD:] = [f"{path}: and {len(mistakes) - _MISTAKES_TOLD} more"]
    if mistakes:
        raise TrainingError("\n".join(mistakes))
    if not labels:
        raise TrainingError(f"{path}: no capture of kind attack or benign in it")
    return _beside_each_other([label for _, label in labels])


def labels_hash(path: str | os.PathLike[str]) -> str:
    """SHA-256 of the label file: part of what a bundle says of its training data."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _text(path: str | os.PathLike[str]) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise TrainingError(
            f"{path}: {error.strerror}; labels are one JSON object a line, or a YAML list"
        ) from None
    except UnicodeDecodeError as error:
        raise TrainingError(
            f"{path}: not text in UTF-8 ({error.reason}); labels are JSON lines or YAML"
        ) from None


def _json_entries(path: str | os.PathLike[str]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(_text(path).splitlines(), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                yield number, error


def _yaml_entries(path: str | os.PathLike[str]) -> Iterator[tuple[int, Any]]:
    loader = yaml.SafeLoader(_text(path))
    try:
        root = loader.get_single_node()
        if not isinstance(root, yaml.SequenceNode):
            raise TrainingError(f"{path}: no list of captures: begin each with `- path: `")
        for node in root.value:
            line = node.start_mark.line + 1
            if not isinstance(node, yaml.MappingNode):
                yield line, ValueError("no keys and values: begin it with `- path: `")
                continue
            keys = [key.value for key, _ in node.value]
            if twice := next((key for key in keys if keys.count(key) > 1), None):
                yield line, ValueError(f"it has {twice!r} twice")
                continue
            try:
                yield line, loader.construct_document(node)
            except ValueError as error:  # such as a day that no month has
                yield line, error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}" if mark else path
        raise TrainingError(f"{place}: not YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise TrainingError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    finally:
        loader.dispose()


def _check(entry: _Entry) -> None:
    """ValueError for what only a slip of the pen can be."""
    for key in entry:
        if key not in _KEYS:
            raise ValueError(f"unknown key {key!r}{_meant(key, _KEYS)}")
    kind = entry["kind"]
    if kind not in _KINDS:
        raise ValueError(f"kind {kind!r}: attack or benign wanted")
    if kind == "benign":
        if odd := next((key for key in _OF_ATTACKS if key in entry), None):
            raise ValueError(f"a benign capture has no {odd}")
        return
    families = (*FAMILIES, *FAMILY_OF)
    if entry["family"] not in families:
        hint = _meant(entry["family"], families) or f": one of {', '.join(FAMILIES)}"
        raise ValueError(f"family {entry['family']!r}{hint}")
    hosts = [text for key in ("attackers", "victims") for text in _texts(entry, key)]
    if not hosts:
        raise ValueError("it names neither attackers nor victims, so no flow is known to be of the attack")
    for text in hosts:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"{text!r} is no address and no network") from None


def _meant(word: object, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(str(word), known, 1)
    return f"; did you mean `{close[0]}`?" if close else ""


def _label(entry: _Entry) -> CaptureLabel:
    family: str | None = entry.get("family")
    start, end = _seconds(entry, "attack_start"), _seconds(entry, "attack_end")
    if start is not None and end is not None and end < start:
        raise ValueError("attack_end is before attack_start")
    return CaptureLabel(
        path=str(entry["path"]),
        attack=entry["kind"] == "attack",
        origin=str(entry.get("origin", "unknown")),
        family=FAMILY_OF.get(family, family) if family else None,
        attackers=Networks(_texts(entry, "attackers")),
        victims=Networks(_texts(entry, "victims")),
        anybody_attacks=int(entry.get("attackers_total") or 0) > _LISTED,
        anybody_suffers=int(entry.get("victims_total") or 0) > _LISTED,
        start_s=start,
        end_s=end,
        in_scope=bool(entry.get("in_scope", True)),
    )


def _texts(entry: _Entry, key: str) -> list[str]:
    texts = entry.get(key) or []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"{key} is no list of texts")
    return texts


def _seconds(entry: _Entry, key: str) -> float | None:
    """Seconds; a time of day is of UTC where it names no zone."""
    value = entry.get(key)
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = dt.datetime.fromisoformat(value)
    if isinstance(value, dt.datetime):
        return (value if value.tzinfo else value.replace(tzinfo=dt.UTC)).timestamp()
    if value is not None and (not isinstance(value, (int, float)) or isinstance(value, bool)):
        raise TypeError(f"{key} is no number of seconds and no time such as 2026-11-26T02:31:50Z")
    return value


def _contradictions(path: str | os.PathLike[str], labels: list[tuple[int, CaptureLabel]]) -> Iterator[str]:
    first: dict[str, tuple[int, CaptureLabel]] = {}
    for line, label in labels:
        before, known = first.setdefault(label.path, (line, label))
        if before != line and not (label.attack and known.attack and label.origin == known.origin):
            yield (
                f"{path}:{line}: {label.path} is in line {before} too: an entry each is for attacks of one"
                " capture, all of one origin"
            )


def _beside_each_other(labels: list[CaptureLabel]) -> list[CaptureLabel]:
    """Each label with those of the same capture."""
    of_path: dict[str, list[CaptureLabel]] = {}
    for label in labels:
        of_path.setdefault(label.path, []).append(label)
    return [
        replace(label, others=tuple(other for other in of_path[label.path] if other is not label))
        for label in labels
    ]
