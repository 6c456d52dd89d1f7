"""Functions that are compiled: kernels, which Python calls, and helpers, which kernels call."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cached_property, update_wrapper
from typing import TYPE_CHECKING, Any

import numpy as np

from capture.jit.store import Store, key_of

if TYPE_CHECKING:
    from capture.jit.native import NativeKernel

#: Kernels run as the Python that they are written in, for a debugger.
DISABLED = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")


class Helper:
    """A function that kernels call, compiled into each of them."""

    def __init__(self, function: Callable[..., Any], *, inline: bool = False) -> None:
        self.function, self._inline = function, inline
        update_wrapper(self, function)

    def __call__(self, *arguments: Any) -> Any:
        raise TypeError(f"{self.function.__qualname__} is a part of kernels, and only they call it")

    @cached_property
    def dispatcher(self) -> Any:
        """numba's object for it."""
        from capture.jit.compiling import dispatcher

        return dispatcher(self.function, inline=self._inline)

    @property
    def _numba_type_(self) -> Any:
        # What numba asks a value for that a compiled function refers to.
        return self.dispatcher._numba_type_


class Kernel(Helper):
    """A function that Python calls, and kernels, too: compiled at its first call for arguments of such types.

    Arrays, integers, truth values, and named tuples of these are handed over without numba, and the machine
    code is kept.  Where it takes or gives something else, numba compiles it at each start.
    """

    def __init__(self, function: Callable[..., Any], store: Store) -> None:
        super().__init__(function)
        self._store = store
        self._natives: list[NativeKernel] = []
        # What a nested function means hangs on more than its sources.
        self._for_numba = function.__closure__ is not None
        self._loading = threading.Lock()

    def __call__(self, *arguments: Any) -> Any:
        for native in self._natives:
            if native.take(arguments):
                return native.run()
        if self.prepare(*arguments):
            return self(*arguments)
        return self._by_numba(*arguments)

    def prepare(self, *arguments: Any) -> bool:
        """Have it compiled, or loaded, for arguments of these types; False where numba must call it."""
        from capture.jit.native import NativeKernel, UnsupportedArgumentsError, describe, leaf_types

        if self._for_numba:
            return False
        with self._loading:
            if any(native.take(arguments) for native in self._natives):
                return True
            try:
                types = leaf_types(arguments)
            except UnsupportedArgumentsError:
                return False
            try:
                described = describe(arguments, types)
                name = f"{self.function.__module__}.{self.function.__qualname__}"
                name += f"-{self.function.__code__.co_firstlineno}"
                code = self._store.load(name, described)
                if code is None:
                    from capture.jit.compiling import compile_kernel

                    symbol = f"{name}-{key_of(described)}"
                    code = compile_kernel(self.dispatcher, symbol, arguments, types)
                    self._store.keep(name, described, code)
                self._natives.append(NativeKernel(name, code, arguments))
            except UnsupportedArgumentsError:
                self._for_numba = True
                return False
        return True

    @cached_property
    def _by_numba(self) -> Any:
        from capture.jit.compiling import dispatcher

        return dispatcher(self.function, for_python=True)


class Kernels:
    """The kernels of a package, and where they are kept."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def kernel(self, function: Callable[..., Any]) -> Any:
        """A function that Python calls."""
        return _unjitted(function) if DISABLED else Kernel(function, self.store)

    def helper(self, function: Callable[..., Any]) -> Any:
        """A function that only kernels and other helpers call."""
        return _unjitted(function) if DISABLED else Helper(function)

    def inlined(self, function: Callable[..., Any]) -> Any:
        """A helper put into its callers: to hand on a table of many arrays costs more than its work."""
        return _unjitted(function) if DISABLED else Helper(function, inline=True)

    def are_cached(self) -> bool:
        """Whether nothing is left to compile."""
        return DISABLED or self.store.complete


def _unjitted(function: Callable[..., Any]) -> Any:
    return np.errstate(over="ignore")(function)  # hashes wrap around, as compiled ones do


def structured(array: np.ndarray) -> np.ndarray:
    """An array whose kernels write `row.field`: numba's own way, and a recarray's un-jitted."""
    return array.view(np.recarray) if DISABLED else array
