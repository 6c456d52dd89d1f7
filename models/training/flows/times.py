"""The stamps of the data sets as nanoseconds: day first, to the minute, the second or finer.

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
    r"(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?\s*Z?\s*$"
)
_DAY_FIRST = r"^\s*(?P<day>\d{1,2})[/.-](?P<month>\d{1,2})[/.-](?P<year>\d{4})\s+" + _CLOCK
_YEAR_FIRST = r"^\s*(?P<year>\d{4})[-/](?P<month>\d{1,2})[-/](?P<day>\d{1,2})[T\s]+" + _CLOCK


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
        """(n,) nanoseconds of an arrow array of stamps (text, bytes or timestamps), NO_TIME where none."""
        if pa.types.is_timestamp(stamps.type) or pa.types.is_date(stamps.type):
            self._finest = 2
            self._halves_known = True
            times = stamps.cast(pa.timestamp("ns")).cast(pa.int64())
            return np.asarray(times.fill_null(NO_TIME).to_numpy(zero_copy_only=False), np.int64)
        coded = stamps.dictionary_encode()
        distinct = coded.dictionary
        if not (pa.types.is_string(distinct.type) or pa.types.is_large_string(distinct.type)):
            if not pa.types.is_binary(distinct.type):
                return no_times(len(stamps))
            distinct = pa.array(
                [text.decode("ascii", "replace") for text in distinct.to_pylist()], pa.string()
            )
        times = np.append(self._parsed(distinct), NO_TIME)
        codes = np.asarray(coded.indices.fill_null(-1).to_numpy(zero_copy_only=False))
        blank = np.append(np.asarray(pc.equal(pc.utf8_trim_whitespace(distinct), "")), True).astype(bool)
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
        return times

    def _from_parts(self, parts: Any) -> tuple[npt.NDArray[np.int64], bool]:
        """Nanoseconds of matched stamps, and whether they tell the hour without AM or PM."""

        def texts(name: str) -> Any:
            return pc.struct_field(parts, name)

        def numbers(name: str) -> npt.NDArray[np.int64]:
            filled = pc.if_else(pc.equal(texts(name), ""), "0", texts(name))
            return np.asarray(filled.cast(pa.int64()))

        year, month, day = numbers("year"), numbers("month"), numbers("day")
        hour, minute, second = numbers("hour"), numbers("minute"), numbers("second")
        part = np.asarray(pc.utf8_rpad(texts("part"), 9, "0").cast(pa.int64()))
        half = np.asarray(pc.utf8_lower(texts("half")).to_numpy(zero_copy_only=False), object)
        plain = not (half != "").any()
        hour = np.where(half == "p", hour % 12 + 12, np.where(half == "a", hour % 12, hour))
        good = (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31) & (hour < 24) & (minute < 60)
        month = np.where(good, month, 1)
        months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
        days = months.astype("datetime64[D]").astype(np.int64) + day - 1
        times = (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000_000 + part
        has_part = bool(pc.any(pc.not_equal(texts("part"), "")).as_py())
        has_second = bool(pc.any(pc.not_equal(texts("second"), "")).as_py())
        self._finest = max(self._finest, 2 if has_part else int(has_second))
        return np.where(good, times, NO_TIME), plain
