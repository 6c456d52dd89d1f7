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
_ROW_GROUP = 16_384


class ParquetRows:
    """Gathers records and writes them in row groups of a decent size, each by `table_of`."""

    def __init__(self, file: IO[bytes], schema: Any, table_of: Callable[[np.ndarray], Any]) -> None:
        # Values hardly repeat beyond what zstd sees: dictionaries cost a quarter and make larger files.
        self._writer = parquet().ParquetWriter(file, schema, compression="zstd", use_dictionary=False)
        self._table_of = table_of
        self._waiting = np.empty(_ROW_GROUP, FLOW_DTYPE)
        self._rows = 0

    def write(self, records: np.ndarray) -> None:
        while len(records):
            taken = min(len(records), _ROW_GROUP - self._rows)
            place = self._waiting[self._rows : self._rows + taken]
            place.view(WHOLE_RECORD)[:] = records[:taken].view(WHOLE_RECORD)
            self._rows += taken
            records = records[taken:]
            if self._rows == _ROW_GROUP:
                self._flush()

    def finish(self) -> None:
        if self._rows:
            self._flush()
        self._writer.close()

    def abandon(self) -> None:
        # The writer's destructor would write a footer to the file that just failed.
        self._writer.is_open = False

    def _flush(self) -> None:
        records = self._waiting[: self._rows]
        self._rows = 0
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
