"""The bytes of a capture: from disk or standard input, unpacked where they are compressed."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress

from capture.errors import CaptureError
from capture.files.compression import MAGIC_LENGTH, DamagedDataError, Decoder, compression_of, decoder_of

STANDARD_INPUT = "-"

_READ_SIZE = 1 << 18


class ByteStream:
    """Opens a file and gives its bytes, unpacked.

    Raises CaptureError when it cannot be opened; `readinto` raises it when it cannot be read or
    unpacked any further.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        text = os.fspath(path)
        self.name = "standard input" if text == STANDARD_INPUT else text
        self.compression = ""  #: known once the first bytes were read
        self.position = 0  #: bytes taken from the file as it lies on disk
        self._descriptor = self._open(text)
        # Taken out by whoever closes first: `close` may come from two threads at once.
        self._to_close = [self._descriptor] if text != STANDARD_INPUT else []
        mode = os.fstat(self._descriptor).st_mode
        self._regular = stat.S_ISREG(mode)
        self._last_size: int | None = None
        if stat.S_ISDIR(mode):
            self.close()
            raise CaptureError(f"{self.name}: is a directory; name a capture file in it")
        self._head = b""
        self._recognised = False
        self._decoder: Decoder | None = None
        self._ended_cleanly = True

    def _open(self, text: str) -> int:
        if text == STANDARD_INPUT:
            if sys.stdin is None or sys.stdin.closed:
                raise CaptureError("standard input: is closed; pipe a capture into it or name a file")
            if sys.stdin.isatty():
                raise CaptureError("standard input: is a terminal; pipe a capture into it or name a file")
            return sys.stdin.fileno()
        try:
            return os.open(text, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise CaptureError(f"{text or repr(text)}: no such file; check the path") from None
        except PermissionError:
            raise CaptureError(f"{text}: permission denied; make it readable for this user") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise CaptureError(f"{text!r}: cannot be opened: {reason}; check the path") from None

    @property
    def size(self) -> int | None:
        """Bytes of the file on disk, now or when it was closed; None where that means nothing (a pipe)."""
        if self._regular and self._to_close:
            # Another thread may close it just here: then the last size stands.
            with suppress(OSError):
                self._last_size = os.fstat(self._descriptor).st_size
        return self._last_size

    def close(self) -> None:
        _ = self.size
        with suppress(IndexError):
            os.close(self._to_close.pop())

    def readinto(self, target: memoryview) -> int:
        """Fill some of `target`; 0 when there is nothing more now.  May be called again then."""
        if not self._recognised and not self._recognise():
            return 0
        if self._decoder is not None:
            return self._unpack(target)
        if self._head:
            count = min(len(self._head), len(target))
            target[:count] = self._head[:count]
            self._head = self._head[count:]
            return count
        try:
            count = os.readv(self._descriptor, [target])
        except OSError as error:
            raise self._unreadable(error) from None
        self.position += count
        return count

    def cut(self) -> str:
        """Why the end that `readinto` came to is not a proper end; "" when it is."""
        if self.compression and not self._ended_cleanly:
            return f"its {self.compression} data ends in the middle of a stream"
        return ""

    def _read(self) -> bytes:
        try:
            data = os.read(self._descriptor, _READ_SIZE)
        except OSError as error:
            raise self._unreadable(error) from None
        self.position += len(data)
        return data

    def _unreadable(self, error: OSError) -> CaptureError:
        return CaptureError(
            f"{self.name}: cannot be read at byte {self.position}: {error.strerror};"
            " check the disk or network share"
        )

    def _recognise(self) -> bool:
        """Read until the compression is known; False when there is nothing (yet)."""
        while len(self._head) < MAGIC_LENGTH:
            data = self._read()
            if not data:
                break
            self._head += data
        if not self._head:
            return False
        self.compression = compression_of(self._head)
        if self.compression:
            self._decoder = decoder_of(self.compression)
            self._ended_cleanly = False
        self._recognised = True
        return True

    def _unpack(self, target: memoryview) -> int:
        assert self._decoder is not None
        while True:
            if self._decoder.eof and not self._next_stream():
                return 0
            data = b""
            wanted = self._decoder.needs_input
            if wanted:
                data, self._head = self._head or self._read(), b""
                self._ended_cleanly = self._ended_cleanly and not data
            try:
                output = self._decoder.decompress(data, len(target))
            except DamagedDataError as error:
                raise CaptureError(
                    f"{self.name}: its {self.compression} data is damaged before byte {self.position}"
                    f" ({error}); get a good copy, only what is before it can be read"
                ) from None
            if output:
                target[: len(output)] = output
                return len(output)
            if wanted and not data:
                return 0

    def _next_stream(self) -> bool:
        """Behind the end of a compressed stream: start the next one, if there is one."""
        assert self._decoder is not None
        self._head = (self._head or self._decoder.unused_data).lstrip(b"\0")
        while len(self._head) < MAGIC_LENGTH:
            data = self._read()
            if not data:
                break
            self._head = (self._head + data).lstrip(b"\0")
        if not self._head:
            self._ended_cleanly = True
            self._decoder = decoder_of(self.compression)
            return False
        if compression_of(self._head) != self.compression:
            raise CaptureError(
                f"{self.name}: something else follows its {self.compression} data before byte"
                f" {self.position}; unpack it by hand"
            )
        self._decoder = decoder_of(self.compression)
        return True
