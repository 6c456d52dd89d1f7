"""Attacks that no capture shows: benign windows of which one counter is far beyond the usual.

A network that has seen three tunnels in DNS learns those three.  What the calibrated counters
know besides, that a value which no benign capture reaches is an attack, it can be taught with
windows of this kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.evidence import FAMILIES, ROLES
from models.scaling import Scaling
from models.training.windows.dataset import ATTACK, BENIGN, TrainingSet
from models.training.windows.network_fit import Arrays
from models.training.windows.rows import WindowRows
from models.window_columns import COUNTER_NAMES

_EACH = 500  #: windows of a counter
_USUAL = 0.01  #: from the value on that this share of benign captures reaches


@dataclass(frozen=True, slots=True)
class Exaggerated:
    """Windows made from benign ones, raw."""

    rows: WindowRows  #: (W, N, F), on the table of those
    counters: npt.NDArray[np.float32]  #: (W, C)
    family: npt.NDArray[np.int32]  #: (W,) index of FAMILIES

    def arrays(self, scaling: Scaling, beside: Arrays) -> Arrays:
        """Scaled, as attacks that weigh as much together as those of `beside`, which they are made of."""
        count = len(self.family)
        whole = float(beside.weight[beside.label > 0].sum())
        return Arrays(
            rows=WindowRows(beside.rows.table, self.rows.index),
            counters=scaling.transform_counters(self.counters),
            label=np.ones(count, np.float32),
            family=self.family,
            weight=np.full(count, whole / max(count, 1), np.float32),
            offset=np.zeros(count, np.float32),
        )


def exaggerate(
    data: TrainingSet,
    weight: npt.NDArray[np.float64],
    calibration: Sequence[Mapping[str, Any]],
    seed: int,
) -> Exaggerated:
    """Windows drawn from the benign ones of `data` by `weight`, (W,), one counter of each raised.

    It is raised to between the highest value that benign captures reach and the highest of all
    attacks, or ten times the former, evenly on a logarithmic scale.
    """
    draw = np.random.default_rng([seed, len(calibration)])
    actors = data.counters[:, COUNTER_NAMES.index("is_actor")] > 0
    windows, counters, families = [], [], []
    for entry in calibration:
        column = COUNTER_NAMES.index(entry["name"])
        may = data.truth == BENIGN
        if entry["role"] is not None:
            may = may & (actors == (entry["role"] == ROLES[0]))
        chosen = np.flatnonzero(may & (weight > 0))
        if not len(chosen):
            continue
        picked = draw.choice(chosen, _EACH, p=weight[chosen] / weight[chosen].sum())
        maxima = np.sort(np.asarray(entry["maxima"], np.float64))[::-1]
        low = max(float(maxima[min(len(maxima) - 1, int(_USUAL * entry["captures"]))]), 1e-3)
        high = max(float(data.counters[data.truth == ATTACK, column].max(initial=0.0)), 10 * low)
        raised = data.counters[picked].copy()
        raised[:, column] = np.exp(draw.uniform(np.log(low), np.log(high), _EACH))
        windows.append(picked)
        counters.append(raised)
        families.append(np.full(_EACH, FAMILIES.index(entry["family"]), np.int32))
    if not windows:
        return Exaggerated(data.rows.take(np.zeros(0, np.int64)), data.counters[:0], np.zeros(0, np.int32))
    rows = data.rows.take(np.concatenate(windows))
    return Exaggerated(rows, np.concatenate(counters), np.concatenate(families))
