"""Flow records as text: rows of a CSV file, written by compiled code.

`shortest_decimal` is Schubfach (R. Giulietti, "The Schubfach way to render doubles", 2020): the
shortest decimal that reads back to the same double and, of those, the nearest; what Python's
`repr` gives.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from capture.jit import kernel

#: No number is longer: sign, 17 digits, point, exponent; and its comma.
NUMBER_LENGTH = 26
ADDRESS_LENGTH = 39
#: Each address and port twice, the protocol twice, the time, and what stands between them.
IDENTITY_LENGTH = 4 * ADDRESS_LENGTH + 4 * 5 + 2 * 3 + 26 + 11

_SMALLEST_POWER, _LARGEST_POWER = -292, 324
_ALL_BITS = np.uint64(2**64 - 1)
_LOW_BITS = np.uint64(2**32 - 1)
_0, _1, _2, _4, _10 = (np.uint64(number) for number in (0, 1, 2, 4, 10))
_32, _40, _52, _63 = (np.uint64(number) for number in (32, 40, 52, 63))
_HIDDEN_BIT = np.uint64(1 << 52)
_COMMA, _POINT, _MINUS, _PLUS, _ZERO, _E, _COLON, _SPACE = (ord(letter) for letter in ",.-+0e: ")
_HEXADECIMAL = np.frombuffer(b"0123456789abcdef", np.uint8)
_NAN = np.frombuffer(b"NaN", np.uint8)
_INFINITY = np.frombuffer(b"Infinity", np.uint8)


def _powers_of_ten() -> npt.NDArray[np.uint64]:
    """(617, 2) uint64: 10^k rounded up to 128 bits with the highest bit set, high half first."""
    halves = []
    for power in range(_SMALLEST_POWER, _LARGEST_POWER + 1):
        above, below = (10**power, 1) if power >= 0 else (1, 10**-power)
        exponent = above.bit_length() - 1 if power >= 0 else -below.bit_length()
        shift = 127 - exponent
        above, below = (above << shift, below) if shift >= 0 else (above, below << -shift)
        value = -(-above // below)
        halves.append((value >> 64, value & (2**64 - 1)))
    return np.array(halves, np.uint64)


_POWERS = _powers_of_ten()


class Flows(NamedTuple):
    """The fields of FLOW_DTYPE that the identity columns show, each (n,) or (n, 16)."""

    src: npt.NDArray[np.uint8]
    dst: npt.NDArray[np.uint8]
    src_port: npt.NDArray[np.uint16]
    dst_port: npt.NDArray[np.uint16]
    csv_protocol: npt.NDArray[np.uint8]
    key_reversed: npt.NDArray[np.uint8]
    start_ns: npt.NDArray[np.int64]


@kernel
def _multiply(a: Any, b: Any) -> Any:
    """(high, low) halves of the 128-bit product of two uint64."""
    a_high, a_low, b_high, b_low = a >> _32, a & _LOW_BITS, b >> _32, b & _LOW_BITS
    low = a_low * b_low
    middle = a_high * b_low + (low >> _32)
    other = a_low * b_high + (middle & _LOW_BITS)
    high = a_high * b_high + (middle >> _32) + (other >> _32)
    return high, (other << _32) | (low & _LOW_BITS)


@kernel
def _scale(power: Any, c: Any) -> Any:
    """floor(power * c / 2^128) with the lowest bit set when that is not exact."""
    x_high, _ = _multiply(_POWERS[power, 1], c)
    y_high, y_low = _multiply(_POWERS[power, 0], c)
    if y_low > _ALL_BITS - x_high:
        return (y_high + _1) | _1 if y_low - (_ALL_BITS - x_high) > _2 else y_high + _1
    return y_high | _1 if y_low + x_high > _1 else y_high


@kernel
def shortest_decimal(bits: Any) -> Any:
    """(digits, exponent): digits * 10^exponent is the finite, positive double with these bits."""
    fraction = bits & (_HIDDEN_BIT - _1)
    biased = np.int64((bits >> _52) & np.uint64(0x7FF))
    if biased != 0:
        c, q = _HIDDEN_BIT | fraction, biased - 1075
        if -53 < q <= 0 and c & ((_1 << np.uint64(-q)) - _1) == _0:
            return c >> np.uint64(-q), np.int64(0)  # a whole number below 2^53
    else:
        c, q = fraction, np.int64(-1074)
    closer = fraction == _0 and biased > 1
    odd = c & _1
    k = (q * 1_262_611 - (524_031 if closer else 0)) >> 22
    h = np.uint64(q + ((-k * 1_741_647) >> 19) + 1)
    power = -k - _SMALLEST_POWER
    lower = _scale(power, (_4 * c - (_1 if closer else _2)) << h) + odd
    middle = _scale(power, (_4 * c) << h)
    upper = _scale(power, (_4 * c + _2) << h) - odd
    s = middle >> _2
    if s >= _10:
        shorter = s // _10
        below, above = lower <= _40 * shorter, _40 * shorter + _40 <= upper
        if below != above:
            return shorter + (_1 if above else _0), k + 1
    below, above = lower <= _4 * s, _4 * s + _4 <= upper
    if below != above:
        return s + (_1 if above else _0), k
    half = _4 * s + _2
    up = middle > half or (middle == half and s & _1 != _0)
    return s + (_1 if up else _0), k


@kernel
def _put_digits(out: Any, at: Any, digits: Any) -> Any:
    """A uint64 in decimal; returns the place behind it."""
    length, rest = 1, digits // _10
    while rest != _0:
        length += 1
        rest //= _10
    for place in range(at + length - 1, at - 1, -1):
        out[place] = _ZERO + np.int64(digits % _10)
        digits //= _10
    return at + length


@kernel
def _put_word(out: Any, at: Any, word: Any) -> Any:
    for letter in word:
        out[at] = letter
        at += 1
    return at


@kernel
def _put_zeros(out: Any, at: Any, count: Any) -> Any:
    for _ in range(count):
        out[at] = _ZERO
        at += 1
    return at


@kernel
def put_real(out: Any, at: Any, value: Any, bits: Any) -> Any:
    """A double as `repr` writes it, with Java's NaN and Infinity; returns the place behind it."""
    if value != value:
        return _put_word(out, at, _NAN)
    if bits >> _63 != _0:
        out[at] = _MINUS
        at += 1
        bits &= _ALL_BITS >> _1
    if np.isinf(value):
        return _put_word(out, at, _INFINITY)
    if bits == _0:
        out[at], out[at + 1], out[at + 2] = _ZERO, _POINT, _ZERO
        return at + 3
    digits, exponent = shortest_decimal(bits)
    while digits % _10 == _0:
        digits //= _10
        exponent += 1
    end = _put_digits(out, at, digits)
    point = end - at + exponent  # digits before the decimal point
    if 0 < point <= 16:
        if exponent >= 0:
            end = _put_zeros(out, end, exponent)
            out[end], out[end + 1] = _POINT, _ZERO
            return end + 2
        for place in range(end, at + point, -1):
            out[place] = out[place - 1]
        out[at + point] = _POINT
        return end + 1
    if -4 < point <= 0:
        room = 2 - point  # "0." and the zeros behind it
        for place in range(end - 1, at - 1, -1):
            out[place + room] = out[place]
        _put_zeros(out, at, room)
        out[at + 1] = _POINT
        return end + room
    if end - at > 1:
        for place in range(end, at + 1, -1):
            out[place] = out[place - 1]
        out[at + 1] = _POINT
        end += 1
    out[end], out[end + 1] = _E, _PLUS if point > 0 else _MINUS
    size = abs(point - 1)
    if size < 10:
        out[end + 2] = _ZERO
        end += 1
    return _put_digits(out, end + 2, np.uint64(size))


