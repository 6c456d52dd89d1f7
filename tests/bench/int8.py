"""What 8 bits cost: captures in which the shipped network finds something, in float32 and quantised.

    ./dev bench int8 --records DIR --labels FILE [--bundle DIR]

RECORDS as for `ids-train fit`: the flow records of each labelled capture, as `./dev bench detection`
leaves them.  The ranges of the numbers come from every second capture; all that is told is of the
others.  The evidence, the counters in it included, and the threshold are the bundle's own in both.  A
capture counts as found where any window of it is above the threshold: no figure of detection (the
network has learnt from these captures), but of the difference between two ways to compute it.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.bundle import Bundle, load_bundle
from models.scorer import Scorer
from models.training.convert import BATCH
from models.training.exporting import Examples, to_int8
from models.training.windows.labels import CaptureLabel, read_labels
from models.training.windows.record_folder import RecordReader
from models.windows import Windows

_EXAMPLES = 1 << 15


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench int8", description="Measure what 8 bits cost.")
    parser.add_argument("--records", type=Path, required=True, metavar="DIR")
    parser.add_argument("--labels", type=Path, required=True, metavar="FILE")
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="default: the one that ships")
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.bundle)
    reader = RecordReader(arguments.records, bundle.meter)
    labels = read_labels(arguments.labels)
    flatbuffer, lines = to_int8(bundle, windows_of(bundle, reader, labels[::2]))
    for line in lines:
        print(line)
    show(bundle, replace(bundle, tflite=flatbuffer), reader, labels[1::2])


def windows_of(bundle: Bundle, reader: RecordReader, labels: list[CaptureLabel]) -> Examples:
    """Windows of the captures, at most 64 of each, scaled."""
    rows, counters, attack = [], [], []
    for label in labels:
        for batch in Windows().push(reader.read(label)):
            rows.append(bundle.scaling.transform_rows(batch.rows[:BATCH]))
            counters.append(bundle.scaling.transform_counters(batch.counters[:BATCH]))
            attack += [label.attack] * len(rows[-1])
            break
        if len(attack) > _EXAMPLES:
            break
    inputs = {"rows": np.concatenate(rows), "counters": np.concatenate(counters)}
    return Examples(inputs, np.array(attack))


def show(exact: Bundle, coarse: Bundle, reader: RecordReader, labels: list[CaptureLabel]) -> None:
    """Captures found by either, benign and attacks, and those that only one of them finds."""
    found: dict[bool, list[tuple[bool, bool]]] = {False: [], True: []}
    gaps = []
    for label in labels:
        records = reader.read(label)
        if not len(records):
            continue
        decided = [highest(bundle, records) for bundle in (exact, coarse)]
        if np.isfinite(decided).all():
            gaps.append(abs(decided[0] - decided[1]))
        threshold = float(exact.calibration["threshold"])
        found[label.attack].append((decided[0] > threshold, decided[1] > threshold))
    for attack, what in ((True, "attack"), (False, "benign")):
        one, other = np.array(found[attack]).reshape(-1, 2).T
        print(
            f"{what} captures: {len(one)}; found in float32 {one.sum()}, in 8 bits {other.sum()};"
            f" only in float32 {(one & ~other).sum()}, only in 8 bits {(other & ~one).sum()}"
        )
    print(
        f"highest evidence of a capture: off by {np.mean(gaps):.3g} in the mean, {np.max(gaps):.3g} at most"
    )


def highest(bundle: Bundle, records: np.ndarray) -> float:
    """The highest evidence in a capture, as the daemon would compute it."""
    return max(
        (float(d.max()) for _, d in Scorer(bundle, runtime="litert").decisions(records)), default=-np.inf
    )


if __name__ == "__main__":
    main()
