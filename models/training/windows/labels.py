"""Labels of captures: who attacked whom, and when; what that makes of their flows."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: A time below this many seconds (early 1973) is counted from the start of the capture.
FROM_THE_START = 1e8

Mask = npt.NDArray[np.bool_]


class Networks:
    """Hosts and networks of a label; words that are neither (`spoofed`, `many`) are left out."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._rows: list[tuple[int, int, int, int]] = []
        for text in texts:
            try:
                network = ipaddress.ip_network(text, strict=False)
            except ValueError:
                continue
            address, bits = int(network.network_address), network.prefixlen
            if network.version == 4:
                address, bits = 0xFFFF_0000_0000 | address, bits + 96
            mask = (1 << 128) - (1 << (128 - bits))
            low = (1 << 64) - 1
            self._rows.append((address >> 64, address & low, mask >> 64, mask & low))

    def __bool__(self) -> bool:
        return bool(self._rows)

    def hold(self, high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64]) -> Mask:
        """Which addresses, given as halves, are among them."""
        held = np.zeros(high.shape, np.bool_)
        for address_high, address_low, mask_high, mask_low in self._rows:
            held |= ((high & np.uint64(mask_high)) == np.uint64(address_high)) & (
                (low & np.uint64(mask_low)) == np.uint64(address_low)
            )
        return held


@dataclass(frozen=True, slots=True)
class CaptureLabel:
    """What is known of one capture: that it is benign, or of one attack in it."""

    path: str
    attack: bool
    origin: str  #: data set or laboratory: captures of one are alike
    family: str | None
    attackers: Networks
    victims: Networks
    anybody_attacks: bool  #: more attackers than listed
    anybody_suffers: bool
    start_s: float | None  #: of the attack, epoch seconds, or see FROM_THE_START
    end_s: float | None
    in_scope: bool  #: the attack shows in the behaviour of flows
    others: tuple[CaptureLabel, ...] = ()  #: of the same capture, other attacks
    piece: tuple[int, int] | None = None  #: only records due from the one time to before the other, in ns

    @property
    def located(self) -> bool:
        """Whether it is known where the attack is: without either side any flow may be of it."""
        return bool(self.attackers) or bool(self.victims)

    @property
    def wanted(self) -> Networks:
        """Who must be named: the attackers, where their addresses are their own; else the victims."""
        return self.attackers if self.attackers else self.victims

    def attack_flows(self, records: np.ndarray) -> Mask:
        """Which FLOW_DTYPE records lie between the named sides in the labelled span."""
        if not self.attack:
            return np.zeros(len(records), np.bool_)
        source, destination = halves(records["src"]), halves(records["dst"])
        if not self.attackers or self.anybody_attacks:
            between = self.victims.hold(*source) | self.victims.hold(*destination)
        elif not self.victims or self.anybody_suffers:
            between = self.attackers.hold(*source) | self.attackers.hold(*destination)
        else:
            between = self.attackers.hold(*source) & self.victims.hold(*destination)
            between |= self.victims.hold(*source) & self.attackers.hold(*destination)
        start, end = self.span_s(records)
        if start is not None:
            between &= records["end_ns"] >= (start - 1.0) * 1e9
        if end is not None:
            between &= records["start_ns"] <= (end + 1.0) * 1e9
        return between

    def span_s(self, records: np.ndarray) -> tuple[float | None, float | None]:
        """Start and end of the attack in epoch seconds, as far as they are known."""
        zero = float(records["start_ns"].min()) / 1e9 if len(records) else 0.0
        start, end = (
            time + zero if time is not None and time < FROM_THE_START else time
            for time in (self.start_s, self.end_s)
        )
        return start, end

    def other_flows(self, records: np.ndarray) -> Mask:
        """Which records are of the capture's other attacks."""
        between = np.zeros(len(records), np.bool_)
        for other in self.others:
            between |= other.attack_flows(records)
        return between


def halves(addresses: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """(n, 16) addresses as two (n,) numbers each."""
    pairs = np.ascontiguousarray(addresses).view(">u8").reshape(-1, 2).astype(np.uint64)
    return pairs[:, 0], pairs[:, 1]
