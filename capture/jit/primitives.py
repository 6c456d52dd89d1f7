"""What kernels say to the processor itself, as plain functions: `lowering` tells numba what they are.

    u8(buffer, at)    u16    u32    u64    big-endian, as in packets
    u16_little(buffer, at)    u32_little
    prefetch(array, at)

Numbers in the bytes of a capture are one unaligned load each.  `buffer` is a uint8 array, `at` a place in it
that is not checked and never negative.  Results are int64, so that arithmetic with them neither wraps nor
turns to floats; u64's is uint64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

Order = Literal["little", "big"]

CACHE_LINE = 64


def _load(bits: int, order: Order) -> Callable[[Any, Any], Any]:
    def load(buffer: Any, at: Any) -> Any:
        value = int.from_bytes(buffer[at : at + bits // 8].tobytes(), order)
        return np.uint64(value) if bits == 64 else value

    return load


u8 = _load(8, "big")
u16 = _load(16, "big")
u32 = _load(32, "big")
u64 = _load(64, "big")
u16_little = _load(16, "little")
u32_little = _load(32, "little")

#: (function, bits, order) of each.
LOADS: tuple[tuple[Callable[[Any, Any], Any], int, Order], ...] = (
    (u8, 8, "big"),
    (u16, 16, "big"),
    (u32, 32, "big"),
    (u64, 64, "big"),
    (u16_little, 16, "little"),
    (u32_little, 32, "little"),
)


def prefetch(array: Any, at: Any) -> None:
    """Ask for `array[at]`, all its cache lines, ahead of its use.

    Nothing depends on it; `at` is not checked and never negative.
    """
