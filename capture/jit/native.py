"""Kernels as machine code: how their arguments are handed over, and how they are called.

numba hands an array over as seven numbers and more, a tuple as those of its items.  Here they stand in a
block of 64-bit words, out of which the kernel's entry takes them (`compiling` adds it); it returns a status
and writes what it gives into words of its own.  So a call needs neither numba nor its types, other threads
run meanwhile, and what is the same as at the last call is not handed over again.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from llvmlite import binding

from capture.jit.store import ObjectCode

Words = list[int]

#: status = entry(words, results, problem), the addresses of each.
_ENTRY = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
_FINE = (0, -2)  # the statuses of a function that ends, and of one that ends without a value
_NO_BYTES = ctypes.c_char * 0
_INT64, _UINT64 = range(-(1 << 63), 1 << 63), range(1 << 63, 1 << 64)


class UnsupportedArgumentsError(Exception):
    """Arguments that are handed over in a way that is not known here."""


class ArrayType(NamedTuple):
    """What a compiled kernel takes for granted of an array."""

    dtype: np.dtype[Any]
    dimensions: int
    contiguous: bool
    writeable: bool
    aligned: bool

    @classmethod
    def of(cls, array: np.ndarray) -> ArrayType:
        flags = array.flags
        return cls(array.dtype, array.ndim, flags.c_contiguous, flags.writeable, flags.aligned)

    def words(self, value: Any) -> Words | None:
        """The numbers that tell of an array; None for one that the code cannot take.

        Code for arrays with gaps takes those without, code that only reads takes those that can be written.
        """
        if not isinstance(value, np.ndarray) or value.dtype != self.dtype or value.ndim != self.dimensions:
            return None
        has = value.flags
        if self.contiguous > has.c_contiguous or self.writeable > has.writeable or self.aligned > has.aligned:
            return None
        if has.c_contiguous and has.writeable and self.dtype.kind in "biuf":  # the quicker way
            address = ctypes.addressof(_NO_BYTES.from_buffer(value))  # type: ignore[arg-type]
        else:
            address = value.ctypes.data
        return [0, 0, value.size, value.itemsize, address, *value.shape, *value.strides]

    def kinds(self) -> list[str]:
        """What LLVM is to call each of the words."""
        return ["ptr", "ptr", "i64", "i64", "ptr"] + ["i64"] * 2 * self.dimensions


class NumberType(NamedTuple):
    """A number: `int64`, `uint64` or `bool`, by the rules that numba has for Python's and numpy's own."""

    name: str

    @classmethod
    def of(cls, value: Any) -> NumberType:
        kind = type(value)
        if kind is bool or kind is np.bool_:
            return cls("bool")
        if kind is np.int64 or (kind is int and value in _INT64):
            return cls("int64")
        if kind is np.uint64 or (kind is int and value in _UINT64):
            return cls("uint64")
        raise UnsupportedArgumentsError(kind.__name__)

    def words(self, value: Any) -> Words | None:
        """The one number; None for a value of another type."""
        try:
            return [int(value)] if NumberType.of(value) == self else None
        except UnsupportedArgumentsError:
            return None

    def kinds(self) -> list[str]:
        """What LLVM is to call it."""
        return ["i8" if self.name == "bool" else "i64"]


LeafType = ArrayType | NumberType


def leaves(arguments: Sequence[Any]) -> list[Any]:
    """The arguments, with the items of tuples in their place."""
    found: list[Any] = []
    for argument in arguments:
        if isinstance(argument, tuple):
            found.extend(argument)
        else:
            found.append(argument)
    return found


def shapes(arguments: Sequence[Any]) -> list[type | None]:
    """Which arguments are tuples, and of which class."""
    return [type(one) if isinstance(one, tuple) else None for one in arguments]


def leaf_types(arguments: Sequence[Any]) -> list[LeafType]:
    """Raises UnsupportedArgumentsError for all but arrays, whole numbers, truth values, tuples of them."""
    values = leaves(arguments)
    if not values:
        raise UnsupportedArgumentsError("nothing to hand over")
    return [_type_of(value) for value in values]


def _type_of(value: Any) -> LeafType:
    if not isinstance(value, np.ndarray):
        return NumberType.of(value)
    if value.flags.f_contiguous and not value.flags.c_contiguous:
        raise UnsupportedArgumentsError("an array in Fortran's order")
    return ArrayType.of(value)


def describe(arguments: Sequence[Any], types: Sequence[LeafType]) -> str:
    """The types in words: what a compiled kernel is known by."""
    told = [
        f"{kind.__module__}.{kind.__qualname__}{getattr(kind, '_fields', len(one))}" if kind else ""
        for kind, one in zip(shapes(arguments), arguments)
    ]
    return f"{told} {[str(one) for one in types]}"


_GIVEN: Mapping[str, Callable[[int], Any]] = {
    "int64": int,
    "uint64": lambda value: value % (1 << 64),
    "bool": bool,
}


def _nothing() -> None:
    """In the place of a reference to an argument."""


class _Block(threading.local):
    """The words of one thread, and which arrays they tell of: most are the same again."""

    def __init__(self, values: int, words: int, results: int) -> None:
        self.known: list[Callable[[], Any]] = [_nothing] * values
        self.words = (ctypes.c_int64 * words)()
        self.results = (ctypes.c_int64 * max(1, results))()
        self.problem = ctypes.c_int64()
        addressed = (self.words, self.results, self.problem)
        self.addresses = [ctypes.addressof(one) for one in addressed]


class NativeKernel:
    """Machine code for arguments like those given, callable from several threads at once.

    An array that was handed over keeps its shape, type and flags: it is looked at once.  A thread's words are
    in use until the call ends, so no signal handler may call the kernel that it interrupts.
    """

    def __init__(self, name: str, code: ObjectCode, arguments: Sequence[Any]) -> None:
        types = leaf_types(arguments)
        self._name, self._returns = name, [_GIVEN[kind] for kind in code.returns]
        self._shapes = shapes(arguments)
        ends = list(accumulate(len(one.kinds()) for one in types))
        self._places = list(zip(types, [0, *ends], ends))
        self._block = _Block(len(types), ends[-1], len(code.returns))
        self._entry = _ENTRY(_address(code))

    def take(self, arguments: Sequence[Any]) -> bool:
        """Put the arguments into the thread's words; False when they are of other types."""
        values = leaves(arguments)
        if len(values) != len(self._places) or shapes(arguments) != self._shapes:
            return False
        known, words = self._block.known, self._block.words
        for i, value in enumerate(values):
            if known[i]() is value and value is not None:  # what is gone gives None
                continue
            leaf, first, end = self._places[i]
            found = leaf.words(value)
            if found is None:
                return False
            known[i] = _nothing
            words[first:end] = found  # type: ignore[assignment]
            known[i] = weakref.ref(value) if type(leaf) is ArrayType else lambda value=value: value
        return True

    def run(self) -> Any:
        """Call the kernel with what was taken; gives nothing, a value or a tuple of values."""
        block = self._block
        status = self._entry(*block.addresses)
        if status not in _FINE:
            raise RuntimeError(f"the kernel {self._name} ended with status {status}")
        values = [given(value) for given, value in zip(self._returns, block.results)]
        return tuple(values) if len(values) > 1 else values[0] if values else None


_linking = threading.Lock()
_engine: Any = None


def target_machine() -> Any:
    """Code for the processor that is here."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_default_triple()
    return target.create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        opt=3,
        reloc="static" if target.name.startswith("x86") else "default",  # as numba has it
        codemodel="jitdefault",
        jit=True,
    )


def _address(code: ObjectCode) -> int:
    """The function's, once its code lies in memory; there it stays."""
    global _engine
    with _linking:
        if _engine is None:
            machine = target_machine()
            _engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
        _engine.add_object_file(binding.ObjectFileRef.from_data(code.content))
        _engine.finalize_object()
        address = _engine.get_function_address(code.symbol)
    if not address:
        raise RuntimeError(f"no {code.symbol} in its object file")
    return int(address)
