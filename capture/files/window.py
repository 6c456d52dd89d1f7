"""The piece of a capture that is in memory: a chunk, and before it the tail of the last one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from capture.files.kernels import MAXIMUM_BLOCK
from capture.files.stream import ByteStream

CHUNK = 1 << 20

_PAGE = 4096


class Window:
    """Bytes `buffer[start:end]` are read and not yet used.

    Readers move `start` on.  `fill` moves what is left before the place where it reads to, so it
    ends the life of every PacketBatch over this buffer.  That place is the start of a page, as what
    is read is in the file: some processors copy several times slower where the target lies a few
    bytes behind the source within a page.
    """

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        # What is left is less than one record, and no record is longer than MAXIMUM_BLOCK.
        self.buffer: npt.NDArray[np.uint8] = np.empty(MAXIMUM_BLOCK + _PAGE + CHUNK, np.uint8)
        self._target = MAXIMUM_BLOCK + -(self.buffer.ctypes.data + MAXIMUM_BLOCK) % _PAGE
        self._memory = memoryview(self.buffer.data)[self._target : self._target + CHUNK]
        self.start = self.end = self._target
        self._before = -self._target

    def __len__(self) -> int:
        return self.end - self.start

    @property
    def position(self) -> int:
        """Place of `start` in the (unpacked) capture, bytes."""
        return self._before + self.start

    def place(self) -> str:
        """`position` for an error line."""
        return f"byte {self.position}" + (" of its unpacked data" if self._stream.compression else "")

    def peek(self, count: int, ahead: int = 0) -> bytes:
        """Up to `count` bytes from `start + ahead` on."""
        first = self.start + ahead
        return self.buffer[first : min(first + count, self.end)].tobytes()

    def fill(self) -> bool:
        """Read once; False when there was nothing to read."""
        left = len(self)
        start = self._target - left
        self.buffer[start : self._target] = self.buffer[self.start : self.end]
        self._before += self.start - start
        self.start, self.end = start, self._target
        count = self._stream.readinto(self._memory)
        self.end += count
        return count > 0
