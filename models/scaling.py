"""Raw windows to [0, 1]: signed log1p, then each column by its range in training, clipped.

`log-minmax` is what the shipped models use; `minmax` leaves the logarithm out, as the paper's
preprocessing does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

Kind = Literal["log-minmax", "minmax"]
Floats = npt.NDArray[np.float32]

_TAIL = 0.001  # share of values left above the upper end, so one wild value flattens no column
_LARGEST = np.float32(1e38)  # beyond it a column's range would be no float32; nothing measured is


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The raw values that become 0 and 1 in each of n columns.

    A binary column (only 0 and 1 seen, and not only 0) has the range 0 to 1, so it stays as it is,
    with the logarithm or without; any other column with one value alone becomes 0.
    """

    low: Floats  #: (n,)
    high: Floats  #: (n,)

    @classmethod
    def fit(cls, table: Floats, kind: Kind) -> Columns:
        """Ranges of a (rows, n) table; NaN and Infinity count as 0."""
        low, high = np.zeros((2, table.shape[1]), np.float32)
        for column in range(table.shape[1] if len(table) else 0):
            values = _finite(table[:, column])
            low[column], high[column] = values.min(), values.max()
            if high[column] == 1 and ((values == 0) | (values == 1)).all():
                low[column] = 0
            elif kind == "log-minmax":
                upper = np.quantile(values, 1 - _TAIL, method="higher")
                if upper > low[column]:  # else the column's whole meaning lies in the tail
                    high[column] = upper
        return cls(low, high)

    def apply(self, table: Floats, kind: Kind) -> None:
        """Scale a finite (rows, n) table in place."""
        low, high = self.low, self.high
        if kind == "log-minmax":
            _signed_log1p(table)
            low, high = low.copy(), high.copy()
            _signed_log1p(low)
            _signed_log1p(high)
        span = high - low
        span[span <= 0] = np.inf  # one value alone: 0 whatever comes
        np.maximum(table, low, out=table)
        np.minimum(table, high, out=table)
        np.subtract(table, low, out=table)
        np.divide(table, span, out=table)

    def to_json(self) -> dict[str, Any]:
        return {"low": self.low.tolist(), "high": self.high.tolist()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Columns:
        """The inverse of `to_json`, exactly.  ValueError for anything else."""
        low, high = _numbers(data, "low"), _numbers(data, "high")
        if len(low) != len(high):
            raise ValueError("low and high differ in length")
        if (low > high).any():
            raise ValueError(f"low is above high in column {int(np.argmax(low > high))}")
        return cls(low, high)


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """Of the F row columns and the C counters of a window."""

    kind: Kind
    rows: Columns
    counters: Columns
    present: int  #: the row column that is 1 for a row and 0 for padding

    @classmethod
    def fit(cls, rows: Floats, counters: Floats, present: int = -1, kind: Kind = "log-minmax") -> Scaling:
        """Ranges of training data.

        rows: (..., F) raw, windows or a table of rows; those whose `present` column is 0 do not
            count.
        counters: (..., C) raw.
        """
        if kind not in get_args(Kind):
            raise ValueError(f"scaling kind {kind!r}: {' or '.join(get_args(Kind))} wanted")
        width = rows.shape[-1]
        table = rows.reshape(-1, width)
        shown = table[:, present] != 0
        return cls(
            kind,
            Columns.fit(table if shown.all() else table[shown], kind),
            Columns.fit(counters.reshape(-1, counters.shape[-1]), kind),
            present % width,
        )

    def transform_rows(self, rows: Floats) -> Floats:
        """(..., F) raw to a new float32 array in [0, 1]; padded rows are all 0."""
        width = len(self.rows.low)
        if rows.shape[-1] != width:
            raise ValueError(f"{rows.shape[-1]} row columns, {width} were fitted")
        table = rows.reshape(-1, width)
        shown = table[:, self.present] != 0
        if shown.all():
            scaled = _finite(table)
            self.rows.apply(scaled, self.kind)
            return scaled.reshape(rows.shape)
        # Most windows of a quiet host are mostly padding: no logarithm for that.
        part = _finite(table[shown])
        self.rows.apply(part, self.kind)
        result = np.zeros(table.shape, np.float32)
        result[shown] = part
        return result.reshape(rows.shape)

    def transform_counters(self, counters: Floats) -> Floats:
        """(..., C) raw to a new float32 array in [0, 1]."""
        width = len(self.counters.low)
        if counters.shape[-1] != width:
            raise ValueError(f"{counters.shape[-1]} counters, {width} were fitted")
        scaled = _finite(counters.reshape(-1, width))
        self.counters.apply(scaled, self.kind)
        return scaled.reshape(counters.shape)

    def to_json(self) -> dict[str, Any]:
        """JSON data; `from_json` gives the same numbers back, bit by bit."""
        return {
            "kind": self.kind,
            "present": self.present,
            "rows": self.rows.to_json(),
            "counters": self.counters.to_json(),
        }

    @classmethod
    def from_json(cls, data: Any) -> Scaling:
        """ValueError tells what is wrong with the data."""
        if not isinstance(data, Mapping):
            raise ValueError("not an object")
        kind: Any = data.get("kind")
        present = data.get("present")
        if kind not in get_args(Kind):
            raise ValueError(f"kind {kind!r}: {' or '.join(get_args(Kind))} wanted")
        parts = []
        for name in ("rows", "counters"):
            part = data.get(name)
            if not isinstance(part, Mapping):
                raise ValueError(f"{name} is missing")
            try:
                parts.append(Columns.from_json(part))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        if type(present) is not int or not 0 <= present < len(parts[0].low):
            raise ValueError(f"present {present!r} is no row column")
        return cls(kind, parts[0], parts[1], present)


def _finite(values: Floats) -> Floats:
    """A float32 copy with NaN, Infinity and the like as 0."""
    copy = np.array(values, np.float32)
    copy[~(np.abs(copy) <= _LARGEST)] = 0
    return copy


def _signed_log1p(values: Floats) -> None:
    """sign(x) log(1 + |x|) in place; log and not log1p, which is seven times slower in float32."""
    negative = np.signbit(values) if (values < 0).any() else None
    np.abs(values, out=values)
    values += np.float32(1)
    np.log(values, out=values)
    if negative is not None:
        np.negative(values, out=values, where=negative)


def _numbers(data: Mapping[str, Any], name: str) -> Floats:
    values = data.get(name)
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        raise ValueError(f"{name} is not a list of numbers")
    if not all(abs(value) <= _LARGEST for value in values):
        raise ValueError(f"{name} holds a number that is not finite")
    return np.array(values, np.float32)