@kernel
def put_count(out: Any, at: Any, value: Any, bits: Any) -> Any:
    """A whole number without a fraction; any other as a real one."""
    if not -9e18 < value < 9e18 or np.floor(value) != value:
        return put_real(out, at, value, bits)
    if value < 0:
        out[at] = _MINUS
        at += 1
        value = -value
    return _put_digits(out, at, np.uint64(value))


@kernel
def _put_ipv4(out: Any, at: Any, address: Any) -> Any:
    for place in range(12, 16):
        at = _put_digits(out, at, np.uint64(address[place]))
        out[at] = _POINT
        at += 1
    return at - 1


@kernel
def _put_group(out: Any, at: Any, group: Any) -> Any:
    """16 bits in hexadecimal, without leading zeros."""
    started = False
    for shift in (12, 8, 4, 0):
        digit = (group >> shift) & 15
        if digit or started or shift == 0:
            out[at] = _HEXADECIMAL[digit]
            at += 1
            started = True
    return at


@kernel
def put_address(out: Any, at: Any, address: Any) -> Any:
    """16 bytes as an address: dotted where IPv4 is mapped, else RFC 5952."""
    mapped = address[10] == 255 and address[11] == 255
    for place in range(10):
        mapped = mapped and address[place] == 0
    if mapped:
        return _put_ipv4(out, at, address)
    # The longest run of zero groups, two at least, the first of equals.
    best, best_length, length = 8, 1, 0
    for group in range(8):
        length = length + 1 if address[2 * group] == 0 and address[2 * group + 1] == 0 else 0
        if length > best_length:
            best, best_length = group - length + 1, length
    group = 0
    while group < 8:
        if group == best:
            out[at], out[at + 1] = _COLON, _COLON
            at += 2
            group += best_length
            continue
        if group > 0 and group != best + best_length:
            out[at] = _COLON
            at += 1
        at = _put_group(out, at, np.int64(address[2 * group]) << 8 | np.int64(address[2 * group + 1]))
        group += 1
    return at


