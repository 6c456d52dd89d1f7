"""Host streams: what is in a window, when it falls due, and what is never forgotten."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.home_networks import HOME_NETWORKS
from models.window_columns import COUNTER_NAMES, ROW_NAMES, WINDOW
from models.windows import WindowBatch, Windows
from tests.models.flows import ACK, RST, SYN, halves, random_records, record, table
from tests.reference.windows import windows_of

ROOT = Path(__file__).parents[2]
HOME, SERVER, STRANGER = "10.0.0.1", "10.0.0.2", "203.0.113.9"
ACTOR, TARGET = 0, 1


def push(windows: Windows, *records: np.void | np.ndarray) -> WindowBatch:
    """The windows of records, as one batch."""
    return joined(list(windows.push(np.concatenate([np.atleast_1d(one) for one in records]))))


def joined(batches: list[WindowBatch]) -> WindowBatch:
    return WindowBatch(
        **{f.name: np.concatenate([getattr(batch, f.name) for batch in batches]) for f in fields(WindowBatch)}
    )


def equal(one: WindowBatch, other: WindowBatch, *, but: tuple[str, ...] = ()) -> bool:
    names = [f.name for f in fields(WindowBatch) if f.name not in but]
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def of(batch: WindowBatch, host: str, role: int) -> np.ndarray:
    """Indices of a host's windows."""
    return np.flatnonzero(
        (batch.role == role) & (batch.host == np.array(halves(host), np.uint64)).all(axis=1)
    )


def column(batch: WindowBatch, name: str, host: str = HOME, role: int = ACTOR) -> np.ndarray:
    """A row column of a host's last window, (N,)."""
    return batch.rows[of(batch, host, role)[-1], :, ROW_NAMES.index(name)]


def counter(batch: WindowBatch, name: str, host: str = HOME, role: int = ACTOR) -> float:
    """A counter in a host's last window."""
    return float(batch.counters[of(batch, host, role)[-1], COUNTER_NAMES.index(name)])


def faded(seconds: float, fade: float) -> float:
    return math.exp(-seconds / fade)


@pytest.mark.parametrize(("flows", "hosts"), [(200, 7), (120, 3), (60, 2)])
@pytest.mark.parametrize("seed", [1, 2])
def test_windows_are_those_of_their_definitions(flows: int, hosts: int, seed: int) -> None:
    records = random_records(flows, seed, hosts)
    wanted, found = windows_of(records, list(HOME_NETWORKS)), push(Windows(), records)
    assert found.role.tolist() == [window.role for window in wanted]
    assert [host.astype(">u8").tobytes() for host in found.host] == [window.host.packed for window in wanted]
    assert found.time_ns.tolist() == [window.time_ns for window in wanted]
    assert found.record.tolist() == [window.record for window in wanted]
    for i, window in enumerate(wanted):
        n = len(window.flows)
        assert found.n_rows[i] == n
        assert found.flows[i].tolist() == [0] * (WINDOW - n) + window.flows
        peers = [peer.astype(">u8").tobytes() for peer in found.peers[i]]
        assert peers == [bytes(16)] * (WINDOW - n) + [peer.packed for peer in window.peers]
    rows, counters = (np.array([getattr(window, name) for window in wanted]) for name in ("rows", "counters"))
    for names, values, right in ((ROW_NAMES, found.rows, rows), (COUNTER_NAMES, found.counters, counters)):
        for i, name in enumerate(names):
            # A variation is the root of a difference of float32 squares.
            slack = 1e-3 if name.endswith("_variation") else 1e-5
            assert np.allclose(values[..., i], right[..., i], rtol=1e-5, atol=slack), name


def test_a_short_window_is_padded_with_zeros_at_the_old_end() -> None:
    found = push(Windows(), record(HOME, SERVER, 0, port=22), record(HOME, SERVER, 1, port=80))
    assert found.n_rows.tolist() == [1, 1, 2, 2]
    assert column(found, "present").tolist() == [0] * (WINDOW - 2) + [1, 1]
    assert not found.rows[-1, : WINDOW - 2].any()
    assert column(found, "service_login").tolist() == [0] * (WINDOW - 2) + [1, 0]
    assert column(found, "service_web").tolist() == [0] * (WINDOW - 2) + [0, 1]


