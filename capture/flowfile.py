"""Flow records to files: CICFlowMeter's columns as CSV or Parquet, or records whole.

Two kinds of file:

- **flows** (`.csv`, `.parquet`): final rows under the corrected CICFlowMeter's column names, a
  drop-in for its output;
- **records** (`.parquet`): FLOW_DTYPE whole, see `capture.records`.

A file is written beside its place under the name `NAME.part` and moved there by `close`, also
when the work ends early by an exception: the rows written until then are in it.  Where there are
none then, what stood there before stays.
"""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt

from capture.closing import Closing
from capture.columns import COLUMNS, CSV_HEADER, FLOW_DTYPE, WHOLE_RECORD, Kind, feature_matrix
from capture.errors import FlowFileError
from capture.parquet import ParquetRows, pyarrow
from capture.records import records_parquet
from capture.text_kernels import (
    ADDRESS_LENGTH,
    IDENTITY_LENGTH,
    NUMBER_LENGTH,
    Flows,
    put_addresses,
    put_rows,
)

LABEL = "NeedManualLabel"
COMMUNITY_ID = "Community ID"

#: Rows of CSV made at a time: some 8 MB of room.
_CSV_ROWS = 4_096

#: Records whose features are turned into columns at a time.
_TURNED_ROWS = 256

CommunityId = Callable[[np.ndarray], list[str]]


class _Format(Protocol):
    """How rows become bytes of an open file."""

    def write(self, records: np.ndarray) -> None: ...
    def finish(self) -> None: ...
    def abandon(self) -> None: ...


