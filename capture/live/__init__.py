"""Packets from the network interfaces of this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from capture.errors import CaptureError
from capture.live.links import Link
from capture.live.live_capture import LARGEST_SNAPLEN, SMALLEST_SNAPLEN, LiveCapture, SharedCapture
from capture.live.packet_socket import RingOptions

__all__ = ["LiveCapture", "SharedCapture", "open_interface", "open_shared"]


def _check_memory(wanted: int) -> None:
    """The kernel takes the memory of rings at once, from others where it must."""
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if wanted > there // 2:
        raise CaptureError(
            f"rings of {wanted >> 20:,} MiB are more than half of the memory ({there >> 20:,} MiB);"
            " set capture.ring_mib lower"
        )


def open_interface(names: Sequence[str], **options: Any) -> LiveCapture:
    """Open network interfaces as one source of PacketBatch; `interface` counts in `names`.

    Options, all by name:
    promiscuous: take frames for others, too (True).
    own_traffic: take packets that this machine sends (True); on a loopback each packet comes once.
    snaplen: bytes taken of each frame (262144).
    filter: only packets that it matches, pcap-filter(7), in the kernel ("": all).
    ring_bytes, block_bytes, block_timeout_ms: memory of an interface's ring (32 MiB), in blocks that are
        handed over when full or so long after their first packet (512 KiB, 10 ms).
    timeout_ms: the longest time without a batch (60).
    tell: gets a line about each interface that goes away, comes back, merges packets.

    A VLAN tag that the kernel or the card took off is put back into the frame.

    Raises CaptureError: not Linux, no such interface or it is down, no CAP_NET_RAW, an interface
    type that is not read, a filter that is none, no memory for the ring.
    """
    _, (live,) = _open(names, 1, **options)
    return live


def open_shared(names: Sequence[str], workers: int, **options: Any) -> SharedCapture:
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
    **options: Any,
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
