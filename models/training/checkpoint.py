"""Where a fit has got to, on disk: plain arrays and JSON, so that the same command goes on after a stop."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import TrainingError

_STATE = "state.json"

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that holds the newest state of one fit.

    `command` says what is fitted on what; a state of another command is no state of this one.
    """

    folder: Path
    command: Mapping[str, Any]  #: JSON

    def save(self, arrays: Mapping[str, npt.NDArray[Any]], state: Mapping[str, Any]) -> None:
        """Replace what is there.  A stop at any moment leaves the old state or the new one.

        Raises TrainingError when it cannot be written.
        """
        number = state["epoch"]
        name = f"epoch-{number}.npz"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(self.folder / (name + ".new"), "wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
            os.replace(self.folder / (name + ".new"), self.folder / name)
            text = json.dumps({"command": self.command, "arrays": name, **state}, indent=1)
            (self.folder / (_STATE + ".new")).write_text(text + "\n")
            os.replace(self.folder / (_STATE + ".new"), self.folder / _STATE)
            for old in self.folder.glob("epoch-*"):
                if old.name != name:
                    old.unlink()
        except OSError as error:
            raise TrainingError(
                f"{self.folder}: the state of the fit cannot be written: {error.strerror}"
            ) from None

    def load(self) -> tuple[Arrays, dict[str, Any]] | None:
        """The state of this very command; None where there is none.

        Raises TrainingError when there is one that cannot be read, with what to do.
        """
        place = self.folder / _STATE
        if not place.exists():
            return None
        try:
            state = json.loads(place.read_text())
            # Through JSON, because that is what the file's command has gone through.
            if state.pop("command") != json.loads(json.dumps(self.command)):
                return None
            # Opened here, because numpy leaves a file open that turns out to be no archive.
            place = self.folder / state.pop("arrays")
            with open(place, "rb") as opened, np.load(opened, allow_pickle=False) as file:
                return {key: file[key] for key in file.files}, state
        except (OSError, ValueError, KeyError, AttributeError, TypeError, zipfile.BadZipFile):
            raise TrainingError(
                f"{self.folder}: the state of an earlier fit cannot be read; delete the folder to begin anew"
            ) from None

    def remove(self) -> None:
        """Take the folder away: the fit is done."""
        shutil.rmtree(self.folder, ignore_errors=True)
