"""Small data sets for tests: files in the forms that circulate, and tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from capture.columns import COLUMNS, CSV_IDENTITY, FEATURES
from models.training.flows.table import BENIGN, NO_TIME, FlowTable
from models.training.flows.twins import twins

#: Names of columns, in order, of four forms.
ML_CSV = [" Destination Port"]
for _column in COLUMNS:
    if _column.name_2017:
        ML_CSV.append(" " + _column.name_2017)
    if _column.name_2017 == "Avg Bwd Segment Size":
        ML_CSV.append(" Fwd Header Length")
ML_CSV.append(" Label")
LABELLED = [
    "Flow ID",
    " Source IP",
    " Source Port",
    " Destination IP",
    *ML_CSV[:1],
    " Protocol",
    " Timestamp",
    *ML_CSV[1:],
]
CORRECTED = ["id", *CSV_IDENTITY, *(column.name for column in COLUMNS), "Label", "Attempted Category"]
IDS2018 = ["Dst Port", "Protocol", "Timestamp", *(c.name_2018 for c in COLUMNS if c.name_2018), "Label"]

_FIELD_OF = {name: c.field for c in COLUMNS for name in (c.name, c.name_2017, c.name_2018) if name}
_IDENTITY = {
    "Label": BENIGN,
    "Destination Port": "443",
    "Dst Port": "443",
    "Protocol": "6",
    "Timestamp": "7/7/2017 3:30",
    "Source IP": "192.168.10.5",
    "Src IP": "192.168.10.5",
    "Destination IP": "104.16.207.165",
    "Dst IP": "104.16.207.165",
    "Attempted Category": "-1",
}


def value(name: str, row: int) -> float:
    """What `line` writes for a feature of a row."""
    return FEATURES.index(name) + 1000 * row + 0.5


def line(header: Sequence[str], row: int, **cells: str) -> str:
    """One row under a header; `cells` by a column's name with underscores for blanks."""
    given = {name.replace("_", " "): text for name, text in cells.items()}
    out = []
    for column in header:
        name = column.strip()
        if name in given:
            out.append(given[name])
        elif name in _FIELD_OF:
            out.append(str(value(_FIELD_OF[name], row)))
        else:
            out.append(_IDENTITY.get(name, "0"))
    return ",".join(out)


def write(path: Path, header: Sequence[str], lines: Iterable[str], newline: str = "\n") -> Path:
    """A CSV file; text beyond ASCII as UTF-8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(text + newline for text in [",".join(header), *lines]).encode())
    return path


def rows(header: Sequence[str], labels: Sequence[str], first: int = 0) -> list[str]:
    """A row for each label, all different."""
    return [line(header, first + row, Label=label) for row, label in enumerate(labels)]


def flow_table(
    values: Any,
    label: Sequence[int],
    *,
    labels: tuple[str, ...] = (BENIGN, "DDoS", "Port scan"),
    features: Sequence[str] | None = None,
    **columns: Any,
) -> FlowTable:
    """A table of (n, F) values; other columns by name, as `unknown` where not given."""
    matrix = np.asarray(values, np.float32)
    count = len(matrix)
    unknown: Mapping[str, Any] = {
        "protocol": np.full(count, -1),
        "time": np.full(count, NO_TIME),
        "source": np.full(count, -1),
        "destination": np.full(count, -1),
        "file": np.zeros(count),
        "port": np.full(count, -1),
        "files": ("made.csv",),
    }
    kinds = {"protocol": np.int16, "time": np.int64, "file": np.int16}
    filled = {
        name: given if name == "files" else np.asarray(given).astype(kinds.get(name, np.int32))
        for name, given in {**unknown, **columns}.items()
    }
    return FlowTable(
        features=tuple(features or FEATURES[: matrix.shape[1]]),
        values=matrix,
        labels=labels,
        label=np.asarray(label, np.int16),
        twin=twins(list(matrix.T), filled["protocol"]),
        **filled,
    )
