"""Memory that holds the rings of several sockets side by side.

A batch has one buffer and may hold packets of several rings, so all rings are mapped into one
stretch of addresses, which Python's own mmap cannot do.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref

import numpy as np

_MAP_FIXED, _MAP_NORESERVE = 0x10, 0x4000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int),
    *(ctypes.c_int, ctypes.c_int, ctypes.c_long),
]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

_FAILED = ctypes.c_void_p(-1).value


class RingMemory:
    """`places` stretches of `length` bytes each, one after the other.

    It is given back when nobody has an array over it any longer, whoever kept one.
    """

    def __init__(self, places: int, length: int) -> None:
        self._length = length
        size = places * length
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        self._address = _map(None, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1)
        bytes_there = (ctypes.c_uint8 * size).from_address(self._address)
        weakref.finalize(bytes_there, _libc.munmap, self._address, size)
        #: The same memory, (size,) bytes, (size / 2,) halves, (size / 4,) words.
        self.bytes = np.frombuffer(memoryview(bytes_there), np.uint8)
        self.halves = self.bytes.view(np.uint16)
        self.words = self.bytes.view(np.uint32)
        #: The words once more, for single ones: an index of it costs a third of an array's.
        self.status = memoryview(bytes_there).cast("B").cast("I")

    def put(self, place: int, descriptor: int) -> None:
        """Map a socket's ring there; OSError when that fails."""
        _map(
            self._address + place * self._length,
            self._length,
            mmap.PROT_READ | mmap.PROT_WRITE,
            mmap.MAP_SHARED | _MAP_FIXED,
            descriptor,
        )

    def clear(self, place: int) -> None:
        """Take a ring out: zeros are there instead."""
        _map(
            self._address + place * self._length,
            self._length,
            mmap.PROT_READ | mmap.PROT_WRITE,
            mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE | _MAP_FIXED,
            -1,
        )


def _map(address: int | None, length: int, protection: int, flags: int, descriptor: int) -> int:
    mapped = _libc.mmap(address, length, protection, flags, descriptor, 0)
    if mapped is None or mapped == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(mapped)
