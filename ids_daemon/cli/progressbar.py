"""The progress bar of replay and flows."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

_INTERVAL_S = 0.1


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


class _ProgressBar(Progress):
    def __init__(self, shown: Bar, total_bytes: int | None) -> None:
        self._bar = shown
        self._task = shown.add_task("", total=total_bytes, numbers="")
        self._started = self._last = time.monotonic()

    def update(self, source: Source, incidents: int = 0) -> None:
        now = time.monotonic()
        if now - self._last < _INTERVAL_S:
            return
        self._last = now
        elapsed = max(now - self._started, 1e-3)
        position = source.position_bytes
        numbers = (
            f"{position / 1e6:,.1f} MB  {source.packets:,} packets  "
            f"{source.packets / elapsed:,.0f}/s  {incidents} incident{'' if incidents == 1 else 's'}"
        )
        self._bar.update(self._task, completed=position, numbers=numbers)


@contextmanager
def progress(paths: list[str], *, quiet: bool) -> Iterator[Progress]:
    """A bar for reading `paths` on standard error, gone when the block ends.

    None when standard error is no terminal, or with `quiet`; it only moves while the size of what
    is read is unknown.
    """
    if quiet or not sys.stderr.isatty():
        yield Progress()
        return
    columns = (
        BarColumn(bar_width=10),
        TaskProgressColumn(),
        TextColumn("{task.fields[numbers]}"),
        TimeRemainingColumn(compact=True),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True, refresh_per_second=5) as shown:
        yield _ProgressBar(shown, _total_size(paths))


def _total_size(paths: list[str]) -> int | None:
    """Bytes of all files together; None when one of them is a pipe or missing."""
    try:
        sizes = [os.stat(path).st_size if os.path.isfile(path) else None for path in paths]
    except OSError:
        return None
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None
