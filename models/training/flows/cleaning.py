"""Cleaning: flows with missing values and flows that say again what one before has said."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import TrainingError
from models.training.flows.read_report import NAME_OF, counted, table_lines
from models.training.flows.table import FlowTable
from models.training.flows.twins import twins


@dataclass(frozen=True, slots=True)
class CleaningReport:
    """What cleaning left out."""

    rows: int  #: before
    missing: int  #: rows with NaN or an infinity
    missing_in: dict[str, int]  #: how many of those rows, by the feature that lacks
    redundant: int  #: of the others, rows equal to one before in features, protocol, port and label
    dropped: bool  #: whether those went
    twins: (
        int  #: of the rows kept, those equal in all that a model sees to one before, whatever port and label
    )
    conflicting: int  #: of the rows kept, those equal in all that a model sees to one of another label
    before: dict[str, int]  #: flows of each class
    after: dict[str, int]

    @property
    def kept(self) -> int:
        return sum(self.after.values())

    def lines(self) -> list[str]:
        """The report as plain text, a line each."""
        lacking = ", ".join(f"{NAME_OF[name]} {count:,}" for name, count in self.missing_in.items())
        fate = "left out" if self.dropped else "kept"
        return [
            f"{self.missing:,} of {counted(self.rows, 'flow')} left out for NaN or an infinity"
            + (f" ({lacking})" if lacking else ""),
            f"{counted(self.redundant, 'flow')} {fate}, equal to one before in every feature, port and label",
            f"of {counted(self.kept, 'flow')} kept, ports and labels aside,"
            f" {self.twins:,} equal to one before in every feature,"
            f" {self.conflicting:,} to one of another label",
            *table_lines(
                ("class", "read", "kept"),
                [(name, f"{count:,}", f"{self.after.get(name, 0):,}") for name, count in self.before.items()],
            ),
        ]


def clean(table: FlowTable, *, drop_duplicates: bool = True) -> tuple[FlowTable, CleaningReport]:
    """The flows without a NaN or an infinity and, if wanted, each only once.

    Redundant is a flow that equals an earlier one in every feature, the protocol, the responder's
    port and the label, as in the published counts; addresses, the initiator's port and times do not
    count.  Raises TrainingError when nothing is left.
    """
    sound = np.isfinite(table.values).all(axis=1)
    missing_in = {}
    if not sound.all():
        lacking = (~np.isfinite(table.values[~sound])).sum(axis=0)
        missing_in = {name: int(count) for name, count in zip(table.features, lacking) if count}
    kept = table if sound.all() else table.take(sound)
    if not len(kept):
        worst = max(missing_in, key=lambda name: missing_in[name]) if missing_in else "features"
        raise TrainingError(
            f"{', '.join(table.files[:3])}: every flow holds NaN or an infinity, most of all in"
            f" {NAME_OF.get(worst, worst)}; leave that column out of the files, or write them anew"
        )
    again = redundant(kept)
    if drop_duplicates and again.any():
        kept = kept.take(~again)
    report = CleaningReport(
        rows=len(table),
        missing=int((~sound).sum()),
        missing_in=missing_in,
        redundant=int(again.sum()),
        dropped=drop_duplicates,
        twins=int(repeated(kept.twin).sum()),
        conflicting=int(_conflicting(kept).sum()),
        before=_counts(table),
        after=_counts(kept),
    )
    return kept, report


def redundant(table: FlowTable) -> npt.NDArray[np.bool_]:
    """(n,) which rows equal one before in features, protocol, port and label."""
    return repeated(twins((), table.twin.view(np.int64), table.port, table.label))


def repeated(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """(n,) which keys were there before."""
    again = np.ones(len(keys), np.bool_)
    again[np.unique(keys, return_index=True)[1]] = False
    return again


def _conflicting(table: FlowTable) -> npt.NDArray[np.bool_]:
    """(n,) which rows have a twin with another label."""
    _, group = np.unique(table.twin, return_inverse=True)
    first = np.full(group.max() + 1, -1, np.int64)
    first[group[::-1]] = table.label[::-1]
    mixed = np.zeros(len(first), np.bool_)
    mixed[group[table.label != first[group]]] = True
    return mixed[group]


def _counts(table: FlowTable) -> dict[str, int]:
    counts = np.bincount(table.label, minlength=len(table.labels))
    return {name: int(count) for name, count in zip(table.labels, counts) if count}
