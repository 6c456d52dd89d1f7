"""Signals become wishes that a loop looks at between two batches."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self


@contextmanager
def hangups_ignored() -> Iterator[None]:
    """SIGHUP, which ends a process by itself, does nothing: before and after there is something to reopen."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


class Signals:
    """While entered: SIGINT and SIGTERM ask to stop, SIGHUP calls `hangup`.

    A second SIGINT interrupts at once, for the impatient.
    """

    def __init__(self, hangup: Callable[[], None] | None = None) -> None:
        self._hangup = hangup
        self._hung_up = False
        self._before: dict[int, Any] = {}
        self.received: signal.Signals | None = None  #: the one that asked to stop

    def stop(self) -> bool:
        """Whether to stop; does what SIGHUP asked for on the way."""
        if self._hung_up and self._hangup is not None:
            self._hung_up = False
            self._hangup()
        return self.received is not None

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._ask_to_stop)
        if self._hangup is not None:
            self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._note_hangup)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note_hangup(self, number: int, frame: FrameType | None) -> None:
        self._hung_up = True
