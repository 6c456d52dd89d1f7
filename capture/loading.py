"""Have all kernels compiled before there are packets that would wait for them."""

from __future__ import annotations

import numpy as np

from capture import link_types
from capture.files.kernels import INTERFACE_DTYPE, PacketIndex, index_pcap, index_pcapng, write_pcapng
from capture.jit import DISABLED, KERNELS
from capture.live.kernels import BlockIndex, index_block
from capture.meter import FlowMeter
from capture.packets import PacketBatch

#: An IPv4 packet to port 9 (discard) of the own machine: UDP without payload.
_PACKET = bytes.fromhex("4500001c 00000000 40110000 7f000001 7f000001 00090009 00080000")


def load_kernels() -> None:
    """Compile the kernels of the native meter and of all sources, or load them from the cache.

    Those that write flows are compiled, too, so that nothing is later, but not loaded: `FlowWriter`
    does that.  Takes a minute or so when `kernels_are_cached` says no, well under a second otherwise.
    """
    if DISABLED:
        return
    first = not KERNELS.are_cached()
    buffer, index = np.frombuffer(bytearray(_PACKET), np.uint8), PacketIndex.allocate(1)
    index_pcap(buffer, 0, 0, False, 16, 1, index)
    index_pcapng(buffer, 0, 0, False, np.zeros(1, INTERFACE_DTYPE), 0, 0, index)
    empty_block = np.zeros(64, np.uint8)
    words, halves = empty_block.view(np.uint32), empty_block.view(np.uint16)
    index_block(words, halves, empty_block, 0, True, 0, BlockIndex.allocate(1))
    meter = FlowMeter(capacity=1, memory=1)
    index.captured_length[:] = index.wire_length[:] = len(_PACKET)
    index.link_type[:] = link_types.RAW
    batch = PacketBatch(buffer, vlan=np.full(1, -1, np.int16), **index._asdict())
    columns = (batch.offset, batch.captured_length, batch.wire_length, batch.timestamp_ns, batch.interface)
    write_pcapng(buffer, *columns, 0, buffer)
    for records in (meter.process(batch), meter.advance(0), meter.finish()):
        for _ in records:
            pass
    # Where nothing can be kept each start compiles: then only what it needs.
    if first and KERNELS.store.keeps:
        from capture.flowfile import load_kernels as load_writing

        load_writing()
    KERNELS.store.mark_complete()