@kernel
def put_addresses(out: Any, ends: Any, addresses: Any) -> None:
    """The texts of (n, 16) addresses one after the other into `out`, where each ends into `ends`."""
    at = 0
    for row in range(len(addresses)):
        at = put_address(out, at, addresses[row])
        ends[row] = at


@kernel
def _put_padded(out: Any, at: Any, number: Any, width: Any, behind: Any) -> Any:
    """`width` digits with leading zeros, then one letter."""
    for place in range(at + width - 1, at - 1, -1):
        out[place] = _ZERO + number % 10
        number //= 10
    out[at + width] = behind
    return at + width + 1


@kernel
def put_time(out: Any, at: Any, time_ns: Any) -> Any:
    """`YYYY-MM-DD HH:MM:SS`, UTC, and .mmm or .uuuuuu where these are not zeros."""
    microseconds = time_ns // 1000
    fraction = microseconds % 1_000_000
    seconds = microseconds // 1_000_000
    # The calendar repeats after 400 years; in years that begin in March the leap day is the last.
    days = seconds // 86_400 + 719_468
    cycle = days // 146_097
    day = days % 146_097
    year = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5
    month = month + 3 if month < 10 else month - 9
    year += cycle * 400 + (1 if month <= 2 else 0)
    at = _put_padded(out, at, year, 4, _MINUS)
    at = _put_padded(out, at, month, 2, _MINUS)
    at = _put_padded(out, at, day + 1, 2, _SPACE)
    at = _put_padded(out, at, seconds % 86_400 // 3_600, 2, _COLON)
    at = _put_padded(out, at, seconds % 3_600 // 60, 2, _COLON)
    at = _put_padded(out, at, seconds % 60, 2, _POINT)
    if fraction == 0:
        return at - 1
    if fraction % 1000 == 0:
        return _put_padded(out, at, fraction // 1000, 3, _POINT) - 1
    return _put_padded(out, at, fraction, 6, _POINT) - 1


@kernel
def _put_ends(out: Any, at: Any, first: Any, second: Any, first_port: Any, second_port: Any) -> Any:
    """`A-B-a-b-`, the Flow ID without its protocol."""
    at = put_address(out, at, first)
    out[at] = _MINUS
    at = put_address(out, at + 1, second)
    out[at] = _MINUS
    at = _put_digits(out, at + 1, np.uint64(first_port))
    out[at] = _MINUS
    at = _put_digits(out, at + 1, np.uint64(second_port))
    out[at] = _MINUS
    return at + 1


@kernel
def put_rows(
    out: npt.NDArray[np.uint8],
    flows: Flows,
    values: npt.NDArray[np.float64],
    bits: npt.NDArray[np.uint64],
    whole: npt.NDArray[np.bool_],
    tails: npt.NDArray[np.uint8],
    tail_ends: npt.NDArray[np.int64],
) -> int:
    """Write n rows of CICFlowMeter's CSV; returns the bytes written.

    `values` (n, m) float64 and `bits` the same as uint64 are the features, `whole` (m,) says which
    are counts.  `tails` holds what ends each row, one text after the other, `tail_ends` (n,)
    where each ends.  `out` has room for all tails, and for each row IDENTITY_LENGTH and m times
    NUMBER_LENGTH bytes.
    """
    at, tail = 0, 0
    for row in range(len(values)):
        source, destination = flows.src[row], flows.dst[row]
        source_port, destination_port = flows.src_port[row], flows.dst_port[row]
        protocol = np.uint64(flows.csv_protocol[row])
        if flows.key_reversed[row]:
            at = _put_ends(out, at, destination, source, destination_port, source_port)
        else:
            at = _put_ends(out, at, source, destination, source_port, destination_port)
        at = _put_digits(out, at, protocol)
        out[at] = _COMMA
        at = put_address(out, at + 1, source)
        out[at] = _COMMA
        at = _put_digits(out, at + 1, np.uint64(source_port))
        out[at] = _COMMA
        at = put_address(out, at + 1, destination)
        out[at] = _COMMA
        at = _put_digits(out, at + 1, np.uint64(destination_port))
        out[at] = _COMMA
        at = _put_digits(out, at + 1, protocol)
        out[at] = _COMMA
        at = put_time(out, at + 1, flows.start_ns[row])
        for column in range(len(whole)):
            out[at] = _COMMA
            if whole[column]:
                at = put_count(out, at + 1, values[row, column], bits[row, column])
            else:
                at = put_real(out, at + 1, values[row, column], bits[row, column])
        while tail < tail_ends[row]:
            out[at] = tails[tail]
            tail, at = tail + 1, at + 1
    return at