def test_a_newer_state_replaces_the_row_where_it_stands() -> None:
    first = record(HOME, SERVER, 0, packets=(1, 0))
    second = record(HOME, SERVER, 1, port=80, packets=(5, 5), answer=1)
    newer = record(HOME, SERVER, 2, packets=(3, 2), answer=1.5, before=first)
    windows = Windows()
    assert column(push(windows, first, second), "total_fwd_packet")[-2:].tolist() == [1, 5]
    found = push(windows, newer, record(HOME, SERVER, 3, port=81))
    assert column(found, "total_fwd_packet")[-3:].tolist() == [3, 5, 1]
    assert column(found, "unanswered")[-3:].tolist() == [0, 0, 1]
    assert windows.stats()["updates"] == 2
    assert windows.stats()["rows"] == 6


def test_an_update_of_a_flow_no_longer_among_the_rows_changes_counters_only() -> None:
    windows = Windows()
    first = record(HOME, SERVER, 0, packets=(1, 0))
    others = [record(HOME, SERVER, 1 + i, port=100 + i) for i in range(WINDOW)]
    before = push(windows, first, *others)
    later = push(windows, record(HOME, SERVER, 40, packets=(9, 4), payload=(80, 0), answer=39, before=first))
    assert len(of(before, HOME, ACTOR)) == 5  # at 1, 2, 4, 8 and 16 flows; one came after
    assert later.flows[0].tolist() == [int(one["flow_id"]) for one in others]
    assert column(later, "present").all()
    assert 4 not in column(later, "total_bwd_packets")
    assert counter(later, "packets_bwd_10") == pytest.approx(4)
    assert counter(later, "bytes_fwd_10") == pytest.approx(80)
    assert counter(later, "flows_10") == pytest.approx(
        sum(faded(40 - t, 10) for t in range(WINDOW + 1)), rel=1e-5
    )


def test_a_window_falls_due_at_powers_of_two_then_by_number_and_time() -> None:
    windows = Windows()
    fast = [record(HOME, SERVER, i * 0.01, port=1000 + i) for i in range(40)]
    assert push(windows, *fast).record[::2].tolist() == [0, 1, 3, 7, 15, 31]
    # 32 to 39 were 8 records, but within a second of the last window.
    steady = [record(HOME, SERVER, 1.4 + i * 0.2, port=2000 + i) for i in range(20)]
    assert push(windows, *steady).record[::2].tolist() == [0, 8, 16]
    slow = [record(HOME, SERVER, 100 + i * 10, port=3000 + i) for i in range(3)]
    assert push(windows, *slow).record[::2].tolist() == [0, 1, 2]


def test_a_flow_is_the_initiators_and_the_responders() -> None:
    found = push(Windows(), record(HOME, SERVER, 0))
    assert found.role.tolist() == [ACTOR, TARGET]
    assert found.host.tolist() == [list(halves(HOME)), list(halves(SERVER))]
    assert found.peers[:, -1].tolist() == [list(halves(SERVER)), list(halves(HOME))]
    assert [counter(found, "is_actor", HOME, ACTOR), counter(found, "is_actor", SERVER, TARGET)] == [1, 0]


def test_a_foreign_hosts_first_unanswered_flow_counts_at_its_target_only() -> None:
    windows = Windows()
    found = push(windows, record(STRANGER, HOME, 0, port=22))
    assert found.role.tolist() == [TARGET]
    assert windows.stats()["foreign_hosts_put_off"] == 1
    found = push(windows, record(STRANGER, HOME, 1, port=23))
    assert found.role.tolist() == [ACTOR, TARGET]
    assert counter(found, "flows_600", STRANGER, ACTOR) == 1
    assert counter(found, "flows_600", HOME, TARGET) == pytest.approx(1 + faded(1, 600))


def test_an_answered_flow_gives_a_foreign_host_its_stream_at_once() -> None:
    windows = Windows()
    found = push(windows, record(STRANGER, HOME, 0, answer=0.1, packets=(1, 1)))
    assert found.role.tolist() == [ACTOR, TARGET]
    assert windows.stats()["foreign_hosts_put_off"] == 0


