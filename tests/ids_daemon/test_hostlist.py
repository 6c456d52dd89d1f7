from __future__ import annotations

from ids_daemon.hostlist import HostList


def hosts(count: int) -> list[bytes]:
    return [number.to_bytes(16, "big") for number in range(count)]


def test_lists_the_first_hosts_in_the_order_they_came() -> None:
    listed = HostList([b"b", b"a", b"b", b"c"], limit=2)
    assert list(listed) == [b"b", b"a"]
    assert b"a" in listed and b"c" not in listed


def test_total_is_exact_while_all_are_listed() -> None:
    assert HostList(hosts(63) * 2, limit=64).total == 63


def test_total_above_the_limit_is_close_and_counts_nobody_twice() -> None:
    for count in (100, 1000, 10_000):
        once, twice = HostList(hosts(count)), HostList(hosts(count) * 2)
        assert once.total == twice.total
        assert abs(once.total - count) <= 0.03 * count
        assert len(once) == 64


def test_total_of_more_hosts_than_the_bitmap_holds_stays_finite() -> None:
    assert HostList(hosts(200_000)).total > 60_000
