"""What a sink is: it takes one event at a time and may fail."""

from __future__ import annotations

from typing import Protocol

from ids_daemon.eve import Event


class Sink(Protocol):
    """One place that events go to.  Used by one thread at a time."""

    name: str  #: kind and place, for messages

    def write(self, event: Event) -> None:
        """Deliver the event whole or raise OSError; called again with the same event after that."""

    def reopen(self) -> None:
        """Let go of files and sockets; the next write opens them anew."""

    def close(self) -> None:
        """Let go for good."""
