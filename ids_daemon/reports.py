"""What a running service tells of itself: counters at an interval, and a word when packets are lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ids_daemon.eve import Event, encode, stamp
from ids_daemon.statsfile import StatsFile
from ids_daemon.wording import NOT_METERED

Tell = Callable[[str], None]
Counters = Mapping[str, Mapping[str, Any]]

#: Seconds over which losses are looked at.
LOSS_INTERVAL_S = 10.0


class LossWatch:
    """Tells when the kernel begins to drop more than a share of the packets, and when it has ended."""

    def __init__(self, percent: float, tell: Tell) -> None:
        self._percent = percent
        self._tell = tell
        self._packets = self._drops = 0  # at the last look
        self._before: int | None = None  # drops before the loss that goes on

    def look(self, capture: Mapping[str, int], seconds: float) -> None:
        """Compare with the counters of `seconds` ago."""
        packets = capture["kernel_packets"] - self._packets
        drops = capture["kernel_drops"] - self._drops
        if self._before is None and drops and 100 * drops >= self._percent * packets:
            self._before = self._drops
            self._tell(
                f"packets are lost: the kernel dropped {drops:,} of {packets:,} ({drops / packets:.1%}) in"
                f" {seconds:.0f} s, as they come faster than they are metered; capture.filter takes fewer,"
                " capture.ring_mib bridges bursts, capture.workers takes more processors"
            )
        elif self._before is not None and not drops:
            lost = capture["kernel_drops"] - self._before
            self._tell(f"no packets are lost any longer; {lost:,} were")
            self._before = None
        self._packets += packets
        self._drops += drops


class Reports:
    """Looks at the counters from time to time; `now` is a clock in seconds."""

    def __init__(
        self,
        counters: Callable[[], Counters],
        stats: StatsFile,
        interval_s: float,
        losses: LossWatch,
        emit: Callable[[Counters, float], None],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`emit` takes the counters and the uptime in seconds whenever `stats` does."""
        self._counters, self._stats, self._losses, self._emit = counters, stats, losses, emit
        self._interval_s = interval_s
        self._now = now
        self._started = self._looked_at = now()
        self._written_at = self._started

    def look(self) -> None:
        """Do what is due."""
        now = self._now()
        if now - self._looked_at >= LOSS_INTERVAL_S:
            self._losses.look(self._counters()["capture"], now - self._looked_at)
            self._looked_at = now
        if now - self._written_at >= self._interval_s:
            self._written_at = now
            counters = self._counters()
            self._stats.write(counters)
            self._emit(counters, now - self._started)

    def last(self) -> None:
        """The last event; the last line of `stats` waits for what becomes of it."""
        self._emit(self._counters(), self._now() - self._started)


def stats_event(sensor: str, counters: Counters, uptime_s: float, now_ns: int) -> Event:
    """Counters as an EVE line: those that Suricata declares, in its version 7 and its current one."""
    capture, pipeline, meter = counters["capture"], counters["pipeline"], counters["meter"]
    kinds = ("ipv4", "ipv6", "tcp", "udp", "arp")
    decoder = {"pkts": pipeline["packets"], "bytes": pipeline["wire_bytes"]}
    decoder["invalid"] = meter.get("truncated", 0) + meter.get("malformed", 0)
    decoder |= {kind: meter[kind] for kind in kinds if kind in meter}
    if "vlan_tagged" in meter:
        decoder["vlan"] = meter["vlan_tagged"]
    stats: dict[str, Any] = {
        "uptime": int(uptime_s),
        "capture": {name: capture[name] for name in ("kernel_packets", "kernel_drops")},
        "decoder": decoder,
    }
    if "flows_created" in meter:
        ended = sum(meter[f"flows_{how}"] for how in ("expired", "cut", "evicted", "at_end"))
        stats["flow"] = {"total": meter["flows_created"], "active": meter["flows_created"] - ended}
    entry = {"timestamp": stamp(now_ns), "event_type": "stats", "host": sensor, "stats": stats}
    return Event(entry, encode(entry))


def losses_line(counters: Counters, not_metered: Mapping[str, int]) -> str:
    """What was left out beside the kernel's drops, by reason, for the end of a run; "" when nothing was."""
    capture, meter = counters["capture"], counters["meter"]
    parts = [
        _some(capture.get("ring_freezes", 0), "times the ring was full"),
        _some(capture.get("unread", 0), "packets left in the ring"),
        *(_some(count, f"packets not metered ({NOT_METERED[name]})") for name, count in not_metered.items()),
        _some(meter.get("flows_evicted", 0), "flows evicted"),
        _some(sum(sink["dropped"] for sink in counters["sinks"].values()), "alerts dropped"),
    ]
    return ", ".join(part for part in parts if part)


def _some(count: int, what: str) -> str:
    return f"{count:,} {what}" if count else ""