@pytest.mark.parametrize("group", ["224.0.0.251", "255.255.255.255", "ff02::fb", "0.0.0.0", "::"])
def test_a_group_has_no_stream_and_owes_no_answer(group: str) -> None:
    windows = Windows()
    found = push(windows, record(HOME, group, 0, port=5353, protocol=17), record(group, HOME, 1, port=68))
    assert found.role.tolist() == [ACTOR, TARGET]
    assert found.host.tolist() == [list(halves(HOME))] * 2
    assert column(found, "multicast_peer")[-1] == 1
    assert column(found, "failed")[-1] == 0
    assert [counter(found, name) for name in ("failed_flows_60", "udp_oneway_60", "trw")] == [0, 0, 0]


def test_counters_fade_by_e_within_their_time() -> None:
    windows = Windows()
    push(windows, record(HOME, SERVER, 0, packets=(7, 0)))
    found = push(windows, record(HOME, SERVER, 60, port=23, packets=(1, 0)))
    for fade in (10, 60, 600):
        assert counter(found, f"flows_{fade}") == pytest.approx(1 + faded(60, fade))
        assert counter(found, f"packets_fwd_{fade}") == pytest.approx(1 + 7 * faded(60, fade))
        assert counter(found, f"ports_{fade}") == pytest.approx(1 + faded(60, fade))
        assert counter(found, f"peers_{fade}") == pytest.approx(1)  # the same one, seen again
        assert counter(found, f"max_ports_peer_{fade}") == pytest.approx(1 + faded(60, fade))
        assert counter(found, f"max_peers_port_{fade}") == pytest.approx(1)


def test_counters_that_rows_cannot_carry_outlast_them() -> None:
    scan = [record(HOME, SERVER, i * 0.1, port=1000 + i) for i in range(100)]
    found = push(Windows(), *scan, record(HOME, SERVER, 60, port=5000))
    for fade in (60, 600):
        wanted = 1 + sum(faded(60 - i * 0.1, fade) for i in range(100))
        assert counter(found, f"failed_pairs_{fade}") == pytest.approx(wanted)
    assert column(found, "failed_pairs_60")[-1] == pytest.approx(counter(found, "failed_pairs_60"))


def test_a_failure_is_taken_back_when_the_answer_comes() -> None:
    windows = Windows()
    first = record(HOME, SERVER, 0)
    found = push(windows, first)
    failures = ("failed_flows_60", "failed_pairs_60", "trw")
    assert [counter(found, name) for name in failures] == pytest.approx([1, 1, math.log(4)])
    assert column(found, "first_contact_failed")[-1] == 1
    found = push(
        windows, record(HOME, SERVER, 5, answer=4, packets=(1, 1), flags=(SYN, SYN | ACK), before=first)
    )
    assert [counter(found, name) for name in failures] == pytest.approx([0, 0, 0], abs=1e-9)
    assert column(found, "failed")[-1] == column(found, "first_contact_failed")[-1] == 0
    assert column(found, "stream_answered")[-1] == pytest.approx(2 / 3)


def test_a_failure_seen_late_is_taken_back_as_it_has_faded_since() -> None:
    answered = record(HOME, SERVER, 0, answer=0, packets=(1, 1), flags=(SYN, ACK))
    reset = record(HOME, SERVER, 30, answer=0, packets=(2, 2), flags=(SYN, ACK | RST), before=answered)
    spoken = record(
        HOME, SERVER, 60, answer=0, packets=(3, 3), payload=(9, 9), flags=(SYN, ACK | RST), before=reset
    )
    windows = Windows()
    assert counter(push(windows, answered, reset), "failed_flows_60") == pytest.approx(1)
    assert counter(push(windows, spoken), "failed_flows_60") == pytest.approx(0, abs=1e-9)


def test_a_refused_connection_has_failed_and_one_reset_after_payload_has_not() -> None:
    refused = record(HOME, SERVER, 0, port=1, answer=0, packets=(1, 1), flags=(SYN, RST | ACK))
    used = record(
        HOME, SERVER, 1, port=2, answer=1, packets=(5, 5), payload=(10, 10), flags=(SYN, SYN | ACK | RST)
    )
    found = push(Windows(), refused, used)
    assert column(found, "failed")[-2:].tolist() == [1, 0]
    assert column(found, "unanswered")[-2:].tolist() == [0, 0]


