"""A bounded list of hosts that still knows about how many there were."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from hashlib import blake2b

#: Bits of the bitmap behind `total`: 1 KiB, within 2 % up to 10,000 hosts, full at about 70,000.
BITS = 8192


class HostList:
    """The first `limit` distinct hosts in the order they came, and the number of all.

    The number is exact up to `limit` and estimated above by linear counting (Whang, Vander-Zanden,
    Taylor 1990): each host sets one bit by its hash, and the share of bits still clear tells how
    many did.  Memory does not grow with the hosts.
    """

    def __init__(self, hosts: Iterable[bytes] = (), limit: int = 64) -> None:
        self._limit = limit
        self._hosts: dict[bytes, None] = {}
        self._bits = 0
        for host in hosts:
            self.add(host)

    def add(self, host: bytes) -> bool:
        """Count a host; True when the list took it as a new entry."""
        if host in self._hosts:
            return False
        self._bits |= 1 << int.from_bytes(blake2b(host, digest_size=4).digest(), "big") % BITS
        if len(self._hosts) == self._limit:
            return False
        self._hosts[host] = None
        return True

    def __contains__(self, host: bytes) -> bool:
        return host in self._hosts

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._hosts)

    def __len__(self) -> int:
        return len(self._hosts)

    @property
    def total(self) -> int:
        """Distinct hosts counted: exact while all are listed, estimated once the list is full."""
        if len(self._hosts) < self._limit:
            return len(self._hosts)
        clear = max(BITS - self._bits.bit_count(), 1)
        return max(len(self._hosts), round(BITS * math.log(BITS / clear)))
