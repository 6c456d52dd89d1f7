"""Systems on the same splits of the same flows: every fit a line of a journal, Table 1 out of them.

Two protocols, because the paper has two that differ.  `text`: duplicates dropped, 70/15/15.  `matrix`:
duplicates kept, 70/30, as its confusion matrix adds up (848,363 is 30 % of the 2,827,876 rows that are
left when only NaN and infinities go).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from models.errors import TrainingError
from models.scaling import Kind
from models.training.epochs import Bools, Floats, Log, silent
from models.training.flows.cleaning import clean
from models.training.flows.preprocessing import Preprocessing
from models.training.flows.reading import need_both
from models.training.flows.splits import Split, paper_matrix, paper_text
from models.training.flows.table import FlowTable
from models.training.flows.twins import seen_again
from models.training.journal import Journal
from models.training.metrics import Confusion, confusion
from models.training.systems.base import Entry, Part

Protocol = Literal["text", "matrix"]
PROTOCOLS: Mapping[Protocol, str] = {
    "text": "duplicates dropped, 70/15/15",
    "matrix": "duplicates kept, 70/30",
}

_SPLITS: Mapping[Protocol, Callable[[FlowTable, int], Split]] = {"text": paper_text, "matrix": paper_matrix}
# The sizes as they are told, so that a system that has changed is fitted anew.
_KEY = ("data", "protocol", "scale", "shuffle", "system", "sizes")
JOURNAL = "results.jsonl"


def journal(folder: Path) -> Journal:
    """The results in a folder, whatever of."""
    return Journal(folder / JOURNAL, _KEY)


@dataclass(frozen=True, slots=True)
class Run:
    """One system, fitted and tested on one shuffle."""

    protocol: Protocol
    scale: Kind
    shuffle: int
    system: str
    confusion: Confusion
    train: int  #: rows
    test: int
    leaked: int  #: test rows with a twin in training
    fit_s: float
    score_s: float
    epochs: int

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Run:
        """From a line of the journal; TrainingError where it is of another version."""
        try:
            values = {name: line[name] for name in cls.__slots__}
            return cls(**{**values, "confusion": Confusion(**line["confusion"])})
        except (KeyError, TypeError) as error:
            raise TrainingError(
                f"a result kept earlier is not of this version ({error}): name another folder"
            ) from None


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """One shuffle, ready for any system."""

    names: tuple[str, ...]  #: of the D features
    train: Part
    validation: Part
    test: Part
    leaked: int  #: test rows equal to a training row as the systems see them


def prepare(table: FlowTable, split: Split, scale: Kind = "minmax") -> Prepared:
    """Features of the three parts, scaled by what the training part holds."""
    made = Preprocessing.fit(table, split.train, scale=scale)
    attack = table.attack

    def part(rows: Any) -> tuple[Floats, Bools]:
        return made.transform(table, rows), attack[rows]

    train, test = part(split.train), part(split.test)
    return Prepared(made.names, train, part(split.validation), test, seen_again(train[0], test[0]))


def run_system(entry: Entry, data: Prepared, seed: int, log: Log = silent) -> dict[str, Any]:
    """Fit on training and validation part, test on the test part; what is not in the journal's key."""
    system = entry.make(data.names)
    began = time.monotonic()
    history = system.fit(*data.train, data.validation, seed, log)
    fitted = time.monotonic()
    flagged = system.scores(data.test[0]) > system.threshold
    done = time.monotonic()
    counts = confusion(data.test[1], flagged)
    return {
        "confusion": {name: getattr(counts, name) for name in ("tn", "fp", "fn", "tp")},
        "train": len(data.train[1]),
        "test": len(data.test[1]),
        "leaked": data.leaked,
        "fit_s": round(fitted - began, 3),
        "score_s": round(done - fitted, 3),
        "epochs": len(history),
    }


def compare(
    table: FlowTable,
    entries: Sequence[Entry],
    *,
    protocols: Sequence[Protocol],
    shuffles: Iterable[int],
    results: Journal,
    scale: Kind = "minmax",
    log: Log = silent,
) -> list[Run]:
    """Every system on every shuffle of every protocol; gives all their runs, those done before included.

    Shuffle n is the split by seed n, and the seed of every fit on it.  Raises TrainingError where the flows
    cannot be learned from.
    """
    need_both(table)
    data = digest(table)
    cleaned = {protocol: clean(table, drop_duplicates=protocol == "text")[0] for protocol in protocols}
    runs = []
    for shuffle in shuffles:
        for protocol in protocols:
            key = {"data": data, "protocol": protocol, "scale": scale, "shuffle": shuffle}
            prepared: Prepared | None = None
            for entry in entries:
                known = {"system": entry.name, "sizes": entry.sizes}
                line = results.get(**key, **known)
                if line is None:
                    if prepared is None:
                        split = _SPLITS[protocol](cleaned[protocol], shuffle)
                        prepared = prepare(cleaned[protocol], split, scale)
                    found = run_system(entry, prepared, shuffle, log)
                    line = {**key, **known, **found}
                    results.add(line)
                    log(f"{protocol} {shuffle} {entry.name}: {summary(Run.of(line).confusion)}")
                runs.append(Run.of(line))
    return runs


def summary(counts: Confusion) -> str:
    """One line of percent."""
    figures = (counts.accuracy, counts.precision, counts.recall, counts.f1, counts.false_alarm_rate)
    names = ("accuracy", "precision", "recall", "F1", "false alarms")
    return ", ".join(f"{name} {100 * value:.2f}" for name, value in zip(names, figures))


def digest(table: FlowTable) -> str:
    """A short hash of the flows and their labels, which a journal knows its data by."""
    if not len(table):
        raise TrainingError(f"{', '.join(table.files[:3])}: holds no flows")
    whole = hashlib.sha256("\n".join((*table.features, *table.labels)).encode())
    for column in (table.values, table.label, table.protocol):
        whole.update(np.ascontiguousarray(column).data)
    return whole.hexdigest()[:16]
