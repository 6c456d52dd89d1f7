"""Flow records of many captures, a Parquet file each, in one folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from capture.columns import FLOW_DTYPE
from capture.records import read_records
from models.errors import TrainingError
from models.training.windows.labels import CaptureLabel


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
        records = self.again(label)
        if not self._path(label).exists():
            self.missing.append(label.path)
        self._hash.update(label.path.encode() + b"\0" + records.tobytes())
        return records

    def again(self, label: CaptureLabel) -> np.ndarray:
        """As `read`, of what was read before: it counts for nothing."""
        path = self._path(label)
        records = read_records(path, self._meter) if path.exists() else np.zeros(0, FLOW_DTYPE)
        if label.piece is None:
            return records
        first, last = np.searchsorted(records["time_ns"], label.piece)
        return records[first:last]

    def cut(self, labels: Sequence[CaptureLabel], seconds: float) -> Iterator[CaptureLabel]:
        """Benign captures in pieces of that length, a last one of less than half joined to the one before."""
        length = round(seconds * 1e9)
        for label in labels:
            times = np.zeros(0, np.int64) if label.attack else self.again(label)["time_ns"]
            count = round((int(times[-1]) - int(times[0])) / length) if len(times) else 0
            if count < 2:
                yield label
                continue
            marks = [int(times[0]) + n * length for n in range(count)] + [int(times[-1]) + 1]
            for piece in zip(marks[:-1], marks[1:], strict=True):
                yield replace(label, piece=piece)

    def digest(self) -> str:
        """SHA-256 over the paths and records read so far, in order."""
        return self._hash.hexdigest()

    def _path(self, label: CaptureLabel) -> Path:
        return self._folder / f"{label.path}.parquet"
