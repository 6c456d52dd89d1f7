"""What must hold of a meter after any packets at all."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from capture.columns import FLOW_DTYPE, Kind
from capture.meter import FlowMeter
from capture.meter.stats import REASONS
from capture.packets import PacketBatch


def meter_all(batches: Iterable[PacketBatch], meter: FlowMeter) -> np.ndarray:
    """All records of the batches, the last ones too when reading them ends in an error."""
    given = [np.zeros(0, FLOW_DTYPE)]
    try:
        for batch in batches:
            given += meter.process(batch)
    finally:
        given += meter.finish()
        records = np.concatenate(given)
        assert_conserved(meter, records)
    return records


def assert_conserved(meter: FlowMeter, records: np.ndarray) -> None:
    """Every packet is metered or counted by one reason, every flow ends once, no packet is told twice."""
    stats = meter.stats.as_dict()
    metered = stats["packets_metered"]
    assert stats["packets_seen"] == metered + sum(stats[reason] for reason in REASONS)
    assert metered == stats["ipv4"] + stats["ipv6"]
    assert metered == stats["tcp"] + stats["udp"] + stats["icmp"] + stats["other_protocols"]
    for part in ("fragments", "vlan_tagged", "cut_by_snaplen", "segmented_later", "decapsulated"):
        assert stats[part] <= metered
    final = records["kind"] != Kind.SNAPSHOT
    assert (
        stats["flows_created"]
        == final.sum()
        == sum(stats[f"flows_{how}"] for how in ("expired", "cut", "evicted", "at_end"))
    )
    assert stats["snapshots"] == (~final).sum()
    told = records["new_fwd_packets"].sum(dtype=int) + records["new_bwd_packets"].sum(dtype=int)
    # what a snapshot would have told is not in the final records, also where nobody wants snapshots
    assert told == metered or (told < metered and stats["snapshots"] == 0)
    last = records[final]
    assert (last["total_fwd_packet"] + last["total_bwd_packets"]).sum() == metered
    assert (last["total_fwd_packet"] + last["total_bwd_packets"]).min(initial=1) >= 1
    assert (last["total_length_of_fwd_packet"] >= 0).all() and (last["total_length_of_bwd_packet"] >= 0).all()
    assert meter.live == 0
