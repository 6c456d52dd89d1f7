"""Kernels to object code, by numba.  Loaded only where a kernel is not kept yet."""

from __future__ import annotations

import importlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from llvmlite import binding

from capture.jit.native import LeafType, UnsupportedArgumentsError, target_machine
from capture.jit.store import ObjectCode


def _import_numba() -> Any:
    """numba, with the part of it loaded that imports SciPy's linear algebra, and without that.

    numba looks wherever SciPy is installed whether `np.cov` can be compiled; for kernels that never ask for
    it, that costs time and 12 MiB.  A module that is None cannot be imported.  Where somebody has imported
    it before, nothing is hidden.
    """
    hidden = "scipy.linalg" not in sys.modules
    if hidden:
        sys.modules["scipy.linalg"] = None  # type: ignore[assignment]
    try:
        importlib.import_module("numba.np.arraymath")
        return importlib.import_module("numba")
    finally:
        if hidden:
            del sys.modules["scipy.linalg"]


numba = _import_numba()
importlib.import_module("capture.jit.lowering")

#: Kernels own no memory: their arrays belong to the caller for the length of the call.  Without
#: `nrt` numba counts no references, which costs more than metering does, and an allocation inside
#: a kernel is an error.  Division by zero gives infinity or NaN, as in numpy, instead of a check.
_OPTIONS = {"nogil": True, "error_model": "numpy", "_nrt": False}
#: What object code may call: there in every process.
_OF_THE_SYSTEM = {"memcpy", "memmove", "memset", "exp", "log", "pow", "fmod", "floor", "ceil", "sqrt"}
_UNWRAPPED = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def dispatcher(function: Callable[..., Any], *, for_python: bool = False, inline: bool = False) -> Any:
    """numba's own object for a function; without the wrappers for Python a third less is compiled."""
    options = {**_OPTIONS, **({} if for_python else _UNWRAPPED)}
    return numba.njit(forceinline=inline, **options)(function)


def compile_kernel(
    compiled: Any, symbol: str, arguments: Sequence[Any], types: Sequence[LeafType]
) -> ObjectCode:
    """A dispatcher's code for arguments like these.

    Raises UnsupportedArgumentsError where it takes or gives them in another way than `native` does.
    """
    signature = tuple(numba.typeof(argument) for argument in arguments)
    with _unhurried_interrupt():
        compiled.compile(signature)
    overload = compiled.overloads[signature]
    module = binding.parse_assembly(compiled.inspect_llvm(signature))
    function = module.get_function(overload.fndesc.llvm_func_name)
    takes = [str(one.type) for one in function.arguments]
    expected = ["ptr", "ptr", *(kind for one in types for kind in one.kinds())]
    if takes != expected:
        raise UnsupportedArgumentsError(f"{symbol}: numba hands over {takes}, not {expected}")
    function.name = f"{symbol}.kernel"
    module.link_in(binding.parse_assembly(_entry(symbol, expected[2:])))
    for one in (*module.functions, *module.global_variables):
        if one.is_declaration and not one.name.startswith("llvm.") and one.name not in _OF_THE_SYSTEM:
            raise UnsupportedArgumentsError(f"{symbol} calls {one.name}, which numba brings")
        if not one.is_declaration and one.name != symbol:
            one.linkage = "internal"  # helpers of one name are in several object files
    for variable in module.global_variables:
        variable.name = ""  # longer than the code
    return ObjectCode(symbol, _returned(overload.signature.return_type), target_machine().emit_object(module))


def _entry(symbol: str, kinds: Sequence[str]) -> str:
    """A function that calls the kernel with the words at an address, in LLVM's language."""
    kernel = f'@"{symbol}.kernel"'
    lines = [
        f"declare i32 {kernel}(ptr, ptr, {', '.join(kinds)})",
        f'define i32 @"{symbol}"(ptr %words, ptr %results, ptr %problem) {{',
    ]
    for i, kind in enumerate(kinds):
        lines += [f"%at{i} = getelementptr i64, ptr %words, i64 {i}", f"%word{i} = load i64, ptr %at{i}"]
        make = {"i64": "add i64 0,", "i8": "trunc i64", "ptr": "inttoptr i64"}[kind]
        lines.append(f"%v{i} = {make} %word{i}" + ("" if kind == "i64" else f" to {kind}"))
    values = ", ".join(f"{kind} %v{i}" for i, kind in enumerate(kinds))
    lines += [f"%status = call i32 {kernel}(ptr %results, ptr %problem, {values})", "ret i32 %status", "}"]
    return "\n".join(lines) + "\n"


def _returned(kind: Any) -> tuple[str, ...]:
    """The names of the values that a kernel gives, each in a word of its own."""
    names = {numba.types.int64: "int64", numba.types.uint64: "uint64", numba.types.boolean: "bool"}
    if kind == numba.types.none:
        return ()
    several = isinstance(kind, numba.types.Tuple | numba.types.UniTuple) and len(kind) > 1
    values = tuple(kind) if several else (kind,)
    # A struct as C has it: a truth value takes a byte, and a word only where a number or nothing follows.
    packed = any(one == two == numba.types.boolean for one, two in pairwise(values))
    if packed or any(value not in names for value in values):
        raise UnsupportedArgumentsError(f"a kernel that gives {kind}")
    return tuple(names[value] for value in values)


@contextmanager
def _unhurried_interrupt() -> Iterator[None]:
    """Ctrl-C raises at the end, since within LLVM's callbacks it would only be told of and lost."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if seen:
        signal.raise_signal(signal.SIGINT)
