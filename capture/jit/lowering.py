"""What numba makes of the functions in `primitives`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import lower_builtin, type_callable

from capture.jit.primitives import CACHE_LINE, LOADS, Order, prefetch


def _operands(context: Any, builder: Any, signature: Any, arguments: Any) -> tuple[Any, Any]:
    """The array, and the place in it as a word."""
    array_type, index_type = signature.args
    view = context.make_array(array_type)(context, builder, arguments[0])
    return view, context.cast(builder, arguments[1], index_type, types.intp)


def _lower_load(function: Callable[..., Any], bits: int, order: Order) -> None:
    @type_callable(function)
    def typed(context: Any) -> Any:
        def kind(buffer: Any, at: Any) -> Any:
            return types.uint64 if bits == 64 else types.int64

        return kind

    @lower_builtin(function, types.Array, types.Integer)
    def lowered(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view, index = _operands(context, builder, signature, arguments)
        place = cgutils.gep_inbounds(builder, view.data, index)
        value = builder.load(builder.bitcast(place, ir.IntType(bits).as_pointer()), align=1)
        if bits > 8 and order != sys.byteorder:
            value = builder.bswap(value)
        return value if bits == 64 else builder.zext(value, ir.IntType(64))


for _function, _bits, _order in LOADS:
    _lower_load(_function, _bits, _order)


@type_callable(prefetch)
def _prefetch_type(context: Any) -> Any:
    def kind(array: Any, at: Any) -> Any:
        return types.void

    return kind


@lower_builtin(prefetch, types.Array, types.Integer)
def _prefetch(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """`llvm.prefetch` of all cache lines of an item, to be written."""
    array_type = signature.args[0]
    view, index = _operands(context, builder, signature, arguments)
    item = cgutils.get_item_pointer(context, builder, array_type, view, [index])
    item = builder.bitcast(item, cgutils.voidptr_t)
    number = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    size = context.get_abi_sizeof(context.get_data_type(array_type.dtype))
    for line in range(0, size, CACHE_LINE):
        builder.call(function, [cgutils.gep_inbounds(builder, item, line), number(1), number(3), number(1)])
    return context.get_dummy_value()
