"""A bundle with the threshold that benign traffic gives for a budget of false alarms."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from capture.records import read_records
from models.bundle import Bundle, with_calibration
from models.calibration import (
    BenignScores,
    Budget,
    HostHours,
    calibrate_threshold,
    covered_days,
    told,
)
from models.errors import CalibrationError
from models.flow_bundle import FlowBundle, with_threshold
from models.home_networks import HOME_NETWORKS
from models.scorer import Scorer
from models.training.flows.reading import read_flows
from models.training.flows.sources import find
from models.training.flows.table import NO_TIME
from models.training.preprocessed import preprocessing_of

_ROWS = 1 << 16  # scored at a time


def calibrate_windows(
    bundle: Bundle,
    records: Sequence[Path],
    budget: Budget,
    out: Path,
    name: str,
    home_networks: Iterable[str] | None = None,
) -> str:
    """Write `bundle` to `out` with the threshold for the records of benign traffic; says what was found.

    The records go through the windows, the network and the evidence that the daemon scores with, one
    file after the other.  Raises CalibrationError where they are too few or not in order of time.
    """
    try:
        scorer = Scorer(
            bundle,
            runtime="litert",
            home_networks=HOME_NETWORKS if home_networks is None else list(home_networks),
        )
    except ValueError as error:  # a network that is none
        raise CalibrationError(str(error)) from None
    hours, last = HostHours(), 0
    for path in records:
        flows = read_records(path, bundle.meter)
        if len(flows) and int(flows["time_ns"][0]) < last:
            raise CalibrationError(
                f"{path}: begins before the records in front of it end: give them in order"
            )
        last = int(flows["time_ns"][-1]) if len(flows) else last
        hours.see(flows["time_ns"])
        for batch, decisions in scorer.decisions(flows):
            hours.add(batch, decisions)
    benign = hours.scores()
    if not len(benign.scores):
        raise CalibrationError(f"{records[0]}: no window falls due in it: give longer traffic")
    before = float(bundle.calibration["threshold"])
    found = calibrate_threshold(benign, budget, before)
    made_of = told(
        budget,
        found,
        benign.items,
        hours=round(hours.days * 24, 2),
        hosts=hours.hosts,
        windows=hours.windows,
        flows_sha256=_hashes(records),
    )
    calibration = {**bundle.calibration, "threshold": found.threshold, "made_of": made_of}
    with_calibration(bundle, out, calibration, name)
    text = found.text(budget, benign.items)
    if found.threshold == before:
        return f"{text}\nit stays: so little traffic does not show that a lower one keeps the budget"
    return f"{text}\nit was {before:.4f}"


def calibrate_flows(bundle: FlowBundle, data: Sequence[Path], budget: Budget, out: Path, name: str) -> str:
    """Write `bundle` to `out` with the threshold for the benign flows of a data set; says what was found."""
    table, _ = read_flows(data, unlabelled="benign")
    benign_rows = np.flatnonzero(~table.attack)
    if not len(benign_rows):
        raise CalibrationError(f"{data[0]}: no benign flow in it: give benign traffic")
    preprocessing = preprocessing_of(bundle)
    scores = np.concatenate(
        [
            bundle.score(preprocessing.transform(table, benign_rows[start : start + _ROWS]))
            for start in range(0, len(benign_rows), _ROWS)
        ]
    )
    times = table.time[benign_rows]
    timed = times != NO_TIME
    days = covered_days(times) if timed.all() else None
    benign = BenignScores(scores, "benign flows", days)
    found = calibrate_threshold(benign, budget)
    made_of = told(
        budget,
        found,
        benign.items,
        **({} if days is None else {"hours": round(days * 24, 2)}),
        flows_sha256=_hashes(data),
    )
    before = bundle.threshold
    with_threshold(bundle, out, found.threshold, {**bundle.calibration, "made_of": made_of}, name)
    return f"{found.text(budget, benign.items)}\nit was {before:.6g}"


def _hashes(paths: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of the content of each file of flows, by name."""
    hashes = {}
    for source in find(paths):
        with source.open() as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
        hashes[source.name] = digest.hexdigest()
    return hashes
