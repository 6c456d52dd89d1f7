"""Compiled kernels on disk.

A kernel is made of functions and constants of many files.  So the folder is named after all sources that
kernels of a package are made of, and a change in any of them compiles everything once more; after the
processor, too, since machine code is made for the one that is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path

_COMPILERS = ("numba", "llvmlite")


@dataclass(frozen=True, slots=True)
class ObjectCode:
    """One kernel, compiled for arguments of certain types."""

    symbol: str  #: the function in it
    returns: tuple[str, ...]  #: `int64`, `uint64` or `bool`, one for each value that it gives
    content: bytes  #: an object file


def key_of(text: str) -> str:
    """What a long text is known by."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Store:
    """A folder of object files for one state of the sources."""

    def __init__(self, name: str, sources: Iterable[Path]) -> None:
        # How kernels are made is among what they are made of.
        self._name, self._sources = name, (*sources, *sorted(Path(__file__).parent.glob("*.py")))
        self.keeps = True  #: so far everything could be kept

    @cached_property
    def folder(self) -> Path:
        """Where they are kept: in the user's cache folder, systemd's where there is one."""
        from llvmlite import binding

        features = binding.get_host_cpu_features().flatten()
        digest = hashlib.sha256(f"{binding.get_host_cpu_name()} {features}".encode())
        for compiler in _COMPILERS:
            digest.update(f"{compiler} {metadata.version(compiler)}\n".encode())
        digest.update(repr(sorted(one for one in os.environ.items() if one[0].startswith("NUMBA_"))).encode())
        for path in self._sources:
            digest.update(path.read_bytes())
        base = os.environ.get("CACHE_DIRECTORY") or os.environ.get("XDG_CACHE_HOME")
        if not base:
            try:
                base = str(Path.home() / ".cache")
            except RuntimeError:  # a user without a home: nothing can be kept
                base = os.devnull
        return Path(base) / "ids-daemon" / f"{self._name}-{digest.hexdigest()[:16]}"

    @property
    def complete(self) -> bool:
        """Whether nothing was left to compile once, of these very sources."""
        return self._trusted() and self._complete.exists()

    def mark_complete(self) -> None:
        """Nothing is left to compile; said only where everything was kept."""
        if self.keeps:
            with contextlib.suppress(OSError):
                self._complete.touch()

    def load(self, name: str, types: str) -> ObjectCode | None:
        """A kernel for arguments of these types; None where it is not there, or not whole."""
        try:
            if not self._trusted():
                return None
            digest, _, rest = self._path(name, types).read_bytes().partition(b"\n")
        except OSError:
            return None
        if digest.decode("ascii", "replace") != hashlib.sha256(rest).hexdigest():
            return None
        head, _, content = rest.partition(b"\n")
        symbol, returns = json.loads(head)
        return ObjectCode(symbol, tuple(returns), content)

    def keep(self, name: str, types: str, code: ObjectCode) -> None:
        """Put a kernel there for the next start; where nothing can be written it is compiled at each."""
        rest = json.dumps([code.symbol, code.returns]).encode() + b"\n" + code.content
        path = self._path(name, types)
        try:
            path.parent.parent.mkdir(parents=True, exist_ok=True)
            path.parent.mkdir(mode=0o755, exist_ok=True)
            handle, partial = tempfile.mkstemp(prefix=".", dir=path.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    os.fchmod(handle, 0o644)
                    file.write(hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
                Path(partial).replace(path)
            except OSError:
                Path(partial).unlink(missing_ok=True)
                raise
        except OSError:
            self.keeps = False

    def _trusted(self) -> bool:
        """Whether nobody else may write there: what lies there is run."""
        try:
            found = self.folder.stat()
        except OSError:
            return False
        return found.st_uid in (0, os.geteuid()) and not found.st_mode & 0o022

    def _path(self, name: str, types: str) -> Path:
        return self.folder / f"{name}-{key_of(types)}.o"

    @property
    def _complete(self) -> Path:
        return self.folder / "complete"
