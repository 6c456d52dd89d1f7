"""Numbers in the bytes of a capture, for kernels: one unaligned load each.

    u8(buffer, at)    u16    u32    u64    big-endian, as in packets
    u16_little(buffer, at)    u32_little

`buffer` is a uint8 array, `at` a place in it that is not checked and never negative.  Results are
int64, so that arithmetic with them neither wraps nor turns to floats; u64's is uint64.
"""

from __future__ import annotations

import sys
from typing import Any, Literal

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_Order = Literal["little", "big"]


def _compiled(bits: int, order: _Order) -> Any:
    @intrinsic
    def load(typingctx: Any, buffer: Any, at: Any) -> Any:
        result = types.uint64 if bits == 64 else types.int64

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array_type, index_type = signature.args
            view = context.make_array(array_type)(context, builder, arguments[0])
            index = context.cast(builder, arguments[1], index_type, types.intp)
            place = cgutils.gep_inbounds(builder, view.data, index)
            value = builder.load(builder.bitcast(place, ir.IntType(bits).as_pointer()), align=1)
            if bits > 8 and order != sys.byteorder:
                value = builder.bswap(value)
            return value if bits == 64 else builder.zext(value, ir.IntType(64))

        return result(buffer, at), generate

    return load


def _unjitted(bits: int, order: _Order) -> Any:
    def load(buffer: Any, at: Any) -> Any:
        value = int.from_bytes(buffer[at : at + bits // 8].tobytes(), order)
        return np.uint64(value) if bits == 64 else value

    return load


_load = _unjitted if numba.config.DISABLE_JIT else _compiled

u8 = _load(8, "big")
u16 = _load(16, "big")
u32 = _load(32, "big")
u64 = _load(64, "big")
u16_little = _load(16, "little")
u32_little = _load(32, "little")
