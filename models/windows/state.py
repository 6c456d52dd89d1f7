"""What the window table is made of: arrays, and the structures in them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.window_columns import COUNTER_NAMES, COUNTERS, FADES, ROW_NAMES, WINDOW

N_FADES = len(FADES)

PAIR_WAYS = 4

PAIR_DTYPE = np.dtype(
    [
        ("hash", np.uint64),
        ("last_ns", np.int64),  # start of its newest flow
        ("seen_ns", np.int64),  # when its counts were last faded
        ("failed_ns", np.int64),  # its last failure
        ("last_flow", np.uint64),
        ("flows", np.float32, (N_FADES,)),  # fading
        ("count", np.float32),
        ("gap_mean", np.float32),  # ms, fading mean over some 8 gaps
        ("gap_square", np.float32),
        ("gap_deviation", np.float32),
        ("bytes_mean", np.float32),
        ("bytes_square", np.float32),
        ("last_bytes", np.float32),
        ("before_bytes", np.float32),
    ],
    align=True,
)

#: A peer of a stream with its fading number of pairs; ports likewise.
SIDE_DTYPE = np.dtype(
    [("hash", np.uint64), ("last_ns", np.int64), ("pairs", np.float32, (N_FADES,))], align=True
)

ROW_META_DTYPE = np.dtype(
    [
        ("flow_id", np.uint64),
        ("pair", np.uint64),
        ("failed_ns", np.int64),  # when its failure was counted
        ("peer_hi", np.uint64),
        ("peer_lo", np.uint64),
        ("failed", np.uint8),
        ("first_contact", np.uint8),
        ("unanswered", np.uint8),
        ("counted_pair", np.uint8),  # its failure was counted as a new failed pair
    ],
    align=True,
)

STREAM_DTYPE = np.dtype(
    [
        ("host_hi", np.uint64),
        ("host_lo", np.uint64),
        ("hash", np.uint64),
        ("hash_next", np.int32),
        ("previous", np.int32),
        ("next", np.int32),
        ("generation", np.uint32),
        ("role", np.uint8),
        ("home", np.uint8),
        ("segment", np.uint8),
        ("used", np.uint8),
        ("newest", np.int32),  # place of the newest row
        ("n_rows", np.int32),
        ("events", np.int64),
        ("since_due", np.int64),
        ("due_ns", np.int64),
        ("faded_ns", np.int64),
        ("start_ns", np.int64),  # of the newest row's flow
        ("unicast", np.float64),
        ("answered", np.float64),
        ("trw", np.float64),
        ("top_pair", np.uint64),
        ("new_pair", np.uint64),
        ("counters", np.float64, (len(COUNTERS) * N_FADES,)),
    ],
    align=True,
)

#: Places in State.registers
LINK_UNICAST, LINK_ANSWERED = 0, 1
#: The counters of `Windows.stats`, and their places in State.counts.
COUNT_NAMES = (
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
RECORDS, ROWS, UPDATES, EMPTY, SECOND_SIGHTS, WINDOWS, STREAMS, STREAMS_EVICTED, FIRST_FOREIGN = range(9)


class State(NamedTuple):
    """The table of S streams, of N rows each."""

    streams: np.ndarray  #: (S,) of STREAM_DTYPE
    rows: npt.NDArray[np.float32]  #: (S, N, F) a ring; `newest` of the stream is its last
    meta: np.ndarray  #: (S, N) of ROW_META_DTYPE
    pairs: np.ndarray  #: (S, pairs) of PAIR_DTYPE, sets of PAIR_WAYS
    peers: np.ndarray  #: (S, peers) of SIDE_DTYPE, likewise
    ports: np.ndarray  #: (S, ports) of SIDE_DTYPE, likewise
    slots: npt.NDArray[np.int32]  #: the first stream of each hash, -1 none
    ends: npt.NDArray[np.int32]  #: (share, list, 2) its oldest and newest stream, -1 none
    free: npt.NDArray[np.int32]  #: (share, places) unused ones; the next is the last of `free_count`
    free_count: npt.NDArray[np.int64]  #: (share,)
    once: npt.NDArray[np.uint64]  #: foreign hosts seen once, each at the place its hash gives
    networks: npt.NDArray[np.uint64]  #: (networks, 4) home: address and mask, high and low half each
    registers: npt.NDArray[np.float64]  #: LINK_UNICAST, LINK_ANSWERED
    counts: npt.NDArray[np.int64]  #: COUNT_NAMES


class Output(NamedTuple):
    """Room for windows; the fields are those of `WindowBatch`."""

    rows: npt.NDArray[np.float32]
    counters: npt.NDArray[np.float32]
    stream: npt.NDArray[np.int32]
    generation: npt.NDArray[np.uint32]
    role: npt.NDArray[np.uint8]
    host: npt.NDArray[np.uint64]
    time_ns: npt.NDArray[np.int64]
    record: npt.NDArray[np.int64]
    n_rows: npt.NDArray[np.int32]
    peers: npt.NDArray[np.uint64]
    flows: npt.NDArray[np.uint64]

    @classmethod
    def allocate(cls, size: int) -> Output:
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