class FlowWriter(Closing):
    """Write flow records to `path`; a context manager.

    `path` ends in `.csv` or `.parquet`.  Final rows only (Kind.FINAL, Kind.EVICTED), or with
    `records` FLOW_DTYPE whole (`.parquet` only), with the name of the `meter` that made them.
    `community_id` gives a text for each record of an array, for a last column `Community ID` of a
    file of flows.

    Raises FlowFileError when the name has another ending or the file cannot be written, and
    ExtraMissing without pyarrow; nothing is left of the file then.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        records: bool = False,
        meter: str = "native",
        community_id: CommunityId | None = None,
    ) -> None:
        self._path = Path(path)
        as_parquet = self._path.name.lower().endswith(".parquet")
        if not as_parquet and (records or not self._path.name.lower().endswith(".csv")):
            wanted = ".parquet" if records else ".csv or .parquet"
            raise FlowFileError(
                f"{self._path}: unknown kind of flow file; give it a name that ends in {wanted}"
            )
        if as_parquet:
            pyarrow()
        # What is no regular file (a named pipe) is written in place.
        in_place = self._path.exists() and not self._path.is_file()
        # Where a link leads, so that it stays one.
        self._place = self._path if in_place else Path(os.path.realpath(self._path))
        self._target = self._place if in_place else self._place.with_name(self._place.name + ".part")
        self.rows = 0  #: written so far
        try:
            self._file: IO[bytes] | None = self._target.open("wb")
        except OSError as error:
            raise self._unwritable(error) from None
        self._records = records
        self._format: _Format | None = None
        try:
            if records:
                self._format = records_parquet(self._file, meter)
            elif as_parquet:
                self._format = _flows_parquet(self._file, community_id)
            else:
                self._format = _FlowsCsv(self._file, community_id)
        except OSError as error:
            raise self._failed(error) from None

    def write(self, records: npt.NDArray[np.void]) -> None:
        """Append records of FLOW_DTYPE, shape (n,); they are not kept past the call."""
        if records.dtype != FLOW_DTYPE or records.ndim != 1:
            raise TypeError("one-dimensional array of FLOW_DTYPE wanted")
        if self._file is None or self._format is None:
            raise ValueError(f"{self._path}: is closed")
        if not self._records:
            records = records.view(WHOLE_RECORD)[records["kind"] != Kind.SNAPSHOT].view(FLOW_DTYPE)
        if not len(records):
            return
        try:
            self._format.write(records)
        except OSError as error:
            raise self._failed(error) from None
        self.rows += len(records)

    def discard(self) -> None:
        """Close without a file: what stood in its place before stays."""
        if self._file is not None and self._format is not None:
            # pyarrow's writer, left unfinished, would write to the closed file when it is let go.
            with suppress(OSError):
                self._format.finish()
        self._give_up()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None and not self.rows:
            self.discard()
        else:
            self.close()

    def close(self) -> None:
        """Write what is left and put the file in its place; harmless when repeated."""
        if self._file is None or self._format is None:
            return
        try:
            self._format.finish()
            self._file.close()
            if self._target != self._place:
                os.replace(self._target, self._place)
        except OSError as error:
            raise self._failed(error) from None
        self._file = None

    def _unwritable(self, error: OSError) -> FlowFileError:
        reason = error.strerror or str(error)
        return FlowFileError(
            f"{self._path}: cannot be written: {reason}; name a file in a writable folder with room"
        )

    def _failed(self, error: OSError) -> FlowFileError:
        self._give_up()
        return self._unwritable(error)

    def _give_up(self) -> None:
        """Remove what there is of the file."""
        file, self._file = self._file, None
        if file is None:
            return
        if self._format is not None:
            self._format.abandon()
        # Closing flushes what is buffered, which fails for the reason that is told already.
        with suppress(OSError):
            file.close()
        with suppress(OSError):
            if self._target != self._place:
                self._target.unlink()


def load_kernels() -> None:
    """Compile the kernels that write flows, or load them from the cache."""
    records = np.zeros(2, FLOW_DTYPE)
    _FlowsCsv(io.BytesIO(), None).write(records)
    _put_addresses(records["src"])


def address_column(addresses: npt.NDArray[np.uint8]) -> Any:
    """(n, 16) addresses as a column of text: IPv4 dotted where mapped, IPv6 by RFC 5952."""
    pa = pyarrow()
    out, ends = _put_addresses(addresses)
    places = np.concatenate([[0], ends]).astype(np.int32)
    return pa.StringArray.from_buffers(len(addresses), pa.py_buffer(places), pa.py_buffer(out))


def _put_addresses(addresses: npt.NDArray[np.uint8]) -> tuple[np.ndarray, np.ndarray]:
    """The texts in a row, and where each ends."""
    out = np.empty(ADDRESS_LENGTH * len(addresses), np.uint8)
    ends = np.empty(len(addresses), np.int64)
    put_addresses(out, ends, np.ascontiguousarray(addresses))
    return out, ends


def _identity_columns(records: np.ndarray) -> tuple[Any, Any, Any]:
    """(Flow ID, Src IP, Dst IP) of records, as columns of text."""
    pa = pyarrow()
    compute = importlib.import_module("pyarrow.compute")
    source, destination = address_column(records["src"]), address_column(records["dst"])
    source_port, destination_port, protocol = (
        pa.array(np.ascontiguousarray(records[name])).cast(pa.string())
        for name in ("src_port", "dst_port", "csv_protocol")
    )
    turned = pa.array(records["key_reversed"] != 0)
    flow_id = compute.binary_join_element_wise(
        compute.if_else(turned, destination, source),
        compute.if_else(turned, source, destination),
        compute.if_else(turned, destination_port, source_port),
        compute.if_else(turned, source_port, destination_port),
        protocol,
        "-",
    )
    return flow_id, source, destination


def _features_by_column(records: np.ndarray) -> npt.NDArray[np.float64]:
    """(81, n): each column contiguous, turned over in pieces that a cache holds."""
    values = feature_matrix(records)
    turned = np.empty(values.shape[::-1])
    for start in range(0, len(values), _TURNED_ROWS):
        turned[:, start : start + _TURNED_ROWS] = values[start : start + _TURNED_ROWS].T
    return turned


class _FlowsCsv:
    """Rows by a kernel; what ends them (Label, Community ID) from here."""

    def __init__(self, file: IO[bytes], community_id: CommunityId | None) -> None:
        self._file = file
        self._community_id = community_id
        self._whole = np.array([column.integer for column in COLUMNS])
        header = [*CSV_HEADER, COMMUNITY_ID] if community_id else list(CSV_HEADER)
        file.write((",".join(header) + "\n").encode())

    def write(self, records: np.ndarray) -> None:
        for start in range(0, len(records), _CSV_ROWS):
            self._write_rows(records[start : start + _CSV_ROWS])

    def finish(self) -> None:
        self._file.flush()

    def abandon(self) -> None:
        pass

    def _write_rows(self, records: np.ndarray) -> None:
        if self._community_id:
            tails = [f",{LABEL},{text}\n" for text in self._community_id(records)]
        else:
            tails = [f",{LABEL}\n"] * len(records)
        tail = np.frombuffer("".join(tails).encode("ascii"), np.uint8)
        tail_ends = np.cumsum(np.fromiter(map(len, tails), np.int64, len(tails)))
        values = np.ascontiguousarray(feature_matrix(np.ascontiguousarray(records)))
        row_length = IDENTITY_LENGTH + NUMBER_LENGTH * values.shape[1]
        out = np.empty(len(records) * row_length + len(tail), np.uint8)
        flows = Flows(*(np.ascontiguousarray(records[name]) for name in Flows._fields))
        length = put_rows(out, flows, values, values.view(np.uint64), self._whole, tail, tail_ends)
        self._file.write(out[:length].data)


def _flows_parquet(file: IO[bytes], community_id: CommunityId | None) -> ParquetRows:
    """CICFlowMeter's columns with types: times as UTC timestamps, counts as int64."""
    pa = pyarrow()
    kinds: list[Any] = [pa.string(), pa.string(), pa.int32(), pa.string(), pa.int32(), pa.int32()]
    kinds.append(pa.timestamp("us", tz="UTC"))
    kinds += [pa.int64() if column.integer else pa.float64() for column in COLUMNS]
    kinds.append(pa.string())
    names = list(CSV_HEADER)
    if community_id:
        names.append(COMMUNITY_ID)
        kinds.append(pa.string())
    schema = pa.schema(list(zip(names, kinds)))

    def table_of(records: np.ndarray) -> Any:
        flow_ids, sources, destinations = _identity_columns(records)
        columns: list[Any] = [
            flow_ids,
            sources,
            records["src_port"].astype(np.int32),
            destinations,
            records["dst_port"].astype(np.int32),
            records["csv_protocol"].astype(np.int32),
            (records["start_ns"] // 1000).astype("datetime64[us]"),
        ]
        for column, values in zip(COLUMNS, _features_by_column(records), strict=True):
            if column.integer:
                finite = np.isfinite(values)
                if finite.all():
                    columns.append(np.rint(values).astype(np.int64))
                else:
                    whole = np.rint(np.where(finite, values, 0)).astype(np.int64)
                    columns.append(pa.array(whole, mask=~finite))
            else:
                columns.append(values)
        columns.append(pa.repeat(LABEL, len(records)))
        if community_id:
            columns.append(community_id(records))
        return pa.table([pa.array(column, kind) for column, kind in zip(columns, kinds)], schema=schema)

    return ParquetRows(file, schema, table_of)
