"""Inputs of a bundle's network from files of traffic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from capture.records import read_records
from models.bundle import Bundle
from models.errors import TrainingError
from models.flow_bundle import FlowBundle
from models.training.exporting import Examples
from models.training.flows.reading import read_flows
from models.training.preprocessed import preprocessing_of
from models.windows import Windows

_LIMIT = 1 << 18  # examples kept, spread over the data


def examples_of(bundle: Bundle | FlowBundle, paths: Sequence[Path]) -> Examples:
    """Scaled inputs from flow records (a bundle of windows) or a data set (a bundle of flows).

    Raises TrainingError or FlowFileError for data that gives none.
    """
    if isinstance(bundle, FlowBundle):
        table, _ = read_flows(paths, unlabelled="benign")
        chosen = np.arange(len(table))[:: max(1, len(table) // _LIMIT)]
        x = preprocessing_of(bundle).transform(table, chosen)
        return Examples({"features": x}, table.attack[chosen])
    rows: list[np.ndarray] = []
    counters: list[np.ndarray] = []
    for path in paths:
        for batch in Windows().push(read_records(path, bundle.meter)):
            rows.append(bundle.scaling.transform_rows(bundle.spec.newest(batch.rows)))
            counters.append(bundle.scaling.transform_counters(batch.counters))
            if len(rows) * 512 > _LIMIT:
                break
    if not rows:
        raise TrainingError(f"{paths[0]}: no window falls due in it: give longer traffic")
    return Examples({"rows": np.concatenate(rows), "counters": np.concatenate(counters)})
