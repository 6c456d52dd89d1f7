"""Flow records to CSV and Parquet, and whole records back.

Two kinds of file:

- **flows** (`.csv`, `.parquet`): final rows under the corrected CICFlowMeter's column names, a
  drop-in for its output;
- **records** (`.parquet`): FLOW_DTYPE whole, snapshots included, in emission order.  What
  training reads.

A file is written beside its place under the name `NAME.part` and moved there by `close`, also
when the work ends early by an exception: the rows written until then are in it.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from capture.columns import COLUMNS, CSV_HEADER, FLOW_DTYPE, Kind, feature_matrix
from capture.errors import ExtraMissing, FlowFileError
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
INSTALL_PARQUET = "pip install 'ids-daemon[parquet]'"

#: Raised when a field of FLOW_DTYPE changes its meaning; a change of the dtype shows by itself.
RECORDS_VERSION = b"1"
_VERSION_KEY = b"ids-daemon.flow-records"

#: Rows gathered before they are written, so that a trickle makes no thousand row groups.
_ROW_GROUP = 65_536
#: Rows of CSV made at a time: some 8 MB of room.
_CSV_ROWS = 4_096

CommunityId = Callable[[np.ndarray], list[str]]


class _Format(Protocol):
    """How rows become bytes of an open file."""

    def write(self, records: np.ndarray) -> None: ...
    def finish(self) -> None: ...
    def abandon(self) -> None: ...


class FlowWriter:
    """Write flow records to `path`; a context manager.

    `path` ends in `.csv` or `.parquet`.  Final rows only (Kind.FINAL, Kind.EVICTED), or with
    `records` FLOW_DTYPE whole (`.parquet` only).  `community_id` gives a text for each record of
    an array, for a last column `Community ID` of a file of flows.

    Raises FlowFileError when the name has another ending or the file cannot be written, and
    ExtraMissing without pyarrow; nothing is left of the file then.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        records: bool = False,
        community_id: CommunityId | None = None,
    ) -> None:
        self._path = Path(path)
        suffix = self._path.suffix.lower()
        if suffix not in (".csv", ".parquet") or (records and suffix == ".csv"):
            wanted = ".parquet" if records else ".csv or .parquet"
            raise FlowFileError(
                f"{self._path}: unknown kind of flow file; give it a name that ends in {wanted}"
            )
        if suffix == ".parquet":
            _pyarrow()
        # What is no regular file (a named pipe) is written in place.
        in_place = self._path.exists() and not self._path.is_file()
        self._target = self._path if in_place else self._path.with_name(self._path.name + ".part")
        self.rows = 0  #: written so far
        try:
            self._file: IO[bytes] | None = self._target.open("wb")
        except OSError as error:
            raise self._unwritable(error) from None
        self._records = records
        self._format: _Format | None = None
        try:
            if records:
                self._format = _records_parquet(self._file)
            elif suffix == ".parquet":
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
            records = records[records["kind"] != Kind.SNAPSHOT]
        if not len(records):
            return
        try:
            self._format.write(records)
        except OSError as error:
            raise self._failed(error) from None
        self.rows += len(records)

    def close(self) -> None:
        """Write what is left and put the file in its place; harmless when repeated."""
        if self._file is None or self._format is None:
            return
        try:
            self._format.finish()
            self._file.close()
            if self._target != self._path:
                os.replace(self._target, self._path)
        except OSError as error:
            raise self._failed(error) from None
        self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _unwritable(self, error: OSError) -> FlowFileError:
        reason = error.strerror or str(error)
        return FlowFileError(
            f"{self._path}: cannot be written: {reason}; name a file in a writable folder with room"
        )

    def _failed(self, error: OSError) -> FlowFileError:
        """Give the file up: remove what there is of it."""
        file, self._file = self._file, None
        if self._format is not None:
            self._format.abandon()
        # Closing flushes what is buffered, which fails for the reason that is told already.
        with suppress(OSError):
            if file is not None:
                file.close()
        with suppress(OSError):
            if self._target != self._path:
                self._target.unlink()
        return self._unwritable(error)


def address_texts(addresses: npt.NDArray[np.uint8]) -> list[str]:
    """(n, 16) addresses as text: IPv4 dotted where mapped, IPv6 by RFC 5952."""
    out = np.empty(ADDRESS_LENGTH * len(addresses), np.uint8)
    ends = np.empty(len(addresses), np.int64)
    put_addresses(out, ends, np.ascontiguousarray(addresses))
    if not len(ends):
        return []
    text = out[: ends[-1]].tobytes().decode("ascii")
    places = ends.tolist()
    return [text[start:end] for start, end in zip([0, *places], places)]


def _identity_texts(records: np.ndarray) -> tuple[list[str], list[str], list[str]]:
    """(Flow ID, Src IP, Dst IP) of records."""
    sources, destinations = address_texts(records["src"]), address_texts(records["dst"])
    flow_ids = [
        f"{destination}-{source}-{destination_port}-{source_port}-{protocol}"
        if turned
        else f"{source}-{destination}-{source_port}-{destination_port}-{protocol}"
        for source, destination, source_port, destination_port, protocol, turned in zip(
            sources,
            destinations,
            records["src_port"].tolist(),
            records["dst_port"].tolist(),
            records["csv_protocol"].tolist(),
            records["key_reversed"].tolist(),
        )
    ]
    return flow_ids, sources, destinations


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


