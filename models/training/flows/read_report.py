"""What was found in the files of a data set, and what was left out of them: for people and for reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from capture.columns import COLUMNS
from models.training.flows.classes import is_known

NAME_OF = {column.field: column.name for column in COLUMNS}


@dataclass(frozen=True, slots=True)
class FileReport:
    """One file."""

    name: str
    form: str  #: which of the forms in circulation
    rows: int  #: flows taken
    blank: int  #: rows of commas and empty lines
    headers: int  #: header lines below the first
    unreadable: int  #: rows of another width, without a label or with something else than a number
    first_unreadable: str  #: "line 12: ..."; "" where none
    missing: int  #: rows taken that hold NaN or an infinity in a feature that all files have
    unknown: tuple[str, ...]  #: columns that mean nothing here
    double: tuple[str, ...]  #: columns met twice: the first counts
    absent: tuple[str, ...]  #: features of `capture.columns` that the file lacks
    labels: dict[str, int]  #: flows of each class
    attempted: int  #: flows of attacks that came to nothing
    unlabelled: int  #: flows without a label, taken as benign on demand
    encoding: str
    clock: str  #: how fine its times are: "none", "minutes", ...
    times_unread: int
    addresses: bool


@dataclass(frozen=True, slots=True)
class ReadReport:
    """All files of a set."""

    files: tuple[FileReport, ...]
    features: int  #: those that all files have
    not_shared: tuple[str, ...]  #: features of some files only, so left out
    attempted: str  #: what was made of attempted attacks: "benign", "attack" or "drop"

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    @property
    def labels(self) -> dict[str, int]:
        """Flows of each class over all files, the most frequent first."""
        counts: dict[str, int] = {}
        for file in self.files:
            for name, count in file.labels.items():
                counts[name] = counts.get(name, 0) + count
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def lines(self) -> list[str]:
        """The report as plain text, a line each; what holds of all files is said once."""
        remarks = [_remarks(file, self.attempted) for file in self.files]
        common = [text for text in remarks[0] if len(remarks) > 1 and all(text in each for each in remarks)]
        lines = []
        for file, texts in zip(self.files, remarks):
            lines.append(f"{file.name}: {counted(file.rows, 'flow')}, {file.form}, {_clock(file)}")
            lines += [f"  {text}" for text in texts if text not in common]
        if common:
            lines += ["in every file", *(f"  {text}" for text in common)]
        lines += table_lines(
            ("class", "flows", "share"),
            [(name, f"{count:,}", f"{count / max(self.rows, 1):.2%}") for name, count in self.labels.items()],
        )
        lines.append(
            f"{counted(self.rows, 'flow')} of {counted(len(self.files), 'file')}, {self.features} features"
        )
        if strange := [name for name in self.labels if not is_known(name)]:
            lines.append(f"labels that are not known, taken as attacks: {_listed(strange)}")
        if self.not_shared:
            lines.append(f"left out, as not every file has them: {_listed(self.not_shared)}")
        return lines


def counted(count: int, what: str) -> str:
    """A number and what it counts: "1 flow", "2,000 flows"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def table_lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns lined up, the first to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *others = [(cell, width) for cell, width in zip(cells, widths)]
        return "  ".join(
            [f"{first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in others)]
        ).rstrip()

    return [line(head), *(line(row) for row in rows)]


def _clock(file: FileReport) -> str:
    times = "no times" if file.clock == "none" else f"times to {file.clock}"
    return f"{times}, {'with' if file.addresses else 'without'} addresses"


def _remarks(file: FileReport, attempted: str) -> list[str]:
    made = {"benign": "taken as benign", "attack": "taken as attacks", "drop": "left out"}[attempted]
    said = [
        (file.blank, f"{counted(file.blank, 'blank row')} left out"),
        (file.headers, f"{counted(file.headers, 'header line')} inside left out"),
        (
            file.unreadable,
            f"{counted(file.unreadable, 'unreadable row')} left out, the first: {file.first_unreadable}",
        ),
        (file.missing, f"{counted(file.missing, 'flow')} with NaN or an infinity"),
        (file.attempted, f"{counted(file.attempted, 'attempted attack')} {made}"),
        (file.unlabelled, f"{counted(file.unlabelled, 'flow')} without a label taken as benign"),
        (file.times_unread, f"{counted(file.times_unread, 'time')} not understood"),
        (file.encoding != "utf-8", f"text in {file.encoding}"),
        (file.double, f"columns there twice, the first counts: {_listed(file.double)}"),
        (file.unknown, f"unknown columns left out: {_listed(file.unknown)}"),
        (file.absent, f"features that it lacks: {_listed(file.absent)}"),
    ]
    return [text for there, text in said if there]


def _listed(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
