"""Subflows as the data-set version of CICFlowMeter counts them.  Pure kernels."""

from __future__ import annotations

from capture.jit import helper


@helper
def begins_subflow(now_us, last_us):
    """1 when a packet begins a subflow; a flow's first packet has itself before it.

    The reference means a gap of over one second, but divides the time before and not the gap: each
    packet begins one, but those in the first two microseconds of 1970, where some captures start.
    """
    if now_us > 2 and last_us <= now_us:  # as nearly always, and no division is needed
        return 1
    return 1 if now_us - last_us / 1e6 > 1.0 else 0


@helper
def write_subflows(x, at, subflows, f, b):
    """Packets and bytes a subflow of both directions, whole numbers."""
    if subflows == 0:
        for i in range(4):
            x[at + i] = 0.0
        return
    x[at] = int(f.packets) // subflows
    x[at + 1] = f.bytes // subflows
    x[at + 2] = int(b.packets) // subflows
    x[at + 3] = b.bytes // subflows
