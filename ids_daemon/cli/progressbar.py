"""The progress bar of replay and flows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from ids_daemon.cli.console import Progress, Source

_INTERVAL_S = 0.1


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
def bar(total_bytes: int | None) -> Iterator[Progress]:
    """The bar, gone when the block ends; without a total it only moves."""
    columns = (
        BarColumn(bar_width=10),
        TaskProgressColumn(),
        TextColumn("{task.fields[numbers]}"),
        TimeRemainingColumn(compact=True),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True, refresh_per_second=5) as shown:
        yield _ProgressBar(shown, total_bytes)
