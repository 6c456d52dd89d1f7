"""The rows of many windows, each kept once: a row is in up to sixteen windows of its stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class WindowRows:
    """W windows of N rows of F columns, as places in a table of R rows.

    A million windows of 16 x 97 float32 would be 6 GB; their rows are a tenth of that.
    """

    table: Floats  #: (R, F); not to be written to, windows share it
    index: npt.NDArray[np.int32]  #: (W, N)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(W, N, F)"""
        return (*self.index.shape, self.table.shape[1])  # type: ignore[return-value]

    @classmethod
    def of(cls, rows: Floats) -> WindowRows:
        """Of (W, N, F) rows, equal ones once."""
        flat = np.ascontiguousarray(rows, np.float32).reshape(-1, rows.shape[-1])
        _, first, place = np.unique(_hashes(flat), return_index=True, return_inverse=True)
        table = flat[first]
        for at in range(0, len(flat), _PART):
            part = slice(at, at + _PART)
            if not np.array_equal(table[place[part]].view(np.uint32), flat[part].view(np.uint32)):
                table, place = flat.copy(), np.arange(len(flat))  # two rows of one hash: all are kept
                break
        return cls(table, place.reshape(rows.shape[:2]).astype(np.int32))

    @classmethod
    def joined(cls, parts: Sequence[WindowRows]) -> WindowRows:
        """The windows of all parts; a table that they share stays one."""
        if all(part.table is parts[0].table for part in parts):
            return cls(parts[0].table, np.concatenate([part.index for part in parts]))
        starts = np.cumsum([0, *(len(part.table) for part in parts[:-1])])
        return cls(
            np.concatenate([part.table for part in parts]),
            np.concatenate([part.index + np.int32(start) for part, start in zip(parts, starts, strict=True)]),
        )

    def take(self, windows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> WindowRows:
        """The chosen windows, on the same table."""
        return WindowRows(self.table, self.index[windows])

    def newest(self, count: int) -> WindowRows:
        """The newest rows of each window, so many, on the same table; all of windows that have no more."""
        return WindowRows(self.table, self.index[:, -count:])

    def dense(self) -> Floats:
        """(W, N, F), a new array."""
        return self.table[self.index]


_PART = 1 << 14


def _hashes(flat: Floats) -> npt.NDArray[np.uint64]:
    """(n,) a number for each row, from its bits and their places."""
    width = flat.shape[1]
    place = np.random.default_rng(1).integers(1 << 62, 1 << 63, width, np.uint64) | np.uint64(1)
    result = np.empty(len(flat), np.uint64)
    for start in range(0, len(flat), _PART):
        bits = flat[start : start + _PART].view(np.uint32).astype(np.uint64)
        bits += np.uint64(1)
        bits *= place
        bits ^= bits >> np.uint64(29)
        bits *= place[::-1]
        bits ^= bits >> np.uint64(32)
        result[start : start + _PART] = bits.sum(axis=1, dtype=np.uint64)
    return result
