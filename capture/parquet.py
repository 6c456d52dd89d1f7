"""Parquet by pyarrow, an extra: rows gathered into row groups of a decent size."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from capture.columns import FLOW_DTYPE, WHOLE_RECORD
from capture.errors import ExtraMissing

INSTALL_PARQUET = "pip install 'ids-daemon[parquet]'"

#: Rows gathered before they are written, so that a trickle makes no thousand row groups.
_ROW_GROUP = 65_536


class ParquetRows:
    """Gathers records and writes them in row groups of a decent size, each by `table_of`."""

    def __init__(self, file: IO[bytes], schema: Any, table_of: Callable[[np.ndarray], Any]) -> None:
        self._writer = parquet().ParquetWriter(file, schema, compression="zstd")
        self._table_of = table_of
        self._waiting: list[np.ndarray] = []
        self._rows = 0

    def write(self, records: np.ndarray) -> None:
        for start in range(0, len(records), _ROW_GROUP):
            piece = records[start : start + _ROW_GROUP].view(WHOLE_RECORD).copy()
            self._waiting.append(piece)
            self._rows += len(piece)
            if self._rows >= _ROW_GROUP:
                self._flush()

    def finish(self) -> None:
        if self._rows:
            self._flush()
        self._writer.close()

    def abandon(self) -> None:
        # The writer's destructor would write a footer to the file that just failed.
        self._writer.is_open = False

    def _flush(self) -> None:
        records = np.concatenate(self._waiting).view(FLOW_DTYPE)
        self._waiting, self._rows = [], 0
        self._writer.write_table(self._table_of(records))


def pyarrow() -> Any:
    """The package pyarrow; ExtraMissing without it."""
    try:
        return importlib.import_module("pyarrow")
    except ImportError:
        raise ExtraMissing(f"Parquet needs pyarrow, which is not installed: {INSTALL_PARQUET}") from None


def parquet() -> Any:
    """The package pyarrow.parquet; ExtraMissing without it."""
    pyarrow()
    return importlib.import_module("pyarrow.parquet")