def test_a_second_sight_and_a_record_without_news_enter_no_window() -> None:
    windows = Windows()
    first = record(HOME, SERVER, 0)
    again = record(HOME, SERVER, 0.01, flow_id=77, second_sight=True)
    without_news = record(HOME, SERVER, 120, before=first)
    found = push(windows, first, again, without_news)
    assert found.record.tolist() == [0, 0]
    assert windows.stats() == {
        "records": 3,
        "rows": 2,
        "updates": 0,
        "records_without_news": 1,
        "second_sights": 1,
        "windows": 2,
        "streams_created": 2,
        "streams_evicted": 0,
        "foreign_hosts_put_off": 0,
    }


def spoofed(first: int, count: int, *, answered: bool) -> np.ndarray:
    """Flows of as many foreign hosts to one home host."""
    records = np.repeat(np.atleast_1d(record(STRANGER, HOME, 100, answer=100.5 if answered else None)), count)
    numbers = np.arange(first, first + count)
    records["src"][:, 12:] = (numbers + 0x2C000000).astype(">u4").view(np.uint8).reshape(-1, 4)
    records["flow_id"] = numbers + 1
    for name in ("time_ns", "start_ns", "end_ns"):
        records[name] += numbers * 100_000
    return records


@pytest.mark.parametrize("answered", [False, True])
def test_a_hundred_thousand_spoofed_sources_never_push_out_a_home_host(answered: bool) -> None:
    windows = Windows(home_hosts=4, foreign_hosts=16)
    scan = [record(HOME, SERVER, i * 0.1, port=1000 + i) for i in range(64)]
    before = push(windows, *scan)
    for first in range(0, 100_000, 5_000):
        for _ in windows.push(spoofed(first, 5_000, answered=answered)):
            pass
    after = push(windows, record(HOME, SERVER, 120, port=5000))
    assert after.stream[0] == before.stream[of(before, HOME, ACTOR)[0]]
    assert after.generation[0] == before.generation[of(before, HOME, ACTOR)[0]] == 1
    assert after.n_rows[0] == WINDOW
    assert counter(after, "failed_pairs_600") == pytest.approx(1 + 64 * faded(117, 600), rel=0.01)
    stats = windows.stats()
    if answered:
        assert stats["streams_evicted"] == 100_000 - 2 * 16
    else:
        assert (stats["streams_evicted"], stats["foreign_hosts_put_off"]) == (0, 100_000)


def test_the_oldest_one_flow_stream_makes_room_before_any_other() -> None:
    windows = Windows(home_hosts=512, foreign_hosts=1)  # two streams of foreign hosts
    known, once, new = "203.0.113.1", "203.0.113.2", "203.0.113.3"

    def answered(host: str, second: float, port: int) -> np.void:
        return record(host, HOME, second, port=port, answer=second, packets=(1, 1))

    push(windows, answered(known, 0, 1), answered(known, 1, 2), answered(once, 2, 1), answered(new, 3, 1))
    assert windows.stats()["streams_evicted"] == 1
    again = push(windows, answered(known, 4, 3), answered(known, 5, 4))
    assert counter(again, "flows_600", known) == pytest.approx(4, rel=0.01)
    assert again.generation[of(again, known, ACTOR)].tolist() == [1]


def test_a_place_that_changes_its_host_keeps_nothing_of_the_former() -> None:
    windows = Windows(foreign_hosts=1)
    former = [  # six or seven flows of each of so many pairs that they fill the stream's table of pairs
        record("203.0.113.1", HOME, i * 0.1, port=1000 + i % 150, answer=i * 0.1, packets=(2, 2))
        for i in range(1000)
    ]
    other = [record("203.0.113.2", HOME, 200 + i, port=80, answer=200 + i, packets=(1, 1)) for i in range(4)]
    third = [record("203.0.113.3", HOME, 300 + i, port=p, answer=300 + i, packets=(1, 1)) for i, p in
             enumerate([80, 80, 443, 80, 53, 80, 22, 80])]  # fmt: skip
    push(windows, *former, *other)
    found, fresh = push(windows, *third), push(Windows(), *third)
    for batch in (found, fresh):
        assert len(of(batch, "203.0.113.3", ACTOR)) == 4
    for i, j in zip(of(found, "203.0.113.3", ACTOR), of(fresh, "203.0.113.3", ACTOR), strict=True):
        assert np.array_equal(found.counters[i], fresh.counters[j])
        assert found.generation[i] == 2
    assert counter(found, "top_pair_count", "203.0.113.3") == 5


