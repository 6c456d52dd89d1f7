"""What the service itself can refuse to do; `cli` turns each into one line and an exit code."""

from __future__ import annotations

from collections.abc import Sequence


class IdsError(Exception):
    """The root.  The message is one line: what, where, what to do."""


class ConfigError(IdsError):
    """The configuration does not hold.  `lines` has one line for each problem found."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = tuple(lines)


class OutputError(IdsError):
    """An alert cannot be written where it should go."""
