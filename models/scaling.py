"""Raw windows to [0, 1].

Rows: signed log1p, then each column by its range in training, clipped (`log-minmax`); `minmax`
leaves the logarithm out, as the paper's preprocessing does.  Counters likewise, or by how rare
their value is on benign streams.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt

Kind = Literal["log-minmax", "minmax"]
Part = TypeVar("Part")
Floats = npt.NDArray[np.float32]

_TAIL = 0.001  # share of values left above the upper end, so one wild value flattens no column
_LARGEST = np.float32(1e38)  # beyond it a column's range would be no float32; nothing measured is

_RAREST = 3.0  # decades: one benign window in a thousand, and what is rarer, becomes 1
_LEVELS = 31
_PART = 4096  # windows at a time, so that the comparisons with all levels fit a cache


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The raw values that become 0 and 1 in each of n columns.

    A binary column (only 0 and 1 seen, and not only 0) has the range 0 to 1, so it stays as it is,
    with the logarithm or without; any other column with one value alone becomes 0.
    """

    low: Floats  #: (n,)
    high: Floats  #: (n,)

    @classmethod
    def fit(cls, table: Floats, kind: Kind, index: npt.NDArray[np.integer] | None = None) -> Columns:
        """Ranges of a (rows, n) table; NaN and Infinity count as 0.

        index: which rows count, as often as they are named; None: each once.
        """
        low, high = np.zeros((2, table.shape[1]), np.float32)
        for column in range(table.shape[1] if len(table if index is None else index) else 0):
            values = _finite(table[:, column])
            values = values if index is None else values[index]
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
class Rarity:
    """How rare a counter's value is on benign streams of its role: 0 usual, 1 one in a thousand or none.

    Level k of a counter is the value that one in 10^(k / 10) benign windows reaches; 1e38 where
    that is none.  Between two levels the logarithm of the value counts.
    """

    role: int  #: the counter that is 1 on actor streams and 0 on target streams; it stays as it is
    levels: Floats  #: (2, C, 31) target streams first; rising with k

    @classmethod
    def fit(cls, counters: Floats, weight: npt.NDArray[np.float64], role: int) -> Rarity:
        """Levels of (W, C) raw counters, of which each window stands for `weight` benign ones."""
        levels = np.full((2, counters.shape[1], _LEVELS), _LARGEST, np.float32)
        wanted = 10.0 ** (-_RAREST * np.arange(_LEVELS) / (_LEVELS - 1))
        for side in (0, 1):
            chosen = (counters[:, role] > 0) == side
            chosen &= weight > 0
            if not chosen.any():
                continue
            share = weight[chosen] / weight[chosen].sum()
            for column in range(counters.shape[1]):
                values = _finite(counters[chosen, column])
                order = np.argsort(values, kind="stable")
                distinct, first = np.unique(values[order], return_index=True)
                reached = np.cumsum(share[order][::-1])[::-1][first]  # by so many: falls with the value
                at = np.searchsorted(-reached, -wanted * (1 + 1e-9))
                there = at < len(distinct)
                levels[side, column, there] = distinct[at[there]]
        return cls(role, levels)

    def apply(self, table: Floats) -> None:
        """Scale a finite (W, C) table in place."""
        actors = table[:, self.role] > 0
        kept = table[:, self.role].copy()
        _signed_log1p(table)
        for side in (0, 1):
            levels = self.levels[side].copy()
            _signed_log1p(levels)
            of_side = np.flatnonzero(actors == side)
            for start in range(0, len(of_side), _PART):
                part = of_side[start : start + _PART]
                table[part] = _between(table[part], levels)
        table[:, self.role] = kept

    def to_json(self) -> dict[str, Any]:
        return {"role": self.role, "levels": self.levels.tolist()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Rarity:
        """The inverse of `to_json`, exactly.  ValueError for anything else."""
        role, sides = data.get("role"), data.get("levels")
        if not isinstance(sides, list) or len(sides) != 2 or not all(isinstance(one, list) for one in sides):
            raise ValueError("levels is not a pair of lists")
        if len(sides[0]) != len(sides[1]):
            raise ValueError("levels of actors and targets differ in length")
        if type(role) is not int or not 0 <= role < len(sides[0]):
            raise ValueError(f"role {role!r} is no counter")
        levels = np.array([[_numbers({"levels": one}, "levels") for one in side] for side in sides])
        if levels.ndim != 3 or levels.shape[2] != _LEVELS:
            raise ValueError(f"levels: {_LEVELS} a counter wanted")
        if (np.diff(levels) < 0).any():
            raise ValueError("levels fall")
        return cls(role, levels)


def _between(values: Floats, levels: Floats) -> Floats:
    """Where (W, C) values lie among (C, K) rising levels: 0 up to the first, 1 from the last on."""
    last = levels.shape[1] - 1
    at = np.empty(values.shape, np.int64)
    for number, rising in enumerate(levels):
        at[:, number] = rising.searchsorted(values[:, number], side="right")
    at = np.maximum(at - 1, 0)
    column = np.arange(len(levels))
    low, high = levels[column, at], levels[column, np.minimum(at + 1, last)]
    span = high - low
    span[span <= 0] = np.inf
    return np.clip((at + np.maximum(values - low, 0) / span) / last, 0, 1).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """Of the F row columns and the C counters of a window."""

    kind: Kind
    rows: Columns
    counters: Columns | Rarity
    present: int  #: the row column that is 1 for a row and 0 for padding

    @classmethod
    def fit(
        cls,
        rows: Floats,
        counters: Floats,
        present: int = -1,
        kind: Kind = "log-minmax",
        *,
        role: int = -1,
        benign: npt.NDArray[np.float64] | None = None,
        index: npt.NDArray[np.integer] | None = None,
    ) -> Scaling:
        """Ranges of training data; counters by their rarity when `benign` is given.

        rows: (..., F) raw, windows or a table of rows; those whose `present` column is 0 do not
            count.
        counters: (..., C) raw.
        role: the counter that is 1 on actor streams.
        benign: (W,) how many benign windows each window of `counters`, (W, C) then, stands for.
        index: (...) of the rows of windows in the table `rows`; None: each of its rows counts once.
        """
        if kind not in get_args(Kind):
            raise ValueError(f"scaling kind {kind!r}: {' or '.join(get_args(Kind))} wanted")
        width = rows.shape[-1]
        table = rows.reshape(-1, width)
        shown = table[:, present] != 0
        of_counters: Columns | Rarity
        if benign is None:
            of_counters = Columns.fit(counters.reshape(-1, counters.shape[-1]), kind)
        else:
            of_counters = Rarity.fit(counters, benign, role % counters.shape[-1])
        if index is not None:
            of_rows = Columns.fit(table, kind, index[shown[index]])
        else:
            of_rows = Columns.fit(table if shown.all() else table[shown], kind)
        return cls(kind, of_rows, of_counters, present % width)

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
        by = self.counters
        width = len(by.low) if isinstance(by, Columns) else by.levels.shape[1]
        if counters.shape[-1] != width:
            raise ValueError(f"{counters.shape[-1]} counters, {width} were fitted")
        scaled = _finite(counters.reshape(-1, width))
        if isinstance(by, Columns):
            by.apply(scaled, self.kind)
        else:
            by.apply(scaled)
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
        rows = _part(data, "rows", Columns.from_json)
        counters = _part(data, "counters", _columns_or_rarity)
        if type(present) is not int or not 0 <= present < len(rows.low):
            raise ValueError(f"present {present!r} is no row column")
        return cls(kind, rows, counters, present)


def _columns_or_rarity(data: Mapping[str, Any]) -> Columns | Rarity:
    return Rarity.from_json(data) if "levels" in data else Columns.from_json(data)


def _part(data: Mapping[str, Any], name: str, read: Callable[[Mapping[str, Any]], Part]) -> Part:
    part = data.get(name)
    if not isinstance(part, Mapping):
        raise ValueError(f"{name} is missing")
    try:
        return read(part)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


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
