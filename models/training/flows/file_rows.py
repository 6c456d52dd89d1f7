"""The rows of one file of flows, block by block, from the columns of its form to arrays."""

from __future__ import annotations

import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet

from models.errors import TrainingError
from models.training.flows.classes import Named, decoded, named
from models.training.flows.csv_rows import CsvFile, Left
from models.training.flows.forms import Form, form_of
from models.training.flows.read_report import NAME_OF, FileReport
from models.training.flows.sources import Source
from models.training.flows.table import BENIGN
from models.training.flows.times import Clock, no_times
from models.training.flows.twins import twins

Attempted = Literal["benign", "attack", "drop"]
Unlabelled = Literal["refuse", "benign"]

_BATCH = 65_536  # rows of a Parquet file at a time
_CLASSES_AT_MOST = 200  # the data sets know some 40
#: Rows that may be lost whatever their share: of a small file most may be notes.
_FEW_LOST = 100


class Codes:
    """Names as numbers, in the order in which they came."""

    def __init__(self, *names: str) -> None:
        self._codes = {name: code for code, name in enumerate(names)}

    def __len__(self) -> int:
        return len(self._codes)

    def of(self, name: str) -> int:
        return self._codes.setdefault(name, len(self._codes))

    def names(self) -> list[str]:
        return list(self._codes)


