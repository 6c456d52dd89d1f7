"""Flow records from Parquet, as `ids-daemon flows --records` writes them."""

from __future__ import annotations

import os

import numpy as np

from capture.columns import FLOW_DTYPE
from models.errors import TrainingError


def read_records(path: str | os.PathLike[str]) -> np.ndarray:
    """FLOW_DTYPE records of a file; none when it does not exist.  TrainingError for anything else."""
    if not os.path.exists(path):
        return np.zeros(0, FLOW_DTYPE)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise TrainingError(f"{path}: not a file of flow records: {error}") from None
    missing = [
        name for name in FLOW_DTYPE.names or () if name not in table.column_names and name != "reserved"
    ]
    if missing:
        raise TrainingError(
            f"{path}: column {missing[0]} is missing; write it again with `ids-daemon flows --records`"
        )
    records = np.zeros(table.num_rows, FLOW_DTYPE)
    for name in FLOW_DTYPE.names or ():
        if name in table.column_names:
            column = table.column(name).combine_chunks()
            base, shape = FLOW_DTYPE[name].base, FLOW_DTYPE[name].shape
            wanted = pa.binary(*shape) if shape else pa.from_numpy_dtype(base)
            if column.type != wanted or column.null_count:
                raise TrainingError(
                    f"{path}: column {name} is not {wanted} throughout; write it again with"
                    " `ids-daemon flows --records`"
                )
            if FLOW_DTYPE[name].shape:
                raw = b"".join(value.as_py() for value in column)
                records[name] = np.frombuffer(raw, np.uint8).reshape(-1, *FLOW_DTYPE[name].shape)
            else:
                records[name] = column.to_numpy(zero_copy_only=False)
    return records
