"""Stamps of every form become one clock."""

from __future__ import annotations

import numpy as np
import pytest

from models.training.flows.table import NO_TIME

pa = pytest.importorskip("pyarrow", reason="needs the extra [train]")

from models.training.flows.times import Clock  # noqa: E402


def read(*stamps: str | None, clock: Clock | None = None) -> tuple[list[str | None], str, int]:
    """Times as ISO text, what the clock is said to be, and how many stamps were not understood."""
    clock = clock or Clock()
    times = clock.read(pa.array([None if s is None else s.encode() for s in stamps], pa.binary()))
    said = clock.settle(times)
    shown = [None if t == NO_TIME else str(np.datetime64(int(t), "ns"))[:26] for t in times]
    return shown, said, clock.unread


def test_minute_stamps_are_day_first_and_hours_before_eight_are_afternoon() -> None:
    times, said, _ = read("3/7/2017 8:55", "3/7/2017 12:01", "3/7/2017 1:00", "03/07/2017 05:02")
    assert times == [
        "2017-07-03T08:55:00.000000",
        "2017-07-03T12:01:00.000000",
        "2017-07-03T13:00:00.000000",
        "2017-07-03T17:02:00.000000",
    ]
    assert said == "minutes, 12-hour clock: hours before 8 taken as afternoon"


@pytest.mark.parametrize("proof", ["5/7/2017 13:00", "5/7/2017 0:10"])
def test_a_clock_that_shows_an_hour_beyond_twelve_or_zero_is_left_alone(proof: str) -> None:
    times, said, _ = read("5/7/2017 3:00", proof)
    assert times[0] == "2017-07-05T03:00:00.000000"
    assert said == "minutes"


def test_am_and_pm_are_heard() -> None:
    times, said, _ = read("26/10/2018 01:59:17 PM", "26/10/2018 12:00:01 AM", "26/10/2018 12:30:00 pm")
    assert times == [
        "2018-10-26T13:59:17.000000",
        "2018-10-26T00:00:01.000000",
        "2018-10-26T12:30:00.000000",
    ]
    assert said == "seconds"


def test_year_first_stamps_keep_their_hours_and_microseconds() -> None:
    times, said, _ = read("2017-07-06 02:39:06.818901", "2017-07-06T12:39:06Z")
    assert times == ["2017-07-06T02:39:06.818901", "2017-07-06T12:39:06.000000"]
    assert said == "finer than seconds"


@pytest.mark.parametrize(
    "stamp",
    [
        "2017-07-07T14:30:00.25Z",
        "2017-07-07t14:30:00.25z",
        "2017-07-07T16:30:00.250+02:00",
        "2017-07-07 16:30:00.25+0200",
        "2017-07-07T16:30:00.25 +02",
        "2017-07-07T09:00:00.250000-05:30",
        "2017-07-08T00:00:00.25+09:30",
    ],
)
def test_stamps_with_a_zone_are_told_in_utc(stamp: str) -> None:
    times, said, unread = read(stamp)
    assert times == ["2017-07-07T14:30:00.250000"]
    assert (said, unread) == ("finer than seconds", 0)


def test_a_stamp_with_a_zone_is_of_no_12_hour_clock() -> None:
    times, said, _ = read("7/7/2017 3:30:00 +02:00", "7/7/2017 9:05:00 +02:00")
    assert times == ["2017-07-07T01:30:00.000000", "2017-07-07T07:05:00.000000"]
    assert said == "seconds"


@pytest.mark.parametrize(
    ("stamp", "fine"),
    [
        (1_499_437_800, "seconds"),
        (1_499_437_800_250, "finer than seconds"),
        (1_499_437_800_250_000, "finer than seconds"),
        (1_499_437_800_250_000_000, "finer than seconds"),
    ],
)
def test_whole_numbers_are_since_1970_in_the_unit_that_their_size_tells(stamp: int, fine: str) -> None:
    expected = "2017-07-07T14:30:00" + (".000000" if fine == "seconds" else ".250000")
    assert read(str(stamp), f" {stamp}.0 ", None) == ([expected, expected, None], fine, 0)
    clock = Clock()
    times = clock.read(pa.array([stamp, None], pa.int64()))
    assert str(np.datetime64(int(times[0]), "ns"))[:26] == expected and times[1] == NO_TIME
    assert (clock.settle(times), clock.unread) == (fine, 0)


def test_seconds_since_1970_may_have_a_fraction() -> None:
    assert read("1499437800.25") == (["2017-07-07T14:30:00.250000"], "finer than seconds", 0)
    clock = Clock()
    times = clock.read(pa.array([1_499_437_800.25, float("nan")], pa.float64()))
    assert times.tolist() == [1_499_437_800_250_000_000, NO_TIME]
    assert (clock.settle(times), clock.unread) == ("finer than seconds", 0)


@pytest.mark.parametrize("kind", ["text", "number"])
def test_numbers_that_are_no_time_of_this_century_are_counted(kind: str) -> None:
    stamps = [0, 180, 946_684_799, 4_102_444_800, 99_999_999_999, 10**18 * 9]
    clock = Clock()
    column = pa.array([str(one).encode() for one in stamps]) if kind == "text" else pa.array(stamps)
    times = clock.read(column)
    assert times.tolist() == [NO_TIME] * 6
    assert (clock.settle(times), clock.unread) == ("none", 6)
    bounds = Clock().read(pa.array([946_684_800, 4_102_444_799_999_999_999]))
    assert bounds.tolist() == [946_684_800_000_000_000, 4_102_444_799_999_999_999]


def test_leap_days_and_ends_of_months_are_counted() -> None:
    times, _, _ = read("2020-02-29 00:00:00", "2020-03-01 00:00:00", "1969-12-31 23:59:59")
    assert times == [
        "2020-02-29T00:00:00.000000",
        "2020-03-01T00:00:00.000000",
        "1969-12-31T23:59:59.000000",
    ]


def test_what_is_no_stamp_has_no_time_and_is_counted_unless_empty() -> None:
    times, said, unread = read("180", "14/13/2017 3:00", "", None, " ")
    assert times == [None] * 5
    assert (said, unread) == ("none", 2)


def test_a_clock_is_judged_over_all_chunks_of_a_file() -> None:
    clock = Clock()
    first = clock.read(pa.array([b"7/7/2017 3:30"], pa.binary()))
    second = clock.read(pa.array([b"7/7/2017 9:30"], pa.binary()))
    both = np.concatenate([first, second])
    clock.settle(both)
    assert [int(t // 3_600_000_000_000 % 24) for t in both] == [15, 9]


def test_timestamps_of_parquet_are_taken_as_they_are() -> None:
    clock = Clock()
    times = clock.read(pa.array([1_000_001, None], pa.timestamp("us")))
    assert times.tolist() == [1_000_001_000, NO_TIME]
    assert clock.settle(times) == "finer than seconds"