@dataclass
class FileRows:
    """The rows of one file, as they come."""

    name: str
    labels: Codes
    addresses: Codes
    attempted: Attempted
    unlabelled: Unlabelled
    left: Left = field(default_factory=Left)
    clock: Clock = field(default_factory=Clock)
    form: Form = field(init=False)
    places: list[int] = field(init=False)  #: the columns of the features that are kept
    encoding: str = "utf-8"
    settled: str = "none"
    missing: int = 0
    attempts: int = 0
    without_label: int = 0
    blocks: list[dict[str, np.ndarray]] = field(default_factory=list)

    def look(self, source: Source) -> None:
        """Understands the columns of a file; TrainingError when it is of no use."""
        with self._opened(source) as stream:
            if source.is_parquet:
                self.form = form_of(self.name, _parquet_file(stream).schema_arrow.names)
            else:
                self.form = CsvFile(self.name, stream).form
        if "label" not in self.form.roles and self.unlabelled == "refuse":
            raise TrainingError(
                f"{self.name}: no label column (Label or Attack Type);"
                " add one, or say `--unlabelled benign` where all of it is known to be benign"
            )

    def read(self, source: Source, features: Sequence[str]) -> Iterator[int]:
        """Takes in these features of a file that was looked at; yields the bytes of each step."""
        place_of = dict(zip(self.form.features, self.form.places))
        self.places = [place_of[name] for name in features]
        with self._opened(source) as stream:
            yield from self._parquet(stream, source.size) if source.is_parquet else self._csv(stream)
        first = f": {self.left.first}" if self.left.first else ""
        if not self.rows and not (self.attempts and self.attempted == "drop"):
            raise TrainingError(f"{self.name}: no flow in it that can be read{first}; check the file")
        if self.left.unreadable > max(self.rows, _FEW_LOST):
            lost, rows = self.left.unreadable, self.rows + self.left.unreadable
            raise TrainingError(
                f"{self.name}: {lost:,} of {rows:,} rows cannot be read, and what is left is no fair"
                f" part of them{first}; write numbers with a decimal point"
            )
        times = np.concatenate([block["time"] for block in self.blocks])
        self.settled = self.clock.settle(times)
        at = 0
        for block in self.blocks:
            block["time"] = times[at : at + len(block["time"])]
            at += len(block["time"])

    @property
    def rows(self) -> int:
        return sum(len(block["label"]) for block in self.blocks)

    @contextmanager
    def _opened(self, source: Source) -> Iterator[IO[bytes]]:
        try:
            with source.open() as stream:
                yield stream
        except pa.ArrowException as error:  # some are a RuntimeError as well
            raise TrainingError(
                f"{self.name}: not a whole Parquet file: {str(error).splitlines()[0][:120]}; fetch it again"
            ) from None
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
            raise TrainingError(f"{self.name}: cannot be read to its end: {error}; fetch it again") from None
        except RuntimeError as error:  # NotImplementedError for Deflate64, which large zips often have
            raise TrainingError(
                f"{self.name}: packed in a way that cannot be read here ({error}); unpack the zip and give"
                " the folder"
            ) from None

    def _csv(self, stream: IO[bytes]) -> Iterator[int]:
        file = CsvFile(self.name, stream)
        self.left, self.encoding = file.left, file.encoding
        for table, used in file.tables():
            columns = {int(name): table[name].combine_chunks() for name in table.column_names}
            self._take(columns, table.num_rows)
            yield used

    def _parquet(self, stream: IO[bytes], size: int) -> Iterator[int]:
        file = _parquet_file(stream)
        names = file.schema_arrow.names
        wanted = {names[place] for place in [*self.form.numbers, *self.form.texts]}
        first = {name: names.index(name) for name in wanted}
        rows = max(file.metadata.num_rows, 1)
        for batch in file.iter_batches(_BATCH, columns=sorted(wanted)):
            columns: dict[int, Any] = {}
            for name, column in zip(batch.schema.names, batch.columns):
                columns.setdefault(first[name], column)
            self._take(columns, batch.num_rows)
            yield size * batch.num_rows // rows

    def _take(self, columns: dict[int, Any], rows: int) -> None:
        """One block of rows: columns by their places."""
        roles = self.form.roles
        numbers = {place: self._floats(columns[place], what) for place, what in self.form.numbers.items()}
        values = np.empty((rows, len(self.places)), np.float32)
        with np.errstate(over="ignore"):
            for i, place in enumerate(self.places):
                values[:, i] = numbers[place]

        def whole(role: str, kind: type[np.signedinteger[Any]]) -> npt.NDArray[Any]:
            if role not in roles:
                return np.full(rows, -1, kind)
            cells = numbers[roles[role]]
            sound = (cells >= 0) & (cells <= min(65_535, np.iinfo(kind).max))
            return np.where(sound, cells, -1).astype(kind)

        block = {
            "values": values,
            "protocol": whole("protocol", np.int16),
            "port": whole("port", np.int32),
            "time": self.clock.read(columns[roles["time"]]) if "time" in roles else no_times(rows),
            "source": self._addresses(columns, "source", rows),
            "destination": self._addresses(columns, "destination", rows),
        }
        block["twin"] = twins([numbers[place] for place in self.places], block["protocol"])
        label, kept = self._labels(columns, rows, whole("attempted", np.int16) >= 0)
        block["label"] = label
        if not kept.all():
            block = {name: column[kept] for name, column in block.items()}
        self.missing += int((~np.isfinite(block["values"])).any(axis=1).sum())
        self.blocks.append(block)

    def _floats(self, column: Any, what: str) -> npt.NDArray[np.float64]:
        """(n,) float64 of a column, NaN where it is empty."""
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if not pa.types.is_float64(column.type):
            try:
                column = column.cast(pa.float64(), safe=False)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                reason = str(error).splitlines()[0][:120]
                raise TrainingError(
                    f"{self.name}: column {NAME_OF.get(what, what)} does not hold numbers: {reason}; mend it"
                ) from None
        return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)

    def _distinct(self, column: Any) -> tuple[list[str], npt.NDArray[np.int64]]:
        """The different cells of a text column, decoded, "" for none last, and (n,) indices into them."""
        coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        texts = []
        for cell in coded.dictionary.to_pylist():
            text, encoding = decoded(cell) if isinstance(cell, bytes) else (str(cell), "utf-8")
            if encoding != "utf-8":
                self.encoding = encoding
            texts.append(text)
        index = np.asarray(
            coded.indices.cast(pa.int64()).fill_null(len(texts)).to_numpy(zero_copy_only=False)
        )
        return [*texts, ""], index

    def _labels(
        self, columns: dict[int, Any], rows: int, category: npt.NDArray[np.bool_]
    ) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.bool_]]:
        """(n,) codes of classes, and which rows are kept."""
        if "label" not in self.form.roles:
            self.without_label += rows
            return np.full(rows, self.labels.of(BENIGN), np.int16), np.ones(rows, np.bool_)
        texts, index = self._distinct(columns[self.form.roles["label"]])
        there = set(np.unique(index).tolist())
        marks = [named(text) if i in there else Named(BENIGN) for i, text in enumerate(texts)]
        self._refuse_unlabelled(texts, marks)
        if len({mark.name for mark in marks}) > _CLASSES_AT_MOST:
            raise TrainingError(
                f"{self.name}: {len(marks)} different labels ({texts[0][:20]!r}, ...), so these name no"
                " classes; check which column is the label"
            )
        attempts = np.array([mark.attempted for mark in marks])[index]
        attempts |= category & np.array([mark.name not in ("", BENIGN) for mark in marks])[index]
        code = np.array([self.labels.of(mark.name or BENIGN) for mark in marks], np.int16)[index]
        kept = np.array([bool(mark.name) or mark.unlabelled for mark in marks])[index]
        for row in np.flatnonzero(~kept):
            self.left.add_unreadable(f"row {self.rows + int(row) + 1}: no label")
        self.without_label += int(np.array([mark.unlabelled for mark in marks])[index].sum())
        self.attempts += int(attempts.sum())
        if self.attempted == "benign":
            code[attempts] = self.labels.of(BENIGN)
        elif self.attempted == "drop":
            kept &= ~attempts
        return code, kept

    def _refuse_unlabelled(self, texts: list[str], marks: list[Named]) -> None:
        for text, mark in zip(texts, marks):
            if mark.unlabelled and self.unlabelled == "refuse":
                raise TrainingError(
                    f"{self.name}: flows that nobody has labelled (label {text!r}): label them,"
                    " or say `--unlabelled benign` where all of it is known to be benign"
                )
            if re.fullmatch(r"[+-]?\d+(\.\d*)?|true|false|yes|no", mark.name, re.IGNORECASE):
                raise TrainingError(
                    f"{self.name}: labels such as {text} do not say their class;"
                    " write the names of the classes instead (BENIGN, DDoS, ...)"
                )

    def _addresses(self, columns: dict[int, Any], role: str, rows: int) -> npt.NDArray[np.int32]:
        """(n,) codes of addresses; a publisher's own numbers mean something within their column alone."""
        if role not in self.form.roles:
            return np.full(rows, -1, np.int32)
        texts, index = self._distinct(columns[self.form.roles[role]])

        def code(text: str) -> int:
            text = text.strip()
            if not text:
                return -1
            return self.addresses.of(text if "." in text or ":" in text else f"{self.name} {role} {text}")

        return np.array([code(text) for text in texts], np.int32)[index]

    def drained(self) -> Iterator[dict[str, np.ndarray]]:
        """The blocks, each forgotten once it was given."""
        while self.blocks:
            yield self.blocks.pop(0)

    def report(self, labels: Sequence[str]) -> FileReport:
        label = np.concatenate([block["label"] for block in self.blocks])
        counts = np.bincount(label, minlength=len(labels))
        return FileReport(
            name=self.name,
            form=self.form.name,
            rows=self.rows,
            blank=self.left.blank,
            headers=self.left.headers,
            unreadable=self.left.unreadable,
            first_unreadable=self.left.first,
            missing=self.missing,
            unknown=self.form.unknown,
            double=self.form.double,
            absent=self.form.absent,
            labels={name: int(count) for name, count in zip(labels, counts) if count},
            attempted=self.attempts,
            unlabelled=self.without_label,
            encoding=self.encoding,
            clock=self.settled,
            times_unread=self.clock.unread,
            addresses="source" in self.form.roles,
        )


def _parquet_file(stream: IO[bytes]) -> Any:
    """A Parquet file, which needs its end first; a member of a zip is held in memory for it."""
    packed = isinstance(stream, zipfile.ZipExtFile)
    return pa.parquet.ParquetFile(BytesIO(stream.read()) if packed else stream)
