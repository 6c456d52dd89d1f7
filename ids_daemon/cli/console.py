"""What the commands say to the person before them: errors, progress, numbers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console

#: Columns of a table that goes to a file or a pipe, unless COLUMNS says otherwise.
_PIPE_WIDTH = 120


def tell(line: str) -> None:
    """One line for the person (or the service manager) on standard error."""
    print(f"ids-daemon: {line}", file=sys.stderr, flush=True)


def output() -> Console:
    """Standard output for tables: as wide as the terminal, or _PIPE_WIDTH."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return Console(highlight=False)
    return Console(highlight=False, width=_PIPE_WIDTH)


class Source(Protocol):
    """What progress is read from."""

    @property
    def position_bytes(self) -> int: ...
    @property
    def packets(self) -> int: ...


class Progress:
    """How far a replay is; call `update` as often as you like."""

    def update(self, source: Source, incidents: int = 0) -> None:
        """Show where the source is."""


@contextmanager
def progress(total_bytes: int | None, *, quiet: bool) -> Iterator[Progress]:
    """A progress bar on standard error; none when that is no terminal, or with `quiet`."""
    if quiet or not sys.stderr.isatty():
        yield Progress()
        return
    from ids_daemon.cli.progressbar import bar

    with bar(total_bytes) as shown:
        yield shown


def total_size(paths: list[str]) -> int | None:
    """Bytes of all files together; None when one of them is a pipe or missing."""
    try:
        sizes = [os.stat(path).st_size if os.path.isfile(path) else None for path in paths]
    except OSError:
        return None
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None
