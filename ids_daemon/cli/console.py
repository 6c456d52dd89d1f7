"""What the commands say to the person before them: errors and tables."""

from __future__ import annotations

import os
import sys

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
