"""Results of many small runs, a JSON object a line, so that what was done is not done again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.errors import TrainingError


class Journal:
    """A JSONL file that grows by a line a result.

    A result has a `key`: the fields by which it is known again, and the other `fields`.  A last line that a
    stop cut off is left out and overwritten.  Raises TrainingError for a file that is none, or that cannot
    be written.
    """

    def __init__(self, path: Path, key: Sequence[str], fields: Sequence[str] = ()) -> None:
        self._path, self._key, self._fields = path, tuple(key), frozenset(fields)
        self._found: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._whole = 0
        if path.exists():
            self._read()

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._found.values())

    def get(self, **key: Any) -> dict[str, Any] | None:
        """The result of this key, None where there is none."""
        return self._found.get(self._of(key))

    def add(self, result: Mapping[str, Any]) -> None:
        """Keep a result; on disk when this returns."""
        line = json.dumps(result).encode() + b"\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(self._path, "r+b" if self._path.exists() else "wb") as file:
                file.truncate(self._whole)
                file.seek(self._whole)
                file.write(line)
        except OSError as error:
            raise TrainingError(f"{self._path}: a result cannot be written: {error.strerror}") from None
        self._whole += len(line)
        self._found[self._of(result)] = json.loads(line)

    def _of(self, result: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(json.dumps(result[name]) for name in self._key)

    def _read(self) -> None:
        try:
            content = self._path.read_bytes()
        except OSError as error:
            raise TrainingError(f"{self._path}: cannot be read: {error.strerror}") from None
        for number, line in enumerate(content.split(b"\n")[:-1], 1):
            try:
                result = json.loads(line)
                if lacking := sorted(self._fields - set(result)):
                    raise KeyError(lacking[0])
                self._found[self._of(result)] = result
            except (ValueError, KeyError, TypeError):
                raise TrainingError(
                    f"{self._path}: line {number} is no result; name another folder, or delete the file"
                ) from None
            self._whole += len(line) + 1
