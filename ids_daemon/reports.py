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


#: What an interface lost before anybody saw it: the counter, and what to call it.  Its `interface_drops` is
#: not among them: it counts what the kernel has no protocol for, too.
_INTERFACE_LOSSES = {
    "interface_missed": "missed",
    "interface_overruns": "overruns",
    "interface_errors": "damaged",
}


class _Loss:
    """A loss of one kind, which begins and ends."""

    def __init__(self, percent: float, ended: str, tell: Tell) -> None:
        self._percent, self._ended, self._tell = percent, ended, tell
        self._before: int | None = None  # the total before the loss that goes on

    def look(self, total: int, new: int, packets: int, begun: str) -> None:
        """`new` of `packets` were lost, `total` of all: tell `begun` when that is too many."""
        if self._before is None and new and 100 * new >= self._percent * packets:
            self._before = total - new
            self._tell(begun)
        elif self._before is not None and not new:
            self._tell(self._ended.format(total - self._before))
            self._before = None


class LossWatch:
    """Tells when more than a share of the packets begins to be lost, and when it has ended.

    What the kernel drops and what the interfaces lose before are told apart: other things help.
    """

    def __init__(self, percent: float, tell: Tell) -> None:
        self._last: dict[str, int] = {}
        self._kernel = _Loss(percent, "no packets are lost any longer; {:,} were", tell)
        self._interface = _Loss(percent, "the interfaces lose no packets any longer; {:,} were lost", tell)

    def look(self, capture: Mapping[str, int], seconds: float) -> None:
        """Compare with the counters of `seconds` ago."""
        new = {name: count - self._last.get(name, 0) for name, count in capture.items()}
        self._last = dict(capture)
        packets, drops = new["kernel_packets"], new["kernel_drops"]
        share = drops / max(packets, 1)
        self._kernel.look(
            capture["kernel_drops"],
            drops,
            packets,
            f"packets are lost: the kernel dropped {drops:,} of {packets:,} ({share:.1%}) in {seconds:.0f} s,"
            " as they come faster than they are metered; capture.filter takes fewer,"
            " capture.ring_mib bridges bursts, capture.workers takes more processors",
        )
        lost = sum(new.get(name, 0) for name in _INTERFACE_LOSSES)
        kinds = ", ".join(f"{new.get(name, 0):,} {what}" for name, what in _INTERFACE_LOSSES.items())
        self._interface.look(
            sum(capture.get(name, 0) for name in _INTERFACE_LOSSES),
            lost,
            packets + lost,
            f"packets are lost before they can be seen: the interfaces counted {kinds} beside {packets:,}"
            f" packets seen in {seconds:.0f} s; `ethtool -S IF` says why, `ethtool -G IF rx N` gives a card"
            " more room",
        )


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
        ended = sum(meter.get(f"flows_{how}", 0) for how in ("expired", "cut", "evicted", "at_end"))
        stats["flow"] = {"total": meter["flows_created"], "active": meter["flows_created"] - ended}
    entry = {"timestamp": stamp(now_ns), "event_type": "stats", "host": sensor, "stats": stats}
    return Event(entry, encode(entry))


def losses_line(counters: Counters, not_metered: Mapping[str, int]) -> str:
    """What was left out beside the kernel's drops, by reason, for the end of a run; "" when nothing was."""
    capture, meter = counters["capture"], counters["meter"]
    parts = [
        _some(capture.get("ring_freezes", 0), "times the ring was full"),
        _some(capture.get("unread", 0), "packets left in the ring"),
        _some(capture.get("interface_missed", 0), "packets missed by the interface"),
        _some(capture.get("interface_overruns", 0), "overruns of the interface"),
        _some(capture.get("interface_errors", 0), "packets damaged on the way to the interface"),
        _some(
            capture.get("interface_drops", 0),
            "packets dropped by the interface's driver, or of no use to the system",
        ),
        *(_some(count, f"packets not metered ({NOT_METERED[name]})") for name, count in not_metered.items()),
        _some(meter.get("flows_evicted", 0), "flows evicted"),
        _some(sum(sink["dropped"] for sink in counters["sinks"].values()), "alerts dropped"),
    ]
    return ", ".join(part for part in parts if part)


def _some(count: int, what: str) -> str:
    return f"{count:,} {what}" if count else ""
