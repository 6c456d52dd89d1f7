"""A bounded queue and a thread of its own before each sink, so that none holds up the pipeline."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from ids_daemon.eve import Event
from ids_daemon.sinks.base import Sink

#: Seconds to wait after a failure: doubled up to the longest while it goes on.
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0


class Delivery:
    """Delivers events to one sink in their order, again and again until it takes them.

    At the brim the oldest waiting event goes, and is counted: later alerts of an incident repeat
    what earlier ones said.  `tell` gets one line when a failure begins and one when it ends.
    delivered + dropped + waiting = events put in.
    """

    def __init__(self, sink: Sink, capacity: int, tell: Callable[[str], None]) -> None:
        self.sink = sink
        self.delivered = 0
        self.dropped = 0
        self.failures = 0  #: attempts that failed
        self._tell = tell
        self._capacity = capacity
        self._waiting: deque[Event] = deque()
        self._change = threading.Condition()
        self._closing_at: float | None = None
        self._reopen = False
        self._failing = False
        self._thread = threading.Thread(target=self._work, name=sink.name, daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        """Take an event; never waits for the sink."""
        with self._change:
            if len(self._waiting) >= self._capacity:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(event)
            self._change.notify()

    def reopen(self) -> None:
        """Have the sink let go of its file (after a rotation), in its own thread, and try again now."""
        with self._change:
            self._reopen = True
            self._change.notify()

    def close(self, timeout_s: float = 5.0) -> None:
        """Deliver what waits, for at most so long; what is left then is dropped, counted and told."""
        with self._change:
            self._closing_at = time.monotonic() + timeout_s
            self._change.notify()
        self._thread.join(timeout_s + 1.0)
        with self._change:
            left = len(self._waiting)
            self._waiting.clear()
            self.dropped += left
        if left:
            self._tell(f"{self.sink.name}: {left} alerts were not delivered before the end")

    def as_dict(self) -> dict[str, int]:
        with self._change:
            waiting = len(self._waiting)
        counters = {"delivered": self.delivered, "dropped": self.dropped}
        return counters | {"failures": self.failures, "waiting": waiting}

    def _work(self) -> None:
        wait_s = _FIRST_WAIT_S
        while (event := self._next()) is not None:
            try:
                self.sink.write(event)
            except OSError as error:
                self._failed(error)
                if not self._pause(wait_s):
                    break
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            else:
                wait_s = _FIRST_WAIT_S
                self._done(event)
        self._let_go(self.sink.close)

    def _let_go(self, how: Callable[[], None]) -> None:
        """Reopen or close the sink; some file systems tell only then that they lost something."""
        try:
            how()
        except OSError as error:
            self._failed(error)

    def _next(self) -> Event | None:
        """The event to deliver, still in the queue; None when all is done and closing was asked for."""
        with self._change:
            while True:
                if self._reopen:
                    self._reopen = False
                    self._let_go(self.sink.reopen)
                if self._waiting:
                    return self._waiting[0]
                if self._closing_at is not None:
                    return None
                self._change.wait()

    def _pause(self, seconds: float) -> bool:
        """Wait after a failure; at once over by `reopen`; False when the time to close has come."""
        end = time.monotonic() + seconds
        with self._change:
            while not self._reopen:
                now = time.monotonic()
                limit = end if self._closing_at is None else min(end, self._closing_at)
                if now >= limit:
                    break
                self._change.wait(limit - now)
            return self._closing_at is None or time.monotonic() < self._closing_at

    def _failed(self, error: OSError) -> None:
        self.failures += 1
        if not self._failing:
            self._failing = True
            self._tell(f"{self.sink.name}: {error.strerror or error}; alerts wait until it works again")

    def _done(self, event: Event) -> None:
        with self._change:
            self.delivered += 1
            # It may have been pushed out at the brim meanwhile: then it was delivered, not dropped.
            if self._waiting and self._waiting[0] is event:
                self._waiting.popleft()
            else:
                self.dropped -= 1
        if self._failing:
            self._failing = False
            self._tell(f"{self.sink.name}: works again ({self.dropped} alerts dropped so far)")
