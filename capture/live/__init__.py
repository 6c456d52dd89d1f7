"""Packets from the network interfaces of this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from capture.errors import CaptureError
from capture.live.links import Link
from capture.live.live_capture import LARGEST_SNAPLEN, SMALLEST_SNAPLEN, LiveCapture
from capture.live.packet_socket import RingOptions

__all__ = ["LiveCapture", "open_interface"]


def _check_memory(wanted: int) -> None:
    """The kernel takes the memory of rings at once, from others where it must."""
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if wanted > there // 2:
        raise CaptureError(
            f"rings of {wanted >> 20:,} MiB are more than half of the memory ({there >> 20:,} MiB);"
            " set capture.ring_mib lower"
        )


def _say_nothing(line: str) -> None:
    pass


def open_interface(
    names: Sequence[str],
    *,
    promiscuous: bool = True,
    snaplen: int = LARGEST_SNAPLEN,
    filter: str = "",
    own_traffic: bool = True,
    ring_bytes: int = 32 << 20,
    block_bytes: int = 512 << 10,
    block_timeout_ms: int = 10,
    timeout_ms: int = 60,
    tell: Callable[[str], None] = _say_nothing,
) -> LiveCapture:
    """Open network interfaces as one source of PacketBatch; `interface` counts in `names`.

    `snaplen` bytes of each frame are taken, of those that `filter` (pcap-filter(7), in the kernel)
    matches; without `own_traffic` packets that this machine sends are left out.  On the loopback
    interface every packet is given once.  A VLAN tag that the kernel or the card took off is put back.

    Each interface has a ring of `ring_bytes`, in blocks of `block_bytes` that are handed over when
    full or `block_timeout_ms` after their first packet; `timeout_ms` is the longest time without a
    batch.  `tell` gets a line about each interface that goes away, comes back, merges packets.

    Raises CaptureError: not Linux, no such interface or it is down, no CAP_NET_RAW, an interface
    type that is not read, a filter that is none, no memory for the ring.
    """
    if sys.platform != "linux":
        raise CaptureError("live capture needs Linux; read recorded captures with `ids-daemon replay`")
    names = list(dict.fromkeys(names))
    if not names:
        raise CaptureError("no interface to capture on; name one or more, as in `-i eth0`")
    if not SMALLEST_SNAPLEN <= snaplen <= LARGEST_SNAPLEN:
        raise CaptureError(f"snaplen {snaplen} is outside {SMALLEST_SNAPLEN} to {LARGEST_SNAPLEN}")
    _check_memory(ring_bytes * len(names))
    options = RingOptions(
        promiscuous=promiscuous,
        own_traffic=own_traffic,
        snaplen=snaplen,
        filter=filter,
        ring_bytes=ring_bytes // block_bytes * block_bytes,
        block_bytes=block_bytes,
        block_timeout_ms=block_timeout_ms,
    )
    with ExitStack() as opened:
        links = []
        for name in names:
            link = Link(name, options, tell)
            opened.callback(link.close)
            links.append(link)
        live = LiveCapture(links, options, timeout_ms=timeout_ms)
        for link in links:
            link.start()
        opened.pop_all()
    return live
