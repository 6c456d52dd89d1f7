"""The stream table, and the windows that come out of it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capture.columns import FLOW_DTYPE, feature_matrix, identity_view
from capture.jit import DISABLED, structured
from models.home_networks import HOME_NETWORKS
from models.window_columns import ROW_NAMES, WINDOW
from models.windows.jit import KERNELS
from models.windows.kernels import push
from models.windows.state import (
    COUNT_NAMES,
    PAIR_DTYPE,
    ROW_META_DTYPE,
    SIDE_DTYPE,
    STREAM_DTYPE,
    Output,
    State,
)

_WINDOWS_A_CALL = 512
_PAIRS, _PEERS, _PORTS = 256, 128, 64  # of a stream, the most recent ones
_ONCE = 1 << 16  # foreign hosts remembered after one unanswered flow


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
        self._state = State(
            streams=structured(np.zeros(total, STREAM_DTYPE)),
            rows=np.zeros((total, WINDOW, len(ROW_NAMES)), np.float32),
            meta=structured(np.zeros((total, WINDOW), ROW_META_DTYPE)),
            pairs=structured(np.zeros((total, _PAIRS), PAIR_DTYPE)),
            peers=structured(np.zeros((total, _PEERS), SIDE_DTYPE)),
            ports=structured(np.zeros((total, _PORTS), SIDE_DTYPE)),
            slots=np.full(1 << (2 * total - 1).bit_length(), -1, np.int32),
            ends=np.full((2, 2, 2), -1, np.int32),
            free=free,
            free_count=np.array([2 * foreign_hosts, 2 * home_hosts], np.int64),
            once=np.zeros(_ONCE, np.uint64),
            networks=_networks(home_networks),
            registers=np.zeros(2),
            counts=np.zeros(len(COUNT_NAMES), np.int64),
        )
        self.capacity = total
        self._out = Output.allocate(_WINDOWS_A_CALL)
        if not DISABLED:  # for records with gaps between: what is compiled for those takes a single one, too
            push.prepare(self._state, *_views(np.zeros(2, FLOW_DTYPE)), 0, self._out)

    def push(self, records: np.ndarray) -> Iterator[WindowBatch]:
        """Take FLOW_DTYPE records in emission order; yields the windows they make due."""
        if records.dtype != FLOW_DTYPE:
            raise TypeError("array of FLOW_DTYPE wanted")
        identity, features = _views(records)
        first = 0
        while first < len(records):
            first, written = push(self._state, identity, features, first, self._out)
            if written:
                yield _batch(self._out, written)

    def stats(self) -> dict[str, int]:
        """Counters: records = rows and updates entered twice at most, or left out by reason."""
        return {name: int(v) for name, v in zip(COUNT_NAMES, self._state.counts, strict=True)}


def load_kernels() -> None:
    """Compile the kernels of windows, or load them from the cache; the first `Windows` does, too."""
    Windows(home_networks=(), home_hosts=1, foreign_hosts=1)
    KERNELS.store.mark_complete()


def _views(records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Records as the kernel takes them: identity (n,), features (n, 81)."""
    return structured(identity_view(records)), feature_matrix(records)


def _batch(out: Output, n: int) -> WindowBatch:
    """A copy of the first `n` windows."""
    return WindowBatch(**{name: array[:n].copy() for name, array in out._asdict().items()})


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
