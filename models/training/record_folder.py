"""Flow records of many captures, a Parquet file each, in one folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from capture.columns import FLOW_DTYPE
from capture.records import read_records
from models.errors import TrainingError
from models.training.labels import CaptureLabel


class RecordReader:
    """Flow records of captures from a folder of Parquet files."""

    def __init__(self, folder: Path, meter: str) -> None:
        if not folder.is_dir():
            raise TrainingError(
                f"{folder}: no such folder; make it with `ids-daemon flows CAPTURE --records`"
            )
        self._folder, self._meter = folder, meter
        self._hash = hashlib.sha256()
        self.missing: list[str] = []

    def read(self, label: CaptureLabel) -> np.ndarray:
        """The records of a capture; an empty array where there is no file, counted in `missing`."""
        path = self._folder / f"{label.path}.parquet"
        if path.exists():
            records = read_records(path, self._meter)
        else:
            self.missing.append(label.path)
            records = np.zeros(0, FLOW_DTYPE)
        self._hash.update(label.path.encode() + b"\0" + records.tobytes())
        return records

    def digest(self) -> str:
        """SHA-256 over the paths and records read so far, in order."""
        return self._hash.hexdigest()
