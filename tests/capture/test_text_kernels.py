"""Numbers, addresses and times as text: the kernels against Python's own writers."""

from __future__ import annotations

import ipaddress
import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from capture.flowfile import address_column
from capture.text_kernels import NUMBER_LENGTH, put_count, put_real, put_time

OUT = np.zeros(64, np.uint8)


def text(end: int) -> str:
    return OUT[:end].tobytes().decode()


def real(value: float) -> str:
    number = np.array([value])
    return text(put_real(OUT, 0, number[0], number.view(np.uint64)[0]))


def count(value: float) -> str:
    number = np.array([value])
    return text(put_count(OUT, 0, number[0], number.view(np.uint64)[0]))


@settings(max_examples=2000, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
@example(0.1 + 0.2)
@example(5e-324)
@example(2.2250738585072014e-308)
@example(1.7976931348623157e308)
@example(9007199254740993.0)
@example(-0.0)
def test_real_numbers_are_written_as_repr_writes_them(value):
    assert real(value) == repr(value)
    assert len(real(value)) < NUMBER_LENGTH


def test_random_bits_powers_and_their_neighbours_are_written_as_repr_writes_them():
    values = np.random.default_rng(1).integers(0, 2**64, 20_000, np.uint64).view(np.float64)
    powers = [2.0**power for power in range(-1074, 1024)] + [10.0**power for power in range(-323, 309)]
    neighbours = [math.nextafter(power, toward) for power in powers for toward in (0, math.inf)]
    for value in [*values[np.isfinite(values)].tolist(), *powers, *neighbours]:
        if math.isfinite(value):
            assert real(value) == repr(value)


@pytest.mark.parametrize(
    ("value", "expected"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")]
)
def test_what_is_no_number_has_javas_words_in_any_column(value, expected):
    assert real(value) == expected
    assert count(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0"), (-1.0, "-1"), (120_000_000.0, "120000000"), (2.0**53, "9007199254740992"), (0.5, "0.5")],
)
def test_counts_are_written_without_a_fraction_unless_they_have_one(value, expected):
    assert count(value) == expected


@settings(max_examples=500, deadline=None)
@given(st.ip_addresses())
@example(ipaddress.ip_address("::"))
@example(ipaddress.ip_address("::1"))
@example(ipaddress.ip_address("1::"))
@example(ipaddress.ip_address("1:0:0:2:0:0:0:3"))
@example(ipaddress.ip_address("1:0:0:2:3:0:0:4"))
@example(ipaddress.ip_address("1:0:2:3:4:5:6:7"))
@example(ipaddress.ip_address("0:0:1:2:3:4:5:6"))
@example(ipaddress.ip_address("2001:db8::100:0"))
@example(ipaddress.ip_address("255.0.10.100"))
def test_addresses_are_written_as_ipaddress_writes_them(address):
    packed = address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed
    if address.version == 6 and address.ipv4_mapped:
        address = address.ipv4_mapped
    assert address_column(np.frombuffer(packed, np.uint8).reshape(1, 16)).to_pylist() == [str(address)]


def test_addresses_of_many_rows_stay_apart():
    rows = np.zeros((3, 16), np.uint8)
    rows[:, 15] = (1, 2, 3)
    assert address_column(rows).to_pylist() == ["::1", "::2", "::3"]
    assert address_column(rows[:0]).to_pylist() == []


@settings(max_examples=500, deadline=None)
@given(st.integers(-(2**63) // 1000 + 1, 2**63 // 1000 - 1))
@example(951_782_400_000_000)  # 2000-02-29
@example(951_868_799_999_999)
@example(4_107_542_399_000_000)  # 2100-02-28
@example(0)
@example(-1)
def test_times_are_the_calendars_with_only_the_digits_that_java_prints(microseconds):
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    expected = moment.strftime("%Y-%m-%d %H:%M:%S")
    if moment.microsecond % 1000:
        expected += f".{moment.microsecond:06d}"
    elif moment.microsecond:
        expected += f".{moment.microsecond // 1000:03d}"
    assert text(put_time(OUT, 0, microseconds * 1000)) == expected
