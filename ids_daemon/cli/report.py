"""What a replay tells in the end: a table of incidents and a summary."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ids_daemon.eve import Event
from ids_daemon.pipeline import Pipeline
from ids_daemon.wording import NOT_METERED, first, hosts, printable, short_time

#: Rows of the table; more incidents are counted, and stand in the alerts.
MAX_ROWS = 200

#: From this width on the evidence has room for a column of its own.
_WIDE = 110

_NARROW = 60  # columns of a terminal below which only when, what and who have room

_STYLES = {1: "bold red", 2: "yellow", 3: "cyan"}


class IncidentTable:
    """Collects events; one row an incident, in the order they were opened."""

    def __init__(self) -> None:
        self._latest: dict[str, dict[str, Any]] = {}
        self._opened: dict[str, str] = {}
        self.incidents = 0

    def add(self, event: Event) -> None:
        metadata = event.object["alert"]["metadata"]
        identity = first(metadata, "incident_id")
        if first(metadata, "incident_update") == "0":
            self.incidents += 1
            if len(self._latest) == MAX_ROWS:
                return
            self._opened[identity] = event.object["timestamp"]
            self._latest[identity] = event.object
        elif identity in self._latest:
            self._latest[identity] = event.object

    def show(self, console: Console) -> None:
        """Print the table, when there is anything in it."""
        if not self._latest:
            return
        wide = console.width >= _WIDE
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        table.add_column("Time (UTC)", no_wrap=True)
        table.add_column("Family", no_wrap=True)
        table.add_column("Actor → target", overflow="fold", ratio=None if wide else 1)
        if console.width >= _NARROW:
            table.add_column("Score", justify="right", no_wrap=True)
            table.add_column("Flows", justify="right", no_wrap=True)
        if wide:
            table.add_column("Evidence", overflow="fold", ratio=1)
        for identity, event in self._latest.items():
            row = self._row(identity, event, wide)
            table.add_row(*row[: len(table.columns)])
        console.print(table)
        left = self.incidents - len(self._latest)
        if left:
            console.print(f"... and {left} more incidents")
        console.print()

    def _row(self, identity: str, event: dict[str, Any], wide: bool) -> list[Text]:
        alert = event["alert"]
        metadata = alert["metadata"]
        actor = hosts(event, metadata, "actors", "src_ip")
        target = hosts(event, metadata, "targets", "dest_ip")
        evidence = printable("; ".join(metadata.get("evidence", [])[:3]))
        who = Text(f"{actor} → {target}")
        if evidence and not wide:
            who.append(f"\n{evidence}", style="dim")
        row = [
            Text(short_time(self._opened[identity]).removesuffix("Z")),
            Text(first(metadata, "family"), style=_STYLES.get(alert["severity"], "")),
            who,
            Text(f"{float(first(metadata, 'score')):.2f}"),
            Text(first(metadata, "flows")),
        ]
        return [*row, Text(evidence, style="dim")] if wide else row


def show_summary(
    console: Console, pipeline: Pipeline, *, incidents: int, seconds: float, files: dict[str, str]
) -> None:
    """What was read, found and written; `files` maps what to where."""
    stats = pipeline.stats
    rows = [
        ("packets", f"{stats.packets:,}" + not_metered(stats.packets, pipeline.meter.stats.not_metered())),
        ("flows", f"{stats.flows:,}" + (f" ({stats.evicted_records:,} cut short: the flow table "
                                        "was full)" if stats.evicted_records else "")),
        ("windows", _windows(pipeline)),
        ("incidents", f"{incidents:,}"),
        ("capture time", _span(stats.first_ns, stats.last_ns)),
        ("took", f"{seconds:.1f} s, {stats.packets / max(seconds, 1e-3):,.0f} packets/s"),
        *files.items(),
    ]  # fmt: skip
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        if value:
            table.add_row(Text(name), Text(value))
    console.print(table)


def not_metered(packets: int, reasons: dict[str, int]) -> str:
    """` (n metered; n ARP, n IPv6)`, and nothing when all were metered."""
    said = [f"{count:,} {NOT_METERED[name]}" for name, count in reasons.items() if count]
    return f" ({packets - sum(reasons.values()):,} metered; {', '.join(said)})" if said else ""


def _windows(pipeline: Pipeline) -> str:
    windows = pipeline.scorer.stats.as_dict().get("windows")
    return "" if windows is None else f"{windows:,}"


def _span(first_ns: int | None, last_ns: int | None) -> str:
    if first_ns is None or last_ns is None:
        return ""
    seconds = (last_ns - first_ns) / 1e9
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, _ = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return (f"{days} d " if days else "") + (f"{hours} h " if days or hours else "") + f"{minutes} min"
