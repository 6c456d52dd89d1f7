"""What a meter counts: every packet is metered or counted under the reason why not."""

from __future__ import annotations

import numpy as np

COUNTERS = (
    "packets_seen",
    "packets_metered",
    "arp",  # not metered: ARP
    "not_ip",  # not metered: any other protocol than IP
    "truncated",  # not metered: ends within its headers
    "malformed",  # not metered: headers that contradict themselves
    "ipv4",  # metered, by kind
    "ipv6",
    "tcp",
    "udp",
    "icmp",
    "other_protocols",
    "fragments",  # metered: later IP fragments, which have no ports
    "vlan_tagged",
    "cut_by_snaplen",  # metered: payload not whole in the capture
    "segmented_later",  # metered: IP length 0, left to the network card
    "decapsulated",  # metered: as the packet inside a tunnel
    "inner_not_ip",  # metered: as the tunnel, which carries no IP
    "inner_truncated",  # metered: as the tunnel, what is inside is cut by the snap length
    "inner_malformed",  # metered: as the tunnel, what is inside contradicts itself
    "tunnels_too_deep",  # metered: with more tunnels in tunnels than are entered
    "stragglers",  # metered: older than the flow table's memory of their flow
    "flows_created",
    "flows_expired",
    "flows_cut",  # 120 s, a SYN after the end, or another ICMP message
    "flows_evicted",
    "flows_at_end",
    "snapshots",
    "reminders_replaced",
    "second_sights",
)

INDEX = {name: i for i, name in enumerate(COUNTERS)}

#: Reasons that keep a packet from being metered.
REASONS = ("arp", "not_ip", "truncated", "malformed")


class MeterStats:
    """Counters of a meter: attributes by name, `as_dict()` for all."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    def __getattr__(self, name: str) -> int:
        try:
            return int(self._values[INDEX[name]])
        except KeyError:
            raise AttributeError(name) from None

    def not_metered(self) -> dict[str, int]:
        """Packets by the reason that kept them from being metered."""
        return {name: getattr(self, name) for name in REASONS}

    def as_dict(self) -> dict[str, int]:
        """All counters; packets_seen = packets_metered + the REASONS."""
        return {name: int(value) for name, value in zip(COUNTERS, self._values, strict=True)}
