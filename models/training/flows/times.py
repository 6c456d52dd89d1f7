"""The stamps of the data sets as nanoseconds: day first, to the minute, the second or finer.

Other tools write ISO 8601, with a zone or without, or a number since 1970.

The flow tools wrote a 12-hour clock and left AM and PM out.  The captures of CIC were taken in
working hours, so an hour before 8 is of the afternoon, where no stamp of a file shows otherwise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from models.training.flows.table import NO_TIME

_HOUR_NS = 3_600_000_000_000
_FIRST_HOUR = 8  # of a working day at CIC

_CLOCK = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.(?P<part>\d{1,9})\d*)?)?"
    r"(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?"
    r"\s*(?:(?P<utc>[Zz])|(?P<sign>[+-])(?P<zone_hour>[01]\d)(?::?(?P<zone_minute>[0-5]\d))?)?\s*$"
)
_DAY_FIRST = r"^\s*(?P<day>\d{1,2})[/.-](?P<month>\d{1,2})[/.-](?P<year>\d{4})\s+" + _CLOCK
_YEAR_FIRST = r"^\s*(?P<year>\d{4})[-/](?P<month>\d{1,2})[-/](?P<day>\d{1,2})[Tt\s]+" + _CLOCK
_NUMBER = r"^\s*(?P<whole>[1-9]\d{8,17}|[1-4]\d{18})(?:\.(?P<part>\d{1,9})\d*)?\s*$"

_SECOND_NS = 1_000_000_000
_UNITS_NS = (_SECOND_NS, 1_000_000, 1_000, 1)
# Of the years 2000 to 2099, which no two units share; a smaller or larger number is no time.
_FIRST_S, _END_S = 946_684_800, 4_102_444_800


def no_times(rows: int) -> npt.NDArray[np.int64]:
    """(rows,) of NO_TIME."""
    return np.full(rows, NO_TIME)


class Clock:
    """Reads the stamps of one file, chunk by chunk, then says what its clock was."""

    def __init__(self) -> None:
        self.unread = 0  #: stamps that were there and could not be understood
        self._finest = -1
        self._halves_known = False
        self._plain = False

    def read(self, stamps: Any) -> npt.NDArray[np.int64]:
        """(n,) nanoseconds of an arrow array of stamps (text, bytes, timestamps or numbers since 1970).

        NO_TIME where there is none.  A zone that is said is heard: such times are UTC.
        """
        if pa.types.is_timestamp(stamps.type) or pa.types.is_date(stamps.type):
            self._finest = 2
            self._halves_known = True
            times = stamps.cast(pa.timestamp("ns")).cast(pa.int64())
            return np.asarray(times.fill_null(NO_TIME).to_numpy(zero_copy_only=False), np.int64)
        coded = stamps.dictionary_encode()
        distinct = coded.dictionary
        if pa.types.is_integer(distinct.type) or pa.types.is_floating(distinct.type):
            times, blank = self._from_numbers(distinct)
        elif (texts := _texts(distinct)) is not None:
            times, blank = self._parsed(texts), np.asarray(pc.equal(pc.utf8_trim_whitespace(texts), ""))
        else:
            return no_times(len(stamps))
        times, blank = np.append(times, NO_TIME), np.append(blank, True).astype(bool)
        codes = np.asarray(coded.indices.fill_null(-1).to_numpy(zero_copy_only=False))
        self.unread += int(((times == NO_TIME) & ~blank)[codes].sum())
        return times[codes]

    def settle(self, times: npt.NDArray[np.int64]) -> str:
        """Put a 12-hour clock right, in place, once all times of a file are there; how fine they are."""
        known = times != NO_TIME
        if self._finest < 0 or not known.any():
            return "none"
        text = ("minutes", "seconds", "finer than seconds")[self._finest]
        if self._halves_known or not self._plain:
            return text
        hours = (times // _HOUR_NS) % 24
        seen = np.flatnonzero(np.bincount(hours[known], minlength=24))
        if seen[0] >= 1 and seen[-1] <= 12 and seen[0] < _FIRST_HOUR:
            times[known & (hours < _FIRST_HOUR)] += 12 * _HOUR_NS
            text += f", 12-hour clock: hours before {_FIRST_HOUR} taken as afternoon"
        return text

    def _parsed(self, texts: Any) -> npt.NDArray[np.int64]:
        times = no_times(len(texts))
        for pattern, year_first in ((_DAY_FIRST, False), (_YEAR_FIRST, True)):
            parts = pc.extract_regex(texts, pattern)
            hit = np.asarray(parts.is_valid())
            if hit.any():
                read, plain = self._from_parts(parts.filter(pa.array(hit)))
                times[hit] = read
                if year_first or not plain:
                    self._halves_known = True
                else:
                    self._plain = True
        parts = pc.extract_regex(texts, _NUMBER)
        hit = np.asarray(parts.is_valid())
        if hit.any():
            parts = parts.filter(pa.array(hit))
            times[hit] = self._since_1970(
                np.asarray(pc.struct_field(parts, "whole").cast(pa.int64())), _billionths(parts)
            )
        return times

    def _from_numbers(self, numbers: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Times of an arrow array of numbers, and which of them are none."""
        if pa.types.is_integer(numbers.type):
            whole = np.asarray(numbers.cast(pa.int64(), safe=False))
            return self._since_1970(whole, np.zeros_like(whole)), np.zeros(len(whole), np.bool_)
        values = np.asarray(numbers.cast(pa.float64()))
        blank = np.isnan(values)
        values = np.where(np.abs(values) < 2.0**63, values, 0.0)
        whole = np.floor(values)
        # A float of these seconds is good to a millionth.
        millionths = np.rint((values - whole) * 1_000_000)
        return self._since_1970(whole.astype(np.int64), millionths.astype(np.int64) * 1000), blank

    def _since_1970(
        self, whole: npt.NDArray[np.int64], billionths: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Nanoseconds of numbers since 1970, each in the unit in which it is of this century."""
        times = no_times(len(whole))
        for unit in _UNITS_NS:
            per_second = _SECOND_NS // unit
            of_unit = (whole >= _FIRST_S * per_second) & (whole < _END_S * per_second)
            times[of_unit] = whole[of_unit] * unit + billionths[of_unit] * unit // _SECOND_NS
        known = times[times != NO_TIME]
        if len(known):
            self._halves_known = True
            self._finest = max(self._finest, 2 if (known % _SECOND_NS).any() else 1)
        return times

    def _from_parts(self, parts: Any) -> tuple[npt.NDArray[np.int64], bool]:
        """Nanoseconds of matched stamps, and whether they tell the hour without AM or PM, and no zone."""

        def texts(name: str) -> Any:
            return pc.struct_field(parts, name)

        def numbers(name: str) -> npt.NDArray[np.int64]:
            filled = pc.if_else(pc.equal(texts(name), ""), "0", texts(name))
            return np.asarray(filled.cast(pa.int64()))

        def any_has(name: str) -> bool:
            return bool(pc.any(pc.not_equal(texts(name), "")).as_py())

        year, month, day = numbers("year"), numbers("month"), numbers("day")
        hour, minute, second = numbers("hour"), numbers("minute"), numbers("second")
        half = np.asarray(pc.utf8_lower(texts("half")).to_numpy(zero_copy_only=False), object)
        plain = not (any_has("half") or any_has("utc") or any_has("sign"))
        hour = np.where(half == "p", hour % 12 + 12, np.where(half == "a", hour % 12, hour))
        good = (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31) & (hour < 24) & (minute < 60)
        month = np.where(good, month, 1)
        months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
        days = months.astype("datetime64[D]").astype(np.int64) + day - 1
        ahead = numbers("zone_hour") * 60 + numbers("zone_minute")
        minute = minute + np.where(np.asarray(pc.equal(texts("sign"), "-")), ahead, -ahead)
        times = (((days * 24 + hour) * 60 + minute) * 60 + second) * _SECOND_NS + _billionths(parts)
        self._finest = max(self._finest, 2 if any_has("part") else int(any_has("second")))
        return np.where(good, times, NO_TIME), plain


def _texts(distinct: Any) -> Any | None:
    """An arrow array of text or bytes as text, None where it is neither."""
    if pa.types.is_string(distinct.type) or pa.types.is_large_string(distinct.type):
        return distinct
    if not pa.types.is_binary(distinct.type):
        return None
    return pa.array([text.decode("ascii", "replace") for text in distinct.to_pylist()], pa.string())


def _billionths(parts: Any) -> npt.NDArray[np.int64]:
    """(n,) what the digits behind the point say, of the field `part`."""
    return np.asarray(pc.utf8_rpad(pc.struct_field(parts, "part"), 9, "0").cast(pa.int64()))
