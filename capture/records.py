"""Files of flow records: FLOW_DTYPE on disk, whole, snapshots included, in emission order.

What `ids-daemon flows --records` writes and the trainer reads: Parquet with one column a field, and
in its metadata the version of the records and the meter that made them.
"""

from __future__ import annotations

import os
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from capture.columns import FLOW_DTYPE
from capture.errors import ExtraMissing, FlowFileError
from capture.parquet import ParquetRows, parquet, pyarrow

__all__ = ["ExtraMissing", "FlowFileError", "read_records", "records_parquet"]

#: Raised when a field of FLOW_DTYPE changes its meaning; a change of the dtype shows by itself.
RECORDS_VERSION = b"1"
_VERSION_KEY = b"ids-daemon.flow-records"
_METER_KEY = b"ids-daemon.meter"


def _schema(meter: str) -> Any:
    """One column a field of FLOW_DTYPE, byte arrays (addresses) as fixed-size binary."""
    pa = pyarrow()
    kinds = []
    for name in FLOW_DTYPE.names or ():
        field = FLOW_DTYPE[name]
        kind = pa.binary(field.itemsize) if field.shape else pa.from_numpy_dtype(field)
        kinds.append(pa.field(name, kind, nullable=False))
    return pa.schema(kinds, metadata={_VERSION_KEY: RECORDS_VERSION, _METER_KEY: meter})


def records_parquet(file: IO[bytes], meter: str) -> ParquetRows:
    """Writes records that `meter` made."""
    pa = pyarrow()
    schema = _schema(meter)

    def table_of(records: np.ndarray) -> Any:
        arrays = []
        for field in schema:
            values = np.ascontiguousarray(records[field.name])
            buffers = [None, pa.py_buffer(values)]
            arrays.append(pa.Array.from_buffers(field.type, len(records), buffers))
        return pa.Table.from_arrays(arrays, schema=schema)

    return ParquetRows(file, schema, table_of)


def read_records(path: str | os.PathLike[str], meter: str | None = None) -> npt.NDArray[np.void]:
    """The records of a file: (n,) of FLOW_DTYPE, bit for bit.

    meter: the one that must have made them.
    Raises FlowFileError when the file is missing, damaged, something else, of another version or of
    another meter, and ExtraMissing without pyarrow.
    """
    pa, wanted = pyarrow(), _schema(meter or "")
    try:
        with open(path, "rb") as file:
            source = parquet().ParquetFile(file)
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
            made_by = schema.metadata.get(_METER_KEY, b"").decode()
            if meter is not None and made_by != meter:
                raise FlowFileError(
                    f"{path}: these records are of the meter {made_by or 'unknown'}, not {meter}:"
                    " meter the captures again, or name that meter"
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
