"""Packets from the network interfaces of this machine."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack

from capture.errors import CaptureError
from capture.live.live_capture import (
    LARGEST_SNAPLEN,
    SMALLEST_SNAPLEN,
    KernelStatistics,
    LiveCapture,
)
from capture.live.packet_socket import PacketSocket

__all__ = ["KernelStatistics", "LiveCapture", "open_interface"]


def open_interface(
    names: Sequence[str],
    *,
    promiscuous: bool = True,
    snaplen: int = LARGEST_SNAPLEN,
    timeout_ms: int = 100,
    own_traffic: bool = True,
) -> LiveCapture:
    """Open network interfaces as one source of PacketBatch; `interface` counts in `names`.

    `snaplen` bytes of each frame are taken; `timeout_ms` is the longest time without a batch;
    without `own_traffic` packets that this machine sends are left out.  On the loopback interface
    every packet is given once.

    Raises CaptureError: not Linux, no such interface or it is down, no CAP_NET_RAW, an interface
    type that is not read.
    """
    if sys.platform != "linux":
        raise CaptureError("live capture needs Linux; read recorded captures with `ids-daemon replay`")
    names = list(dict.fromkeys(names))
    if not names:
        raise CaptureError("no interface to capture on; name one or more, as in `-i eth0`")
    if not SMALLEST_SNAPLEN <= snaplen <= LARGEST_SNAPLEN:
        raise CaptureError(f"snaplen {snaplen} is outside {SMALLEST_SNAPLEN} to {LARGEST_SNAPLEN}")

    with ExitStack() as opened:
        sockets = []
        for name in names:
            packet_socket = PacketSocket(name, promiscuous=promiscuous, own_traffic=own_traffic)
            opened.callback(packet_socket.close)
            sockets.append(packet_socket)
        opened.pop_all()
    return LiveCapture(sockets, snaplen=snaplen, timeout_ms=timeout_ms)
