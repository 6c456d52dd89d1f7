"""What is found on networks never seen: five folds by origin, nested thresholds, every system in one run.

    ./dev bench detection --corpus DIR [--out DIR] [--foldings 1,2,3] [--systems all] [--confirm]

DIR holds labelled captures and manifest.jsonl (path, kind, origin, family, attackers, victims,
attack_start, attack_end, in_scope).  Every capture is scored by models that have seen no capture
of its origin.  A threshold marked `nested` is taken for each fold from the benign captures of the
other folds, as a user would get it; a swept one is set on the captures it is judged on.

named: share of the attacks in scope of which some window above the threshold, within 120 s of the
labelled span, belongs to the wanted host or has it as its most frequent counterpart.
disturbed: share of the benign captures (those with an IP flow) with any window above the threshold.
A folding is one way to deal the origins into five folds; figures are means over the foldings, with
the lowest and highest in brackets, because which origins fall together moves them by some points.
`--systems all` adds the ablation: the shipped system with something taken out, refitted.
With --confirm the first folding is done again by `ids-daemon replay`, see tests/bench/confirm.py.

What is done is kept in OUT/runs.jsonl; the same command goes on where it was broken off.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

from models.calibration import threshold_for
from models.evidence import FAMILIES
from models.training.cli.options import DEFAULT_EPOCHS
from models.training.windows.fitting import Model
from models.training.windows.label_file import labels_hash, read_labels
from models.training.windows.network_fit import Options
from tests.bench.confirm import replay_folds, summary
from tests.bench.corpus import meter_corpus
from tests.bench.detecting.corpora import load
from tests.bench.detecting.judging import MARKS, SLACK_S, Result, by_family, figures, table
from tests.bench.detecting.runs import Runs, run_all
from tests.bench.detecting.systems import SHIPPED, SYSTEMS, USUAL, System


def main() -> None:
    args = _arguments()
    labels = read_labels(args.corpus / "manifest.jsonl")
    meter_corpus(args.corpus, labels, args.out / "records")
    runs = Runs(
        args.out / "runs.jsonl",
        {
            "labels": labels_hash(args.corpus / "manifest.jsonl"),
            "folds": args.folds,
            "seed": args.seed,
            "epochs": args.epochs,
        },
    )
    corpus = load(labels, args.out / "records", args.seed)
    options = Options(seed=args.seed, epochs=args.epochs)
    keep = partial(_save_fold, args) if args.confirm else None
    run_all(runs, corpus, args.systems, args.foldings, args.folds, options, keep)
    results = [runs.result(corpus, args.systems, folding, args.folds) for folding in args.foldings]
    print(table(results, [system.name for system in args.systems]))
    if SHIPPED.name in results[0].rows:
        for mark in MARKS:
            families = by_family(results[0], SHIPPED.name, mark)
            print(f"\nnamed by family at {mark:.1%}, {SHIPPED.name}: {families}")
    report = [_report(folding, result, args) for folding, result in zip(args.foldings, results, strict=True)]
    (args.out / "report.json").write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")
    if args.confirm:
        print("\nBy `ids-daemon replay`:")
        for mark in MARKS:
            print(summary(replay_folds(args.corpus, labels, report[0], mark, args.out, SLACK_S), mark))


def _arguments() -> argparse.Namespace:
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
    parser.add_argument(
        "--systems",
        type=_systems,
        default=_systems(",".join(USUAL)),
        metavar="KEY,...",
        help=f"all, or some of {', '.join(system.key for system in SYSTEMS)} (default: {','.join(USUAL)})",
    )
    parser.add_argument("--confirm", action="store_true", help="replay every capture of the first folding")
    args = parser.parse_args()
    if args.confirm and SHIPPED not in args.systems:
        parser.error(f"--confirm replays the system {SHIPPED.key}: name it among --systems")
    return args


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _systems(text: str) -> list[System]:
    if text == "all":
        return list(SYSTEMS)
    by_key = {system.key: system for system in SYSTEMS}
    if unknown := [key for key in text.split(",") if key not in by_key]:
        raise argparse.ArgumentTypeError(f"{unknown[0]} is none of {', '.join(by_key)}")
    return [by_key[key] for key in text.split(",")]


def _save_fold(args: argparse.Namespace, fold: int, model: Model) -> None:
    from models.bundle import save_bundle
    from models.training.convert import convert

    save_bundle(
        args.out / f"folding{args.foldings[0]}-fold{fold}",
        name=f"fold{fold}",
        meter="native",
        spec=model.spec,
        scaling=model.scaling,
        calibration=model.calibration(0.0),
        families=FAMILIES,
        weights=model.weights,
        tflite=convert(model.spec, model.weights),
        training={"folding": args.foldings[0], "fold": fold, "seed": args.seed},
        metrics={},
        created="1970-01-01",
    )


def _report(folding: int, result: Result, args: argparse.Namespace) -> dict[str, Any]:
    """The figures, and what a confirmation by the real command needs: folds and their thresholds."""
    report: dict[str, Any] = {
        "folding": folding,
        "fold_of_origin": {x.origin: int(f) for x, f in zip(result.labels, result.folds, strict=True)},
        "figures": {row: {str(mark): figures(result, row, mark) for mark in MARKS} for row in result.rows},
    }
    if SHIPPED.name in result.rows:
        (shipped,) = result.rows[SHIPPED.name]
        report["thresholds"] = {
            str(mark): [
                threshold_for(shipped.highest[result.benign & (result.folds != fold)], mark)
                for fold in range(args.folds)
            ]
            for mark in MARKS
        }
    return report


if __name__ == "__main__":
    main()
