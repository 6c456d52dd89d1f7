"""What a fit has done so far, beside its bundle: broken off, the same command goes on there.

A folder `OUT.partial` with plain arrays and JSON, no pickle.  Every file is written whole under
another name and then renamed, so a full disk or a kill leaves the last good one.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import TrainingError

_COMMAND = "command.json"
_MADE_BY = "ids-train"  # tells its command.json from another program's
_ENDINGS = (".json", ".npz", ".new")
_SHOWN = 12  # letters of a setting that differs

Arrays = Mapping[str, npt.NDArray[Any]]


class Checkpoint:
    """One file of arrays."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> dict[str, npt.NDArray[Any]] | None:
        """The arrays saved last; None when there are none.  TrainingError for a damaged file."""
        if not self._path.exists():
            return None
        try:
            with np.load(self._path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise TrainingError(
                f"{self._path}: no checkpoint ({error}): delete {self._path.parent} to begin anew"
            ) from None

    def save(self, arrays: Arrays) -> None:
        """Replace what was saved; TrainingError when it cannot be written."""
        new = self._path.with_suffix(".new")
        # Packed in memory: a zip that cannot be finished, where the disk is full, complains once more later.
        packed = io.BytesIO()
        np.savez(packed, allow_pickle=False, **arrays)  # type: ignore[arg-type]
        try:
            with new.open("wb") as file:
                file.write(packed.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
        except OSError as error:
            raise _unwritable(self._path.parent, error) from None


class Checkpoints:
    """The folder of one command.

    folder: made when it is not there; what a command left in it that had done nothing yet is deleted,
        file by file.
    command: all that the results depend on, as JSON.
    Raises TrainingError when the folder holds what another command has done, by the settings that differ,
    or anything else, by name, or when it cannot be written.
    """

    def __init__(self, folder: Path, command: Mapping[str, Any]) -> None:
        self._folder = folder
        text = json.dumps({"made_by": _MADE_BY, "command": command}, sort_keys=True, indent=1) + "\n"
        try:
            found = self._found()
            #: Whether there is something of the same command to go on with.
            self.resumed = found == text
            if not self.resumed:
                if found is not None:
                    self._refuse_loss(found, text)
                    self._delete()
                folder.mkdir(parents=True, exist_ok=True)
                self._write(_COMMAND, text)
        except OSError as error:
            raise _unwritable(folder, error) from None

    def _found(self) -> str | None:
        """The command that left this folder, None where there is none; TrainingError for other content."""
        begun = self._folder / f"{_COMMAND}.new"  # all there is where the disk was full from the start
        if not self._folder.exists() or (self._folder.is_dir() and set(self._folder.iterdir()) <= {begun}):
            return None
        known = self._folder / _COMMAND
        text = known.read_text(encoding="utf-8", errors="replace") if known.is_file() else ""
        if not _is_ours(text):
            raise TrainingError(f"{self._folder}: is there and holds no checkpoints: move it away")
        for path in sorted(self._folder.iterdir()):
            if not _is_checkpoint(path):
                raise TrainingError(
                    f"{self._folder}: holds {path.name}, which is no checkpoint: move it away"
                )
        return text

    def _refuse_loss(self, found: str, text: str) -> None:
        """TrainingError where the command that was found has got somewhere: that may be hours of fitting."""
        names = {path.name for path in self._folder.iterdir() if path.suffix != ".new"}
        if names - {_COMMAND}:
            before, now = _differences(_flat(json.loads(found)), _flat(json.loads(text)))
            raise TrainingError(
                f"{self._folder}: holds what a fit with {before} has done, not one with {now}: go on with"
                f" that one, or delete {self._folder} to begin anew"
            )

    def _delete(self) -> None:
        """Its files one by one, never a tree: what is not theirs stays."""
        for path in self._folder.iterdir():
            if _is_checkpoint(path):
                path.unlink()
        if not any(self._folder.iterdir()):
            self._folder.rmdir()

    def of(self, name: str) -> Checkpoint:
        """The checkpoint of a fit by its name."""
        return Checkpoint(self._folder / f"{name}.npz")

    def result(self, name: str) -> Any:
        """What `keep` kept by that name; None when nothing was."""
        path = self._folder / f"{name}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def keep(self, name: str, result: Any) -> None:
        """Keep JSON data: a fit is over, and its checkpoint goes.  Floats come back bit by bit."""
        try:
            self._write(f"{name}.json", json.dumps(result) + "\n")
            (self._folder / f"{name}.npz").unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(self._folder, error) from None

    def remove(self) -> None:
        """All is done: the bundle is written."""
        with contextlib.suppress(OSError):
            self._delete()

    def _write(self, name: str, text: str) -> None:
        new = self._folder / f"{name}.new"
        with new.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._folder / name)


def _is_ours(text: str) -> bool:
    try:
        command = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(command, dict) and command.get("made_by") == _MADE_BY


def _flat(data: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """What nested JSON objects hold, each by the names that lead to it."""
    if not isinstance(data, dict):
        return {path: data}
    return {key: value for name, one in data.items() for key, value in _flat(one, (*path, name)).items()}


def _differences(before: Mapping[tuple[str, ...], Any], now: Mapping[tuple[str, ...], Any]) -> list[str]:
    """The settings that are not the same, as text, of either side."""
    keys = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]

    def told(side: Mapping[tuple[str, ...], Any]) -> str:
        # The start of a hash is enough to tell it from another.
        return ", ".join(f"{key[-1]} {str(side.get(key, 'none'))[:_SHOWN]}" for key in keys)

    return [told(before), told(now)]


def _is_checkpoint(path: Path) -> bool:
    return path.suffix in _ENDINGS and path.is_file() and not path.is_symlink()


def _unwritable(folder: Path, error: OSError) -> TrainingError:
    return TrainingError(
        f"{folder}: cannot be written ({error.strerror}); what it holds stays, the same command goes on there"
    )