class _Parquet:
    """Gathers records and writes them in row groups of a decent size, each by `table_of`."""

    def __init__(self, file: IO[bytes], schema: Any, table_of: Callable[[np.ndarray], Any]) -> None:
        self._writer = _parquet().ParquetWriter(file, schema, compression="zstd")
        self._table_of = table_of
        self._waiting: list[np.ndarray] = []
        self._rows = 0

    def write(self, records: np.ndarray) -> None:
        for start in range(0, len(records), _ROW_GROUP):
            piece = records[start : start + _ROW_GROUP].copy()
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
        records = np.concatenate(self._waiting)
        self._waiting, self._rows = [], 0
        self._writer.write_table(self._table_of(records))


def _flows_parquet(file: IO[bytes], community_id: CommunityId | None) -> _Parquet:
    """CICFlowMeter's columns with types: times as UTC timestamps, counts as int64."""
    pa = _pyarrow()
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
        flow_ids, sources, destinations = _identity_texts(records)
        columns: list[Any] = [
            flow_ids,
            sources,
            records["src_port"].astype(np.int32),
            destinations,
            records["dst_port"].astype(np.int32),
            records["csv_protocol"].astype(np.int32),
            (records["start_ns"] // 1000).astype("datetime64[us]"),
        ]
        for column in COLUMNS:
            values = np.ascontiguousarray(records[column.field])
            if column.integer:
                finite = np.isfinite(values)
                whole = np.rint(np.where(finite, values, 0)).astype(np.int64)
                columns.append(pa.array(whole, mask=~finite))
            else:
                columns.append(values)
        columns.append([LABEL] * len(records))
        if community_id:
            columns.append(community_id(records))
        return pa.table([pa.array(column, kind) for column, kind in zip(columns, kinds)], schema=schema)

    return _Parquet(file, schema, table_of)


def _records_schema() -> Any:
    """One column a field of FLOW_DTYPE, byte arrays (addresses) as fixed-size binary."""
    pa = _pyarrow()
    kinds = []
    for name in FLOW_DTYPE.names or ():
        field = FLOW_DTYPE[name]
        kind = pa.binary(field.itemsize) if field.shape else pa.from_numpy_dtype(field)
        kinds.append(pa.field(name, kind, nullable=False))
    return pa.schema(kinds, metadata={_VERSION_KEY: RECORDS_VERSION})


def _records_parquet(file: IO[bytes]) -> _Parquet:
    pa = _pyarrow()
    schema = _records_schema()

    def table_of(records: np.ndarray) -> Any:
        arrays = []
        for field in schema:
            values = np.ascontiguousarray(records[field.name])
            buffers = [None, pa.py_buffer(values)]
            arrays.append(pa.Array.from_buffers(field.type, len(records), buffers))
        return pa.Table.from_arrays(arrays, schema=schema)

    return _Parquet(file, schema, table_of)


def read_records(path: str | os.PathLike[str]) -> npt.NDArray[np.void]:
    """The records of a file written with `records=True`: (n,) of FLOW_DTYPE, bit for bit.

    Raises FlowFileError when the file is missing, damaged, something else, or of another version.
    """
    pa, wanted = _pyarrow(), _records_schema()
    try:
        with open(path, "rb") as file:
            source = _parquet().ParquetFile(file)
            schema = source.schema_arrow
            version = (schema.metadata or {}).get(_VERSION_KEY)
            if version is None:
                raise FlowFileError(
                    f"{path}: holds no flow records; give a file written by `ids-daemon flows --records`"
                )
            if version != RECORDS_VERSION or not schema.equals(wanted):
                raise FlowFileError(
                    f"{path}: holds flow records of another version; meter the captures again"
                )
            table = source.read()
    except OSError as error:
        raise FlowFileError(f"{path}: cannot be read: {error.strerror or error}; check the path") from None
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise FlowFileError(f"{path}: is not a whole Parquet file: {reason}; write it again") from None
    records = np.zeros(table.num_rows, FLOW_DTYPE)
    for field in wanted:
        start = 0
        for chunk in table.column(field.name).chunks:
            records[field.name][start : start + len(chunk)] = _values(chunk, FLOW_DTYPE[field.name])
            start += len(chunk)
    return records


def _values(chunk: Any, field: np.dtype[Any]) -> np.ndarray:
    """The values of one array of a column, (n,) or (n, bytes), over its own memory."""
    values = np.frombuffer(chunk.buffers()[1], field.base)
    width = field.shape[0] if field.shape else 1
    values = values[chunk.offset * width : (chunk.offset + len(chunk)) * width]
    return values.reshape(len(chunk), width) if field.shape else values


def _pyarrow() -> Any:
    """The package pyarrow, an extra."""
    try:
        return importlib.import_module("pyarrow")
    except ImportError:
        raise ExtraMissing(f"Parquet needs pyarrow, which is not installed: {INSTALL_PARQUET}") from None


def _parquet() -> Any:
    _pyarrow()
    return importlib.import_module("pyarrow.parquet")