def test_a_stream_remembers_nearly_as_many_pairs_as_its_table_holds() -> None:
    windows = Windows()
    push(windows, *[record(HOME, SERVER, i * 0.01, port=1000 + i) for i in range(160)])
    again = [record(HOME, SERVER, 10 + i * 0.01, port=1000 + i) for i in range(160)]
    found = push(windows, *again)
    # 256 entries in 64 sets of four: a few of 160 find their set full and push its oldest out.
    assert 159 < counter(found, "pairs_600") < 180


def test_home_networks_say_who_has_the_reserved_share() -> None:
    windows = Windows(home_networks=["198.51.100.0/24", "2001:db8::/32", "203.0.113.7"], home_hosts=8)
    for inside in ("198.51.100.255", "2001:db8:ffff::1", "203.0.113.7"):
        push(windows, record(inside, "198.51.100.1", 0))
    assert windows.stats()["foreign_hosts_put_off"] == 0
    for outside in ("198.51.101.0", "2001:db9::1", "203.0.113.8", "10.0.0.1"):
        list(windows.push(table([record(outside, "198.51.100.1", 1)])))
    assert windows.stats()["foreign_hosts_put_off"] == 4


@pytest.mark.parametrize("share", [{"home_hosts": 0}, {"foreign_hosts": 0}])
def test_a_table_has_room_for_a_host_of_either_kind(share: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="one of each at least"):
        Windows(**share)


@settings(max_examples=15)
@given(cuts=st.lists(st.integers(0, 350), max_size=12).map(sorted), hosts=st.sampled_from([2, 7]))
def test_windows_do_not_depend_on_how_records_are_cut(cuts: list[int], hosts: int) -> None:
    records = random_records(150, 5, hosts)
    windows = Windows()
    pieces, first = [], 0
    for last in [*cuts, len(records)]:
        part = list(windows.push(records[first:last]))
        if part:
            piece = joined(part)
            piece.record[:] += first
            pieces.append(piece)
        first = max(first, min(last, len(records)))
    assert equal(joined(pieces), push(Windows(), records))


def test_a_batch_belongs_to_its_receiver_whatever_comes_later() -> None:
    windows = Windows()
    batches = list(windows.push(random_records(800, 8)))
    assert len(batches) > 1
    assert max(map(len, batches)) <= 512
    kept = [joined([batch]) for batch in batches]
    list(windows.push(random_records(200, 9)))
    assert all(equal(batch, before) for batch, before in zip(batches, kept, strict=True))


def test_windows_are_the_same_from_kernels_that_are_not_compiled(tmp_path: Path) -> None:
    records = random_records(60, 4)
    np.save(tmp_path / "records.npy", records)
    code = f"""
import numpy as np
from models.windows import Windows
batches = list(Windows().push(np.load({str(tmp_path / "records.npy")!r})))
np.savez({str(tmp_path / "out.npz")!r}, rows=np.concatenate([b.rows for b in batches]),
         counters=np.concatenate([b.counters for b in batches]),
         record=np.concatenate([b.record for b in batches]))
"""
    subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", code],
        cwd=ROOT, check=True, env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )  # fmt: skip
    found, plain = push(Windows(), records), np.load(tmp_path / "out.npz")
    assert plain["record"].tolist() == found.record.tolist()
    assert np.allclose(plain["rows"], found.rows, rtol=1e-5, atol=1e-6)
    assert np.allclose(plain["counters"], found.counters, rtol=1e-5, atol=1e-3)


def test_only_flow_records_are_taken() -> None:
    with pytest.raises(TypeError, match="FLOW_DTYPE"):
        list(Windows().push(np.zeros(3)))
