"""From a table to what a network takes: features chosen, brought to [0, 1], the protocol one-hot.

All of it is fitted on training rows and is applied unchanged to any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from capture.columns import FEATURES
from models.errors import TrainingError
from models.scaling import Columns, Kind
from models.training.flows.read_report import NAME_OF
from models.training.flows.table import FlowTable

PROTOCOLS = ("protocol_tcp", "protocol_udp", "protocol_icmp", "protocol_other")

_NUMBERS = {6: 0, 17: 1, 1: 2, 58: 2}
_OTHER = 3
_ROWS = 65_536  # at a time
_BINS = 64  # of a feature, for its mutual information with the label


@dataclass(frozen=True, slots=True, eq=False)
class Preprocessing:
    """Fitted preprocessing."""

    features: tuple[str, ...]  #: chosen, fields of `capture.columns`
    protocol: bool  #: whether the one-hot protocol comes after them
    scale: Kind
    columns: Columns
    report: dict[str, str]  #: features that went, and why

    @property
    def names(self) -> tuple[str, ...]:
        """The D names of the columns that `transform` gives."""
        return self.features + (PROTOCOLS if self.protocol else ())

    @classmethod
    def fit(
        cls,
        table: FlowTable,
        rows: npt.NDArray[np.int64],
        *,
        protocol: bool = True,
        drop_constant: bool = True,
        drop_correlated: float | None = 0.99,
        best: int | None = None,
        scale: Kind = "minmax",
    ) -> Preprocessing:
        """Choose features and fit their ranges on the training rows.

        protocol: add it one-hot, unless no training row has one.  drop_correlated: of two features
        whose |r| is above it the later one goes.  best: keep so many, by their mutual information
        with attack or benign.  TrainingError when rows hold NaN (see `clean`) or no feature is left.
        """
        values = table.values[rows]
        _refuse_missing(table, values)
        gone: dict[str, str] = {}
        kept = np.arange(len(table.features))
        if drop_constant:
            varied = np.ptp(values, axis=0) > 0
            gone |= {table.features[i]: "constant" for i in kept[~varied]}
            kept = kept[varied]
        if drop_correlated is not None:
            kept = _uncorrelated(table.features, values, kept, drop_correlated, gone)
        if best is not None and best < len(kept):
            kept = _informative(table.features, values, kept, table.attack[rows], best, gone)
        if not len(kept):
            raise TrainingError("every feature is constant in the training rows; give more data")
        return cls(
            features=tuple(table.features[i] for i in kept),
            protocol=protocol and bool((table.protocol[rows] >= 0).any()),
            scale=scale,
            columns=Columns.fit(values[:, kept], scale),
            report=gone,
        )

    def transform(
        self, table: FlowTable, rows: npt.NDArray[np.int64] | None = None
    ) -> npt.NDArray[np.float32]:
        """(n, D) float32 in [0, 1] of the chosen rows, or of all.

        What lies beyond the ranges of training is clipped; a missing value becomes 0 before scaling.
        TrainingError names what the table lacks.
        """
        place = {name: i for i, name in enumerate(table.features)}
        lacking = [NAME_OF[name] for name in self.features if name not in place]
        if self.protocol and not (table.protocol >= 0).any():
            lacking.append("Protocol")
        if lacking:
            raise TrainingError(
                f"{', '.join(table.files[:3])}: lacks {', '.join(lacking)}, which this model was fitted with;"
                " give data that has it, or fit without"
            )
        chosen = [place[name] for name in self.features]
        count = len(table) if rows is None else len(rows)
        out = np.empty((count, len(self.names)), np.float32)
        for start in range(0, count, _ROWS):
            part = slice(start, start + _ROWS) if rows is None else rows[start : start + _ROWS]
            block = table.values[part][:, chosen]
            np.nan_to_num(block, copy=False, nan=0.0)
            self.columns.apply(block, self.scale)
            out[start : start + len(block), : len(chosen)] = block
            if self.protocol:
                out[start : start + len(block), len(chosen) :] = _one_hot(table.protocol[part])
        return out

    def lines(self) -> list[str]:
        """What was kept and what went, as plain text, a line each."""
        groups: dict[str, list[str]] = {}
        for name, reason in self.report.items():
            groups.setdefault(reason, []).append(NAME_OF[name])
        protocol = ", protocol one-hot" if self.protocol else ", no protocol"
        head = f"{len(self.features)} features kept{protocol}; {len(self.report)} left out"
        return [head, *(f"  {reason}: {', '.join(names)}" for reason, names in groups.items())]

    def to_json(self) -> dict[str, Any]:
        return {
            "features": list(self.features),
            "protocol": self.protocol,
            "scale": self.scale,
            "columns": self.columns.to_json(),
            "left_out": dict(self.report),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Preprocessing:
        """The inverse of `to_json`, exactly.  ValueError, by name, for anything else."""
        features, protocol, scale = data.get("features"), data.get("protocol"), data.get("scale")
        if not isinstance(features, list) or not all(isinstance(name, str) for name in features):
            raise ValueError("features is no list of names")
        strange = [name for name in features if name not in FEATURES]
        if strange:
            raise ValueError(f"unknown features: {', '.join(strange)}")
        if len(set(features)) != len(features) or not features:
            raise ValueError("features are none or named twice")
        if not isinstance(protocol, bool):
            raise ValueError("protocol is neither true nor false")
        if scale not in ("minmax", "log-minmax"):
            raise ValueError(f"unknown scale: {scale!r}")
        columns, left_out = data.get("columns"), data.get("left_out", {})
        if not isinstance(columns, Mapping) or not isinstance(left_out, Mapping):
            raise ValueError("columns or left_out is no mapping")
        ranges = Columns.from_json(columns)
        if len(ranges.low) != len(features):
            raise ValueError(f"{len(ranges.low)} ranges for {len(features)} features")
        return cls(tuple(features), protocol, scale, ranges, {str(k): str(v) for k, v in left_out.items()})


def _refuse_missing(table: FlowTable, values: npt.NDArray[np.float32]) -> None:
    if not len(values):
        raise TrainingError(f"{', '.join(table.files[:3])}: no flow to train on; give more data")
    sound = np.isfinite(values).all(axis=0)
    if not sound.all():
        name = NAME_OF[table.features[int(np.argmin(sound))]]
        raise TrainingError(
            f"{', '.join(table.files[:3])}: NaN or an infinity in {name}; clean the data first"
        )


def _uncorrelated(
    names: tuple[str, ...],
    values: npt.NDArray[np.float32],
    kept: npt.NDArray[np.int64],
    limit: float,
    gone: dict[str, str],
) -> npt.NDArray[np.int64]:
    """The features that remain when the later of each pair above the limit went, earlier ones first."""
    r = np.abs(_correlations(values, kept))
    chosen: list[int] = []
    for i in range(len(kept)):
        with_ = next((j for j in chosen if r[i, j] > limit), None)
        if with_ is None:
            chosen.append(i)
        else:
            gone[names[kept[i]]] = f"|r| above {limit:g} with {NAME_OF[names[kept[with_]]]}"
    return kept[chosen]


def _correlations(values: npt.NDArray[np.float32], kept: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Pearson's r of each pair, block by block in float64; 0 for a constant one."""
    mean = values[:, kept].mean(axis=0, dtype=np.float64)
    products = np.zeros((len(kept), len(kept)))
    for start in range(0, len(values), _ROWS):
        block = values[start : start + _ROWS][:, kept] - mean
        products += block.T @ block
    spread = np.sqrt(np.diag(products))
    spread[spread == 0] = np.inf
    return products / spread / spread[:, None]


def _informative(
    names: tuple[str, ...],
    values: npt.NDArray[np.float32],
    kept: npt.NDArray[np.int64],
    attack: npt.NDArray[np.bool_],
    best: int,
    gone: dict[str, str],
) -> npt.NDArray[np.int64]:
    """The `best` features by mutual information with the label, in their own order."""
    from sklearn.metrics import mutual_info_score

    information = []
    for i in kept:
        edges = np.unique(np.quantile(values[:, i], np.linspace(0, 1, _BINS + 1)[1:-1]))
        information.append(mutual_info_score(attack, np.searchsorted(edges, values[:, i], side="left")))
    order = np.argsort(-np.array(information), kind="stable")
    gone |= {
        names[kept[i]]: f"not among the {best} that tell most of the label" for i in np.sort(order[best:])
    }
    return kept[np.sort(order[:best])]


def _one_hot(protocol: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    """(n, 4); a row of an unknown protocol is all 0."""
    out = np.zeros((len(protocol), len(PROTOCOLS)), np.float32)
    place = np.full(len(protocol), _OTHER)
    for number, where in _NUMBERS.items():
        place[protocol == number] = where
    known = np.flatnonzero(protocol >= 0)
    out[known, place[known]] = 1
    return out
