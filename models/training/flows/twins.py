"""Rows that are the same: by a hash of what they hold."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

_ODD = np.uint64(0x9E37_79B9_7F4A_7C15)
_SHIFT = np.uint64(29)
_NAN = np.float64("nan").view(np.uint64)


def twins(
    columns: Iterable[npt.NDArray[np.floating]], *others: npt.NDArray[np.integer]
) -> npt.NDArray[np.uint64]:
    """(n,) 64-bit hashes of rows, given column by column: equal rows, NaN in the same places counted
    as equal, have equal hashes.

    Each step is a bijection of what was before, so two rows that differ in one column never meet;
    others do by chance, one pair of 2^64.
    """
    hashed = None
    for column in columns:
        bits = (column.astype(np.float64) + 0.0).view(np.uint64)  # -0 is 0
        hashed = _mixed(hashed, np.where(np.isnan(column), _NAN, bits))
    for other in others:
        hashed = _mixed(hashed, other.astype(np.int64).view(np.uint64))
    if hashed is None:
        raise ValueError("rows without columns")
    return hashed


def seen_again(learned: npt.NDArray[np.floating], judged: npt.NDArray[np.floating]) -> int:
    """How many of the (m, D) judged rows equal one of the (n, D) learned, both as a model is given them.

    Fewer columns than a table's, or clipped ones, make rows the same that were not.
    """
    return int(np.isin(twins(judged.T), twins(learned.T)).sum())


def _mixed(hashed: npt.NDArray[np.uint64] | None, bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    hashed = bits if hashed is None else hashed ^ bits
    hashed = hashed * _ODD
    return hashed ^ (hashed >> _SHIFT)
