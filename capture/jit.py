"""How the kernels of this package are compiled and cached.

numba keys its cache by the file of the compiled function alone: a change in a function that it
calls from another file would go unseen.  So the cache folder is named after the sources of all
kernels, and a changed kernel recompiles everything once.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

CACHE_LINE = 64

_COMPILED = not numba.config.DISABLE_JIT

#: Kernels own no memory: their arrays belong to the caller for the length of the call.  Without
#: `nrt` numba counts no references, which costs more than metering does, and an allocation inside
#: a kernel is an error.  Division by zero gives infinity or NaN, as in numpy, instead of a check.
_OPTIONS = {"nogil": True, "error_model": "numpy", "_nrt": False}
_HELPER_OPTIONS = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def _load_without_scipy() -> None:
    """Load the part of numba, as the first kernel would, that imports SciPy's linear algebra.

    numba does so wherever that is installed, to see whether `np.cov` can be compiled; for kernels that
    never ask for it, it is a fifth of the start and 12 MiB.  A module that is None cannot be imported.
    Where somebody has imported it before, nothing is hidden.
    """
    if "scipy.linalg" in sys.modules:
        return
    sys.modules["scipy.linalg"] = None  # type: ignore[assignment]
    try:
        importlib.import_module("numba.np.arraymath")
    finally:
        del sys.modules["scipy.linalg"]


if _COMPILED:
    _load_without_scipy()


def _cache_folder() -> str:
    """The user's cache folder (systemd's where there is one), a sub-folder for each state of the sources.

    And for each place where they lie, because numba looks its entries up by that.
    """
    package = Path(__file__).parent
    digest = hashlib.sha256(str(package).encode())
    for path in sorted(package.rglob("*.py")):
        digest.update(path.read_bytes())
    base = os.environ.get("CACHE_DIRECTORY") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return str(Path(base) / "ids-daemon" / f"kernels-{digest.hexdigest()[:16]}")


_FOLDER = _cache_folder()
#: A file in it that is there once nothing is left to compile.
_COMPLETE = f"{Path(_FOLDER).name}.complete"


def kernel(function: Any) -> Any:
    """Compile `function`, which Python calls, at its first call and keep the result on disk.

    Where no cache folder can be written the kernel is compiled at each start instead.
    """
    if numba.config.DISABLE_JIT:
        return _unjitted(function)
    chosen = numba.config.CACHE_DIR
    try:
        numba.config.CACHE_DIR = chosen or _FOLDER
        return numba.njit(cache=True, **_OPTIONS)(function)
    except (RuntimeError, OSError):
        return numba.njit(**_OPTIONS)(function)
    finally:
        numba.config.CACHE_DIR = chosen


def helper(function: Any) -> Any:
    """A part of kernels, neither wrapped for Python nor kept by itself: a third less to compile.

    Only kernels and other helpers may call it: compiled, a call from Python ends the process.
    """
    if numba.config.DISABLE_JIT:
        return _unjitted(function)
    return numba.njit(**_HELPER_OPTIONS)(function)


def inlined(function: Any) -> Any:
    """A helper that is put into its callers: to hand on a table of many arrays costs more than its work."""
    if numba.config.DISABLE_JIT:
        return _unjitted(function)
    return numba.njit(forceinline=True, **_HELPER_OPTIONS)(function)


def _unjitted(function: Any) -> Any:
    return np.errstate(over="ignore")(function)  # hashes wrap around, as compiled ones do


@intrinsic
def _prefetch(typingctx: Any, array: Any, at: Any) -> Any:
    """`llvm.prefetch` of all cache lines of `array[at]`, to be written."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array_type, index_type = signature.args
        view = context.make_array(array_type)(context, builder, arguments[0])
        index = context.cast(builder, arguments[1], index_type, types.intp)
        item = cgutils.get_item_pointer(context, builder, array_type, view, [index])
        item = builder.bitcast(item, cgutils.voidptr_t)
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        size = context.get_abi_sizeof(context.get_data_type(array_type.dtype))
        for line in range(0, size, CACHE_LINE):
            builder.call(
                function, [cgutils.gep_inbounds(builder, item, line), number(1), number(3), number(1)]
            )
        return context.get_dummy_value()

    return types.void(array, at), generate


def _no_prefetch(array: Any, at: Any) -> None:
    pass


#: prefetch(array, at): ask for `array[at]`, all its cache lines, ahead of its use.  Nothing depends on
#: it; `at` is not checked and never negative.
prefetch = _prefetch if _COMPILED else _no_prefetch


def kernel_folder() -> Path:
    """Where compiled kernels of these very sources are kept."""
    return Path(numba.config.CACHE_DIR or _FOLDER)


def kernels_are_cached() -> bool:
    """Whether `load_kernels` came to its end before, with these very sources."""
    return bool(numba.config.DISABLE_JIT) or (kernel_folder() / _COMPLETE).exists()


def mark_cached() -> None:
    """All kernels are compiled and kept, where a folder can be written."""
    with contextlib.suppress(OSError):
        (kernel_folder() / _COMPLETE).touch()


def structured(array: np.ndarray) -> np.ndarray:
    """An array whose kernels write `row.field`: numba's own way, and a recarray's un-jitted."""
    return array.view(np.recarray) if numba.config.DISABLE_JIT else array
