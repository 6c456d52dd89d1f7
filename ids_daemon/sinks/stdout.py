"""Standard output: EVE lines for another program, or words for a person."""

from __future__ import annotations

import sys
from typing import Literal

from ids_daemon.eve import Event
from ids_daemon.wording import alert_line


class Stdout:
    """One line an event, flushed at once."""

    name = "standard output"

    def __init__(self, form: Literal["eve", "text"] = "eve") -> None:
        self._form = form

    def write(self, event: Event) -> None:
        line = event.line if self._form == "eve" else (alert_line(event.object) + "\n").encode()
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()

    def reopen(self) -> None:
        """Standard output stays what it is."""

    def close(self) -> None:
        """Not ours to close."""
