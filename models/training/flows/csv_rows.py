"""CSV files of flows as they circulate, chunk by chunk: what is no row of flows is left out and counted.

Sound chunks go to pyarrow as they are; one with a blank line, the header once more or a row that
cannot be read is first looked through line by line.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from models.errors import TrainingError
from models.training.flows.classes import decoded
from models.training.flows.forms import Form, form_of

_CHUNK = 16 << 20
_HEADER_AT_MOST = 1 << 16
_NOTHING = b" ,;\t\r\n\"'"
_BOM = b"\xef\xbb\xbf"
_NO_NUMBER = {"", "nan", "null", "na", "n/a", "none", "-nan", "#n/a", "<na>"}
_NULLS = ["", "NaN", "nan", "NAN", "null", "NULL", "NA", "N/A", "n/a", "None", "-nan", "-NaN", "#N/A", "<NA>"]


@dataclass
class Left:
    """What was left out of a file."""

    blank: int = 0  #: rows of nothing but commas, and empty lines
    headers: int = 0  #: the header once more, below the first
    unreadable: int = 0  #: rows of another width, or with something else where a number belongs
    first: str = ""  #: where and what the first unreadable row is

    def add_unreadable(self, where: str) -> None:
        self.unreadable += 1
        self.first = self.first or where

    def add(self, other: Left) -> None:
        self.blank += other.blank
        self.headers += other.headers
        self.unreadable += other.unreadable
        self.first = self.first or other.first


@dataclass
class CsvFile:
    """A CSV file under way."""

    name: str
    stream: IO[bytes]
    left: Left = field(default_factory=Left)
    encoding: str = "utf-8"
    form: Form = field(init=False)

    def __post_init__(self) -> None:
        """Reads the header; TrainingError when this is no file of flows."""
        head = self.stream.read(_HEADER_AT_MOST)
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise TrainingError(f"{self.name}: text in UTF-16; save it as CSV in UTF-8")
        skipped = 0
        rest = head.removeprefix(_BOM)
        while rest and not rest[: rest.find(b"\n") + 1 or None].strip(_NOTHING):
            line, _, rest = rest.partition(b"\n")
            skipped += 1
        self._header, newline, self._rest = rest.partition(b"\n")
        if not self._header:
            raise TrainingError(f"{self.name}: an empty file; fetch it again")
        if not newline and len(head) == _HEADER_AT_MOST or b"\0" in self._header:
            raise TrainingError(
                f"{self.name}: not text with a header line; give CSV or Parquet files of flows"
            )
        text, self.encoding = decoded(self._header)
        self._delimiter = max(",;\t", key=text.count)
        names = self._cells(text)
        if names is None:
            raise TrainingError(f"{self.name}: its header is no line of CSV; save it with one row a line")
        self.form = form_of(self.name, names)
        self._line = skipped + 2  # of the next chunk's first row

    def tables(self) -> Iterator[tuple[Any, int]]:
        """Arrow tables, columns named by their places ("0", "1", ...), and the bytes that each took."""
        rest, used = self._rest, len(self._header) + 1
        while True:
            more = self.stream.read(_CHUNK)
            whole = rest + more
            cut = whole.rfind(b"\n") + 1 if more else len(whole)
            chunk, rest = whole[:cut], whole[cut:]
            if chunk.strip(_NOTHING):
                yield self._table(chunk), used + len(chunk)
                used = 0
            elif chunk:
                self.left.blank += _lines(chunk)
            self._line += _lines(chunk)
            if not more:
                return

    def _table(self, chunk: bytes) -> Any:
        """The sound rows of a chunk; what is left out of it is counted."""
        sound, left = self._looked_through(chunk, False) if self._suspicious(chunk) else (chunk, Left())
        table, skipped = self._parsed(sound)
        if table is None or skipped:
            sound, left = self._looked_through(chunk, True)
            table, skipped = self._parsed(sound)
            if table is None or skipped:
                raise TrainingError(
                    f"{self.name}: lines {self._line} to {self._line + _lines(chunk)} are no CSV throughout;"
                    " mend the file or leave it out"
                )
        self.left.add(left)
        return table

    def _suspicious(self, chunk: bytes) -> bool:
        """Whether blank rows or the header may be among the rows; a false alarm costs time alone."""
        text = np.frombuffer(chunk, np.uint8)
        ends = np.flatnonzero(text == ord("\n"))
        firsts = np.bincount(text[np.append(0, ends[ends < len(text) - 1] + 1)], minlength=256)
        if firsts[np.frombuffer(b'\n\r "' + self._delimiter.encode(), np.uint8)].any():
            return True
        return bool(firsts[self._header[0]]) and self._header[:24] in chunk

    def _looked_through(self, chunk: bytes, by_cell: bool) -> tuple[bytes, Left]:
        """The rows of a chunk without blank ones and headers; `by_cell`: and without unreadable ones."""
        kept, left = [], Left()
        header = b"".join(self._header.split()).lower()
        for number, line in enumerate(chunk.removesuffix(b"\n").split(b"\n"), self._line):
            if not line.strip(_NOTHING):
                left.blank += 1
            elif line[:1] == self._header[:1] and b"".join(line.split()).lower() == header:
                left.headers += 1
            elif by_cell and (reason := self._unreadable(line)):
                if self._is_header(line):
                    raise TrainingError(
                        f"{self.name}: line {number}: another header than the first, so what follows has its"
                        " columns elsewhere; give the files that it was put together from"
                    )
                left.add_unreadable(f"line {number}: {reason}")
            else:
                kept.append(line)
        return b"".join(line + b"\n" for line in kept), left

    def _is_header(self, line: bytes) -> bool:
        """Whether the cells of a line name the columns of flows."""
        cells = self._cells(line.decode("latin-1"))
        try:
            return cells is not None and bool(form_of(self.name, cells))
        except TrainingError:
            return False

    def _cells(self, line: str) -> list[str] | None:
        """The cells of a line, None where it is no CSV."""
        try:
            return next(csv.reader([line.rstrip("\r")], delimiter=self._delimiter))
        except csv.Error:
            return None

    def _unreadable(self, line: bytes) -> str:
        """Why a line is no row of this file; "" when it is."""
        cells = self._cells(line.decode("latin-1"))
        if cells is None:
            return "no line of CSV"
        if len(cells) != self.form.width:
            return f"{len(cells)} fields instead of {self.form.width}"
        for place, what in self.form.numbers.items():
            cell = cells[place].strip()
            try:
                if cell.lower() not in _NO_NUMBER:
                    float(cell)
                    if "_" in cell:
                        raise ValueError
            except ValueError:
                return f"{cell[:20]!r} is no number ({what})"
        return ""

    def _parsed(self, rows: bytes) -> tuple[Any, int]:
        """The table, None where a cell is no number, and how many rows of another width were left out."""
        numbers = {str(place): pa.float64() for place in self.form.numbers}
        texts = {str(place): pa.binary() for place in self.form.texts}
        kinds = {name: (numbers | texts)[name] for name in sorted([*numbers, *texts], key=int)}
        if not rows:
            return pa.table({name: pa.array([], kind) for name, kind in kinds.items()}), 0
        skipped: list[int] = []

        def skip(row: Any) -> str:
            skipped.append(row.actual_columns)
            return "skip"

        try:
            table = pyarrow.csv.read_csv(
                pa.BufferReader(rows),
                read_options=pyarrow.csv.ReadOptions(column_names=[str(i) for i in range(self.form.width)]),
                parse_options=pyarrow.csv.ParseOptions(delimiter=self._delimiter, invalid_row_handler=skip),
                convert_options=pyarrow.csv.ConvertOptions(
                    check_utf8=False, column_types=kinds, include_columns=list(kinds), null_values=_NULLS
                ),
            )
        except pa.ArrowInvalid:
            return None, 0
        return table, len(skipped)


def _lines(chunk: bytes) -> int:
    return chunk.count(b"\n") + (not chunk.endswith(b"\n") and len(chunk) > 0)
