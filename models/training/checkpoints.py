"""What a fit has done so far, beside its bundle: broken off, the same command goes on there.

A folder `OUT.partial` with plain arrays and JSON, no pickle.  Every file is written whole under
another name and then renamed, so a full disk or a kill leaves the last good one.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import TrainingError

_COMMAND = "command.json"

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
        try:
            with new.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)  # type: ignore[arg-type]
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
        except OSError as error:
            raise _unwritable(self._path.parent, error) from None


class Checkpoints:
    """The folder of one command.

    folder: made when it is not there; what another command left in it is deleted.
    command: all that the results depend on, as JSON.
    Raises TrainingError when the folder holds something else, or cannot be written.
    """

    def __init__(self, folder: Path, command: Mapping[str, Any]) -> None:
        self._folder = folder
        text = json.dumps(command, sort_keys=True, indent=1) + "\n"
        known = folder / _COMMAND
        if folder.exists() and not known.is_file() and any(folder.iterdir()):
            raise TrainingError(f"{folder}: is there and holds no checkpoints: move it away")
        #: Whether there is something of the same command to go on with.
        self.resumed = known.is_file() and known.read_text(encoding="utf-8") == text
        try:
            if not self.resumed:
                if folder.exists():
                    shutil.rmtree(folder)
                folder.mkdir(parents=True)
                self._write(_COMMAND, text)
        except OSError as error:
            raise _unwritable(folder, error) from None

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
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self, name: str, text: str) -> None:
        new = self._folder / f"{name}.new"
        with new.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._folder / name)


def _unwritable(folder: Path, error: OSError) -> TrainingError:
    return TrainingError(
        f"{folder}: cannot be written ({error.strerror}); what it holds stays, the same command goes on there"
    )
