"""What is found on networks never seen: five folds by origin, nested thresholds, four rows.

    ./dev bench detection --corpus DIR [--out DIR] [--foldings 1,2,3] [--confirm]

DIR holds labelled captures and manifest.jsonl (path, kind, origin, family, attackers, victims,
attack_start, attack_end, in_scope).  Every capture is scored by models that have seen no capture
of its origin.  A threshold marked `nested` is taken for each fold from the benign captures of the
other folds, as a user would get it; a swept one is set on the captures it is judged on.

named: share of the attacks in scope of which some window above the threshold, within 120 s of the
labelled span, belongs to the wanted host or has it as its most frequent counterpart.
disturbed: share of the benign captures (those with an IP flow) with any window above the threshold.
A folding is one way to deal the origins into five folds; figures are means over the foldings, with
the lowest and highest in brackets, because which origins fall together moves them by some points.
With --confirm the first folding is done again by `ids-daemon replay`, see tests/bench/confirm.py.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from capture import read_records
from models.calibration import threshold_for
from models.evidence import FAMILIES
from models.training.cli.options import DEFAULT_EPOCHS
from models.training.dataset import ATTACK, CaptureWindows, Collector, TrainingSet, collect, weights
from models.training.fitting import (
    Model,
    Predictor,
    assign_folds,
    decisions,
    evidence_rule,
    fit_model,
    network_spec,
)
from models.training.labels import CaptureLabel, read_labels
from models.training.network_fit import Options
from models.window_columns import ROW_NAMES
from tests.bench.confirm import replay_folds, summary
from tests.bench.corpus import meter_corpus

ROWS = ("counters alone", "CNN-LSTM alone", "CNN-LSTM and counters", "boosting on window summaries")
MARKS = (0.015, 0.05)
SLACK_S = 120.0
SCRIPTED = ("domainator", "allkahra-mqtt")


@dataclass
class Scores:
    """Of one row: the highest decision of each capture, and the highest that names the attack."""

    highest: npt.NDArray[np.float64]
    naming: npt.NDArray[np.float64]


@dataclass
class Result:
    labels: list[CaptureLabel]
    folds: npt.NDArray[np.int64]
    rows: dict[str, Scores] = field(default_factory=dict)

    @property
    def benign(self) -> npt.NDArray[np.bool_]:
        return np.array([not label.attack for label in self.labels])

    @property
    def judged(self) -> npt.NDArray[np.bool_]:
        return np.array([label.attack and label.in_scope and bool(label.wanted) for label in self.labels])


def naming_windows(capture: CaptureWindows) -> npt.NDArray[np.bool_]:
    """Windows whose host or most frequent counterpart is wanted, at the right time."""
    label, windows = capture.label, capture.windows
    wanted = label.wanted.hold(windows.host[:, 0], windows.host[:, 1])
    peers = label.wanted.hold(windows.peers[:, :, 0], windows.peers[:, :, 1])
    for i in np.flatnonzero(peers.any(axis=1) & ~wanted):
        present = windows.flows[i] != 0
        addresses, at, count = np.unique(
            windows.peers[i][present], axis=0, return_index=True, return_counts=True
        )
        top = np.lexsort((addresses[:, 1], addresses[:, 0], -count))[0]
        wanted[i] = peers[i][present][at[top]]
    seconds = windows.time_ns / 1e9
    if label.start_s is not None:
        wanted &= seconds >= label.start_s - SLACK_S
    if label.end_s is not None:
        wanted &= seconds <= label.end_s + SLACK_S
    return wanted


def summaries(rows: np.ndarray, counters: np.ndarray) -> np.ndarray:
    """Newest row, mean, maximum and deviation over the rows, and the counters: what boosting sees."""
    present = ROW_NAMES.index("present")
    count = rows[:, :, present].sum(axis=1, keepdims=True)
    mean = rows.sum(axis=1) / count
    spread = np.sqrt(np.maximum(0, np.square(rows).sum(axis=1) / count - np.square(mean)))
    return np.concatenate([rows[:, -1], mean, rows.max(axis=1), spread, count, counters], axis=1)


def fit_boosting(data: TrainingSet, seed: int):  # type: ignore[no-untyped-def]
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=150, learning_rate=0.08, max_leaf_nodes=15, min_samples_leaf=20, l2_regularization=1.0,
        random_state=seed,
    )  # fmt: skip
    return model.fit(summaries(data.rows, data.counters), data.truth == ATTACK, sample_weight=weights(data))


def load_corpus(args: argparse.Namespace) -> tuple[Collector, list[CaptureWindows]]:
    """Meter what is not metered yet, and make all windows."""
    labels = read_labels(args.corpus / "manifest.jsonl")
    records = args.out / "records"
    meter_corpus(args.corpus, labels, records)
    captures: list[CaptureWindows] = []
    collector = collect(
        labels, lambda label: read_records(records / f"{label.path}.parquet"), captures.append, args.seed
    )
    return collector, captures


def evaluate(
    collector: Collector, captures: list[CaptureWindows], folding: int, args: argparse.Namespace
) -> Result:
    """Score every capture by models that have not seen its origin."""
    result = Result(list(collector.labels), assign_folds(collector.labels, args.folds, folding))
    naming = [naming_windows(capture) for capture in captures]
    for row in ROWS:
        result.rows[row] = Scores(np.full(len(captures), -np.inf), np.full(len(captures), -np.inf))
    spec, options = network_spec(), Options(seed=args.seed, epochs=args.epochs)
    for fold in range(args.folds):
        started = time.monotonic()
        seen = result.folds != fold
        model = fit_model(collector, seen, spec, options)
        alone = fit_model(collector, seen, spec, options, beside_counters=False)
        boosting = None if args.no_boosting else fit_boosting(collector.training_set().of(seen), args.seed)
        _score_fold(model, alone, boosting, captures, naming, np.flatnonzero(~seen), result)
        if args.confirm and folding == args.foldings[0]:
            _save_fold(model, folding, fold, args)
        print(
            f"folding {folding}, fold {fold + 1} of {args.folds}: {time.monotonic() - started:.0f} s",
            flush=True,
        )
    return result


def _score_fold(  # type: ignore[no-untyped-def]
    model: Model,
    alone: Model,
    boosting,
    captures: list[CaptureWindows],
    naming: list[npt.NDArray[np.bool_]],
    chosen: npt.NDArray[np.int64],
    result: Result,
) -> None:
    predict, predict_alone = Predictor(model), Predictor(alone)
    with_counters, without = evidence_rule(model.counters, 0.0), evidence_rule([], 0.0)
    for i in chosen:
        windows = captures[i].windows
        logits, families = predict(windows)
        nothing = np.zeros(len(windows))
        of_row = {
            ROWS[0]: (with_counters, nothing),
            ROWS[1]: (without, predict_alone(windows)[0]),
            ROWS[2]: (with_counters, logits),
        }
        if boosting is not None:
            of_row[ROWS[3]] = (without, boosting.decision_function(summaries(windows.rows, windows.counters)))
        for row, (rule, scores) in of_row.items():
            decided = decisions(captures[i], rule, scores, families)
            result.rows[row].highest[i] = decided.max()
            result.rows[row].naming[i] = decided[naming[i]].max(initial=-np.inf)


def _save_fold(model: Model, folding: int, fold: int, args: argparse.Namespace) -> None:
    from models.bundle import save_bundle
    from models.training.convert import convert

    save_bundle(
        args.out / f"folding{folding}-fold{fold}",
        name=f"fold{fold}",
        meter="native",
        spec=model.spec,
        scaling=model.scaling,
        calibration=model.calibration(0.0),
        families=FAMILIES,
        weights=model.weights,
        tflite=convert(model.spec, model.weights),
        training={"folding": folding, "fold": fold, "seed": args.seed},
        metrics={},
        created="1970-01-01",
    )


def figures(result: Result, row: str, mark: float, without: tuple[str, ...] = ()) -> dict[str, float]:
    """Named and disturbed at a mark, swept and nested, and each origin once."""
    scores = result.rows[row]
    judged = result.judged & np.array([label.origin not in without for label in result.labels])
    swept = threshold_for(scores.highest[result.benign], mark)
    named = np.zeros(len(judged), bool)
    disturbed = np.zeros(len(judged), bool)
    for fold in np.unique(result.folds):
        here = result.folds == fold
        threshold = threshold_for(scores.highest[result.benign & ~here], mark)
        named |= here & judged & (scores.naming > threshold)
        disturbed |= here & result.benign & (scores.highest > threshold)
    origins = sorted({label.origin for label, one in zip(result.labels, judged, strict=True) if one})
    of_origin = np.array([label.origin for label in result.labels])
    return {
        "swept": float(np.mean(scores.naming[judged] > swept)),
        "nested": float(named.sum() / judged.sum()),
        "disturbed": float(disturbed.sum() / result.benign.sum()),
        "origins": float(np.mean([named[judged & (of_origin == o)].mean() for o in origins])),
        "attacks": int(judged.sum()),
    }


def table(results: Sequence[Result]) -> str:
    """The rows at each mark as Markdown."""
    lines = []
    first = results[0]
    for mark in MARKS:
        lines += [
            f"\nAt {mark:.1%} of {first.benign.sum()} benign captures ({first.judged.sum()} attacks in scope,"
            f" {len({x.origin for x in first.labels})} origins, {len(results)} foldings):\n",
            "| | named, nested | disturbed, nested | named, swept | each origin once |"
            " without domainator and allkahra-mqtt |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        for row in ROWS:
            if all(np.isinf(result.rows[row].highest).all() for result in results):
                continue
            cells = []
            for name, without in _CELLS:
                values = [100 * figures(result, row, mark, without)[name] for result in results]
                spread = f" ({min(values):.0f}-{max(values):.0f})" if len(values) > 1 else ""
                cells.append(f"{np.mean(values):.1f} %{spread}")
            lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


_CELLS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("nested", ()),
    ("disturbed", ()),
    ("swept", ()),
    ("origins", ()),
    ("nested", SCRIPTED),
)


def by_family(result: Result, row: str, mark: float) -> str:
    """Captures named of each family with nested thresholds."""
    scores, counts = result.rows[row], {}
    for fold in np.unique(result.folds):
        here = result.folds == fold
        threshold = threshold_for(scores.highest[result.benign & ~here], mark)
        for i in np.flatnonzero(here & result.judged):
            named, of = counts.get(result.labels[i].family, (0, 0))
            counts[result.labels[i].family] = (named + bool(scores.naming[i] > threshold), of + 1)
    return ", ".join(f"{family} {named}/{of}" for family, (named, of) in sorted(counts.items()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("out/detection"))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument(
        "--foldings", type=_numbers, default=[1], metavar="N,...", help="seeds that deal the origins"
    )
    parser.add_argument("--seed", type=int, default=1, help="of draws and networks")
    parser.add_argument("--epochs", type=int, default=DEFAULT_EPOCHS)
    parser.add_argument("--no-boosting", action="store_true", help="leave the slowest row out")
    parser.add_argument("--confirm", action="store_true", help="replay every capture of the first folding")
    args = parser.parse_args()
    collector, captures = load_corpus(args)
    results = [evaluate(collector, captures, folding, args) for folding in args.foldings]
    print(table(results))
    for mark in MARKS:
        print(f"\nnamed by family at {mark:.1%}, {ROWS[2]}: {by_family(results[0], ROWS[2], mark)}")
    report = [_report(folding, result, args) for folding, result in zip(args.foldings, results, strict=True)]
    (args.out / "report.json").write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")
    if args.confirm:
        print("\nBy `ids-daemon replay`:")
        labels = read_labels(args.corpus / "manifest.jsonl")
        for mark in MARKS:
            print(summary(replay_folds(args.corpus, labels, report[0], mark, args.out, SLACK_S), mark))


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _report(folding: int, result: Result, args: argparse.Namespace) -> dict[str, object]:
    """What a confirmation by the real command needs: each origin's fold, each fold's thresholds."""
    highest = result.rows[ROWS[2]].highest
    return {
        "folding": folding,
        "fold_of_origin": {x.origin: int(f) for x, f in zip(result.labels, result.folds, strict=True)},
        "thresholds": {
            str(mark): [
                threshold_for(highest[result.benign & (result.folds != fold)], mark)
                for fold in range(args.folds)
            ]
            for mark in MARKS
        },
        "figures": {row: {str(mark): figures(result, row, mark) for mark in MARKS} for row in ROWS},
    }


if __name__ == "__main__":
    main()
