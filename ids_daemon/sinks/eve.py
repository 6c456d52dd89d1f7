"""EVE JSONL to a file."""

from __future__ import annotations

import os
import stat

from ids_daemon.eve import Event


class EveFile:
    """Append whole lines to a file, made when missing.

    A line that does not fit on a full disk is taken back, so that the file always ends in a whole
    one.  `reopen` follows a rotation.
    """

    def __init__(self, path: str) -> None:
        self.name = f"EVE file {path}"
        self._path = path
        self._descriptor: int | None = None

    def open(self) -> None:
        """Open or make the file now, as it is; OSError when that fails."""
        self._descriptor = self._open()

    def empty(self) -> None:
        """Take out what an earlier run left in the file."""
        if self._descriptor is not None and stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            os.ftruncate(self._descriptor, 0)

    def write(self, event: Event) -> None:
        if self._descriptor is None:
            self._descriptor = self._open()
        append_whole(self._descriptor, event.line)

    def reopen(self) -> None:
        self.close()

    def close(self) -> None:
        """OSError where the file system only now tells that it lost something."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(self._path, flags, 0o640)


def append_whole(descriptor: int, line: bytes) -> None:
    """Write all bytes at the end of an O_APPEND file, or none; OSError when it cannot."""
    written = 0
    try:
        while written < len(line):
            written += os.write(descriptor, line[written:])
    except OSError:
        status = os.fstat(descriptor)
        if written and stat.S_ISREG(status.st_mode):
            os.ftruncate(descriptor, status.st_size - written)
        raise
