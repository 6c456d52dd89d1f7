"""Flow records to time-ordered windows per host: the same for training and daemon.

A flow lands in two streams: `actor`, of the host that began it, and `target`, of the host that it
was meant for.  A window is a stream's last rows in order of first appearance (short ones padded at
the old end with zeros) and the host's counters.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from capture.columns import FLOW_DTYPE, feature_matrix, identity_view
from models import window_kernels as k
from models.window_columns import COUNTER_NAMES, ROW_NAMES, WINDOW

__all__ = ["COUNTER_NAMES", "HOME_NETWORKS", "ROW_NAMES", "WINDOW", "WindowBatch", "Windows"]

#: Private, shared and link-local addresses: what is inside where nothing else is said.
HOME_NETWORKS = (
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
)

_WINDOWS_A_CALL = 512
_PAIRS, _PEERS, _PORTS = 256, 128, 64  # of a stream, the most recent ones
_ONCE = 1 << 16  # foreign hosts remembered after one unanswered flow

_COUNT_NAMES = (
    "records",
    "rows",
    "updates",
    "records_without_news",
    "second_sights",
    "windows",
    "streams_created",
    "streams_evicted",
    "foreign_hosts_put_off",
)


@dataclass(frozen=True, slots=True)
class WindowBatch:
    """B windows that fell due, in order.  Arrays belong to the receiver."""

    rows: npt.NDArray[np.float32]  #: (B, N, F) raw, columns ROW_NAMES, newest row last
    counters: npt.NDArray[np.float32]  #: (B, C) raw, columns COUNTER_NAMES
    stream: npt.NDArray[np.int32]  #: (B,) place of the stream in the table
    generation: npt.NDArray[np.uint32]  #: (B,) changes when the place gets another host
    role: npt.NDArray[np.uint8]  #: (B,) 0 actor, 1 target
    host: npt.NDArray[np.uint64]  #: (B, 2) the stream's host, halves of the address
    time_ns: npt.NDArray[np.int64]  #: (B,) packet time
    record: npt.NDArray[np.int64]  #: (B,) index of the record that made it due
    n_rows: npt.NDArray[np.int32]  #: (B,) rows present
    peers: npt.NDArray[np.uint64]  #: (B, N, 2) the other side of each row
    flows: npt.NDArray[np.uint64]  #: (B, N) flow_id of each row

    def __len__(self) -> int:
        return len(self.stream)


class _State(NamedTuple):
    streams: np.ndarray
    rows: np.ndarray
    meta: np.ndarray
    pairs: np.ndarray
    peers: np.ndarray
    ports: np.ndarray
    slots: np.ndarray
    ends: np.ndarray
    free: np.ndarray
    free_count: np.ndarray
    once: np.ndarray
    networks: np.ndarray
    registers: np.ndarray
    counts: np.ndarray


class Windows:
    """The stream table.

    home_networks: CIDR texts; hosts inside have their own share of the table, so strangers can
        never push them out.
    home_hosts, foreign_hosts: hosts each share holds (a host may have two streams); some 40 kB a
        stream, touched when used.  The oldest one-flow stream makes room, else the oldest.
    """

    def __init__(
        self,
        *,
        home_networks: Iterable[str] = HOME_NETWORKS,
        home_hosts: int = 512,
        foreign_hosts: int = 512,
    ) -> None:
        if home_hosts < 1 or foreign_hosts < 1:
            raise ValueError(
                f"room for {home_hosts} home and {foreign_hosts} foreign hosts: one of each at least"
            )
        share = 2 * max(home_hosts, foreign_hosts)
        total = 2 * (home_hosts + foreign_hosts)
        free = np.zeros((2, share), np.int32)
        free[0, : 2 * foreign_hosts] = np.arange(total - 1, 2 * home_hosts - 1, -1)
        free[1, : 2 * home_hosts] = np.arange(2 * home_hosts - 1, -1, -1)
        self._state = _State(
            streams=_structured(np.zeros(total, k.STREAM_DTYPE)),
            rows=np.zeros((total, WINDOW, len(ROW_NAMES)), np.float32),
            meta=_structured(np.zeros((total, WINDOW), k.ROW_META_DTYPE)),
            pairs=_structured(np.zeros((total, _PAIRS), k.PAIR_DTYPE)),
            peers=_structured(np.zeros((total, _PEERS), k.SIDE_DTYPE)),
            ports=_structured(np.zeros((total, _PORTS), k.SIDE_DTYPE)),
            slots=np.full(1 << (2 * total - 1).bit_length(), -1, np.int32),
            ends=np.full((2, 2, 2), -1, np.int32),
            free=free,
            free_count=np.array([2 * foreign_hosts, 2 * home_hosts], np.int64),
            once=np.zeros(_ONCE, np.uint64),
            networks=_networks(home_networks),
            registers=np.zeros(2),
            counts=np.zeros(len(_COUNT_NAMES), np.int64),
        )
        self.capacity = total
        self._out = _Out.allocate(_WINDOWS_A_CALL)

    def push(self, records: np.ndarray) -> Iterator[WindowBatch]:
        """Take FLOW_DTYPE records in emission order; yields the windows they make due."""
        if records.dtype != FLOW_DTYPE:
            raise TypeError("array of FLOW_DTYPE wanted")
        identity, features = _structured(identity_view(records)), feature_matrix(records)
        first = 0
        while first < len(records):
            with np.errstate(over="ignore"):  # un-jitted, hashing warns where it wraps around
                first, written = k.push(self._state, identity, features, first, self._out)
            if written:
                yield self._out.batch(written)

    def stats(self) -> dict[str, int]:
        """Counters: records = rows and updates entered twice at most, or left out by reason."""
        return {name: int(v) for name, v in zip(_COUNT_NAMES, self._state.counts, strict=True)}


class _Out(NamedTuple):
    rows: np.ndarray
    counters: np.ndarray
    stream: np.ndarray
    generation: np.ndarray
    role: np.ndarray
    host: np.ndarray
    time_ns: np.ndarray
    record: np.ndarray
    n_rows: np.ndarray
    peers: np.ndarray
    flows: np.ndarray

    @classmethod
    def allocate(cls, size: int) -> _Out:
        return cls(
            rows=np.zeros((size, WINDOW, len(ROW_NAMES)), np.float32),
            counters=np.zeros((size, len(COUNTER_NAMES)), np.float32),
            stream=np.zeros(size, np.int32),
            generation=np.zeros(size, np.uint32),
            role=np.zeros(size, np.uint8),
            host=np.zeros((size, 2), np.uint64),
            time_ns=np.zeros(size, np.int64),
            record=np.zeros(size, np.int64),
            n_rows=np.zeros(size, np.int32),
            peers=np.zeros((size, WINDOW, 2), np.uint64),
            flows=np.zeros((size, WINDOW), np.uint64),
        )

    def batch(self, n: int) -> WindowBatch:
        return WindowBatch(**{name: array[:n].copy() for name, array in self._asdict().items()})


def _structured(array: np.ndarray) -> np.ndarray:
    """Fields as attributes, as the kernels write them: numba's own way, a recarray's un-jitted."""
    return array.view(np.recarray) if numba.config.DISABLE_JIT else array


def _networks(texts: Iterable[str]) -> npt.NDArray[np.uint64]:
    """CIDR texts as rows of (address hi, lo, mask hi, lo), IPv4 mapped into IPv6."""
    rows = []
    for text in texts:
        network = ipaddress.ip_network(text)
        address, mask = int(network.network_address), int(network.netmask)
        if network.version == 4:
            address, mask = 0xFFFF_0000_0000 | address, ((1 << 96) - 1) << 32 | mask
        low = (1 << 64) - 1
        rows.append((address >> 64, address & low, mask >> 64, mask & low))
    return np.array(rows, np.uint64).reshape(-1, 4)
