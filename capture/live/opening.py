"""Open network interfaces as sources of packets."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TypedDict, Unpack

from capture.errors import CaptureError
from capture.live.links import Link
from capture.live.live_capture import LARGEST_SNAPLEN, SMALLEST_SNAPLEN, LiveCapture, SharedCapture
from capture.live.packet_socket import RingOptions

#: What the kernel could give without taking it from others; not to be read in every sandbox.
_MEMORY = "/proc/meminfo"


class RingKeywords(TypedDict, total=False):
    """`RingOptions` by name; the defaults are there."""

    promiscuous: bool  #: take frames for others, too (True)
    own_traffic: bool  #: take packets that this machine sends (True); on a loopback each comes once
    snaplen: int  #: bytes taken of each frame (262144)
    filter: str  #: only packets that it matches, pcap-filter(7), in the kernel ("": all)
    ring_bytes: int  #: memory of an interface's ring (32 MiB)
    block_bytes: int  #: it is handed over in blocks of so many bytes (512 KiB), when they are full
    block_timeout_ms: int  #: or so long after their first packet (10)


class LiveOptions(RingKeywords, total=False):
    """How interfaces are captured."""

    timeout_ms: int  #: the longest time without a batch (60)
    tell: Callable[[str], None]  #: gets a line about each interface that goes, comes, merges packets


def open_interface(names: Sequence[str], **options: Unpack[LiveOptions]) -> LiveCapture:
    """Open network interfaces as one source of PacketBatch; `interface` counts in `names`.

    A VLAN tag that the kernel or the card took off is put back into the frame.

    Raises CaptureError: not Linux, no such interface or it is down, no CAP_NET_RAW, an interface
    type that is not read, a filter that is none, no memory for the ring.
    """
    _, (live,) = _open(names, 1, **options)
    return live


def open_shared(names: Sequence[str], workers: int, **options: Unpack[LiveOptions]) -> SharedCapture:
    """The same for some workers that share the packets, by the options of `open_interface`.

    Each has a ring of its own on every interface.
    """
    return SharedCapture(*_open(names, workers, **options))


def _open(
    names: Sequence[str],
    workers: int,
    *,
    timeout_ms: int = 60,
    tell: Callable[[str], None] = lambda line: None,
    **options: Unpack[RingKeywords],
) -> tuple[list[Link], list[LiveCapture]]:
    if sys.platform != "linux":
        raise CaptureError("live capture needs Linux; read recorded captures with `ids-daemon replay`")
    names = list(dict.fromkeys(names))
    if not names:
        raise CaptureError("no interface to capture on; name one or more, as in `-i eth0`")
    ring = RingOptions(**options)
    ring = replace(ring, ring_bytes=ring.ring_bytes // ring.block_bytes * ring.block_bytes)
    if not SMALLEST_SNAPLEN <= ring.snaplen <= LARGEST_SNAPLEN:
        raise CaptureError(f"snaplen {ring.snaplen} is outside {SMALLEST_SNAPLEN} to {LARGEST_SNAPLEN}")
    _check_memory(ring.ring_bytes * len(names) * workers)
    with ExitStack() as opened:
        links = []
        for name in names:
            link = Link(name, ring, tell, workers)
            opened.callback(link.close)
            links.append(link)
        parts = [LiveCapture(links, ring, timeout_ms=timeout_ms, worker=n) for n in range(workers)]
        for link in links:
            link.start()
        opened.pop_all()
    return links, parts


def _check_memory(wanted: int) -> None:
    """The kernel takes the memory of rings at once, from others where it must."""
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if wanted > there // 2:
        problem = f"more than half of the memory ({there >> 20:,} MiB)"
    elif (free := _available()) is not None and wanted > free:
        problem = f"more than the memory that is free ({free >> 20:,} MiB)"
    else:
        return
    raise CaptureError(f"rings of {wanted >> 20:,} MiB are {problem}; set capture.ring_mib lower")


def _available() -> int | None:
    """Bytes that are free or can be had from caches; None where that cannot be known."""
    try:
        with open(_MEMORY, encoding="ascii") as lines:
            found = [line.split() for line in lines if line.startswith("MemAvailable:")]
    except OSError:
        return None
    return int(found[0][1]) * 1024 if found else None
