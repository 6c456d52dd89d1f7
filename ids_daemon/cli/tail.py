"""`ids-daemon tail`: alerts as they come, one readable line each."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Any, TypeGuard

from rich.console import Console
from rich.text import Text

from ids_daemon.cli.console import output, tell
from ids_daemon.cli.options import Subcommands, add_command, add_config, configuration
from ids_daemon.errors import OutputError
from ids_daemon.wording import alert_line

_DESCRIPTION = """\
Show the last alerts of an EVE JSONL file, one line each, and go on with new ones as they come (on a
terminal, or with --follow) until Ctrl-C.  A rotated or replaced file is followed to its successor.

Files of other tools that write EVE, such as Suricata, are read too; events that are no alerts and
lines that are no JSON are passed over.  The number in brackets is the severity: 1 is gravest.
"""

_POLL_S = 0.25
_MAX_LINE = 1 << 20
_STYLES = {1: "bold red", 2: "yellow", 3: "cyan"}


def add(commands: Subcommands) -> None:
    parser = add_command(commands, "tail", "read the alerts, one line each", _DESCRIPTION, tail)
    parser.add_argument("file", nargs="?", metavar="FILE", help="EVE file (default: the configuration's)")
    parser.add_argument("-n", "--lines", type=_count, default=10, help="alerts to begin with (default 10)")
    parser.add_argument(
        "-f",
        "--follow",
        action=argparse.BooleanOptionalAction,
        default=sys.stdout.isatty(),
        help="wait for more (default: on a terminal)",
    )
    add_config(parser)


def tail(options: argparse.Namespace) -> int:
    path = options.file or configuration(options).outputs.eve.path
    console = output()
    with ExitStack() as opened:
        with _reading(path):
            file = opened.enter_context(open(path, "rb"))
            begin, skipped = _last_alerts(file, options.lines)
        for event in begin:
            _show(console, event)
        if skipped:
            tell(f"{path}: {skipped} lines are no EVE events and were passed over{_remark(file)}")
        if not options.follow:
            return 0
        for line in follow(path, file):
            if _is_alert(one := parse(line)):
                _show(console, one)
    return 0


@contextmanager
def _reading(path: str) -> Iterator[None]:
    """OutputError for what goes wrong with the file; showing what is in it stays outside."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {error.strerror or error}") from None


def follow(
    path: str, file: IO[bytes], wait: Callable[[], None] = lambda: time.sleep(_POLL_S)
) -> Iterator[bytes]:
    """Whole lines as they are appended to `path`, of which `file` is open; never ends.

    When another file takes the path's place, the old one is read to its end first; when the file
    becomes shorter it is read from the start.
    """
    rest = b""
    current = file
    with ExitStack() as opened, _reading(path):
        while True:
            chunk = current.read(1 << 16)
            if chunk:
                *lines, rest = (rest + chunk).split(b"\n")
                yield from lines
                rest = rest if len(rest) <= _MAX_LINE else b""
                continue
            successor = _successor(path, current)
            if successor is None:
                wait()
                continue
            *lines, _ = (rest + current.read()).split(b"\n")  # written until the writer let go of it
            opened.close()
            current, rest = opened.enter_context(successor), b""
            yield from lines


def _remark(file: IO[bytes]) -> str:
    """A remark when the file is no text at all; its position stays."""
    head = os.pread(file.fileno(), 512, 0)
    return "; captures are read by `ids-daemon replay`" if b"\0" in head else ""


def parse(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None when it is no JSON object."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _successor(path: str, current: IO[bytes]) -> IO[bytes] | None:
    """The file that took the path's place or was cut short, from its start; None when nothing changed."""
    now = os.fstat(current.fileno())
    try:
        there = os.stat(path)
    except FileNotFoundError:  # between the two steps of a rotation
        return None
    if (there.st_dev, there.st_ino) != (now.st_dev, now.st_ino) or there.st_size < current.tell():
        try:
            return open(path, "rb")
        except FileNotFoundError:
            return None
    return None


def _last_alerts(file: IO[bytes], count: int) -> tuple[deque[dict[str, Any]], int]:
    """The last alerts of the file, and how many lines were no events; stops before a line being written."""
    alerts: deque[dict[str, Any]] = deque(maxlen=count)
    skipped = 0
    while True:
        start = file.tell()
        line = file.readline(_MAX_LINE)
        if not line:
            return alerts, skipped
        if not line.endswith(b"\n") and len(line) < _MAX_LINE:
            if parse(line) is None:
                file.seek(start)
                return alerts, skipped
        event = parse(line)
        skipped += event is None and bool(line.strip())
        if _is_alert(event):
            alerts.append(event)


def _is_alert(event: dict[str, Any] | None) -> TypeGuard[dict[str, Any]]:
    return event is not None and event.get("event_type") == "alert"


def _show(console: Console, event: dict[str, Any]) -> None:
    alert = event.get("alert")
    severity = alert.get("severity") if isinstance(alert, dict) else None
    style = _STYLES.get(severity, "") if isinstance(severity, int) else ""
    if console.is_terminal:
        console.print(Text(alert_line(event), style=style), soft_wrap=True)
    else:
        print(alert_line(event), flush=True)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is no number of lines")
    return min(int(text), sys.maxsize)
