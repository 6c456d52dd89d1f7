"""ids-train: the offline trainer's commands."""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from capture.columns import FLOW_DTYPE
from capture.records import ExtraMissing, FlowFileError, read_records
from models.errors import BundleError, TrainingError
from models.quiet import no_remarks

DEFAULT_EPOCHS = 10


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; 0 done, 1 the data cannot be read, 2 wrong use or a missing package."""
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        args.run(args)
    except ModuleNotFoundError as error:
        print(f"ids-train: {error.name} is missing: pip install 'ids-daemon[train]'", file=sys.stderr)
        return 2
    except ExtraMissing as error:
        print(f"ids-train: {error}", file=sys.stderr)
        return 2
    except (TrainingError, BundleError, FlowFileError, OSError) as error:
        print(f"ids-train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("ids-train: interrupted, nothing was written", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ids-train", description="Train the model of ids-daemon.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    fit = commands.add_parser(
        "fit",
        help="fit a bundle from flow records and labels",
        description="Fit a bundle from the flow records of labelled captures.  For every capture PATH of the"
        " label file the records are read from RECORDS/PATH.parquet, as written by"
        " `ids-daemon flows CAPTURE --records FILE.parquet`.  The threshold comes from captures"
        " whose origin the scoring network has not seen.",
    )
    fit.add_argument("--records", type=Path, required=True, help="folder of flow records")
    fit.add_argument(
        "--labels", type=Path, required=True, help="JSONL: path, kind, origin, family, attackers, ..."
    )
    fit.add_argument("--out", type=Path, required=True, help="folder of the bundle; replaced when it is one")
    fit.add_argument(
        "--meter", default="native", choices=("native", "cicflowmeter"), help="what metered the records"
    )
    fit.add_argument("--name", help="name of the bundle (default: that of the folder)")
    fit.add_argument(
        "--share", type=_share, default=0.015, help="benign captures that may alarm (default 0.015)"
    )
    fit.add_argument("--epochs", type=_at_least(1), default=DEFAULT_EPOCHS)
    fit.add_argument("--seed", type=_at_least(0), default=1)
    fit.add_argument("--folds", type=_at_least(2), default=5)
    fit.add_argument("--created", default=None, help="date in the manifest (default: today)")
    fit.set_defaults(run=_fit)
    return parser


def _at_least(lowest: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"{text} is no whole number from {lowest} on")
        return int(text)

    return number


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"{text} is no share: from 0 to below 1")
    return share


def _fit(args: argparse.Namespace) -> None:
    from models.bundle import place_for, save_bundle
    from models.evidence import FAMILIES
    from models.training.dataset import CaptureWindows, collect
    from models.training.labels import labels_hash, read_labels

    # What would fail after an hour is tried now, and TensorFlow is not loaded to say that a path is wrong.
    if importlib.util.find_spec("tensorflow") is None:
        raise ModuleNotFoundError(name="tensorflow")
    place_for(args.out)
    labels = read_labels(args.labels)
    reader = RecordReader(args.records, args.meter)

    with no_remarks():
        import tensorflow

        tensorflow.config.list_physical_devices()  # looks for drivers, and complains of none

    from models.training.convert import convert
    from models.training.fitting import (
        Predictor,
        assign_folds,
        decisions,
        fit_model,
        network_spec,
        threshold_for,
    )
    from models.training.network_fit import Options

    captures: list[CaptureWindows] = []
    collector = collect(_progress(labels, "windows"), reader.read, captures.append, args.seed)
    if len(reader.missing) == len(labels):
        raise TrainingError(
            f"{args.records}: holds the records of none of the {len(labels)} labelled captures;"
            f" {args.records / labels[0].path}.parquet was looked for, and so on"
        )
    print(
        f"{collector.windows} windows of {len(collector.labels)} captures;"
        f" {len(reader.missing)} without records"
    )
    spec, options = network_spec(), Options(seed=args.seed, epochs=args.epochs)
    folds = assign_folds(collector.labels, args.folds, args.seed)
    attack = np.array([label.attack for label in collector.labels])
    highest = np.full(len(captures), -np.inf)
    for fold in range(args.folds):
        print(f"fold {fold + 1} of {args.folds}")
        model = fit_model(collector, folds != fold, spec, options, print)
        predict = Predictor(model)
        for i in np.flatnonzero((folds == fold) & ~attack):
            logits, families = predict(captures[i].windows)
            highest[i] = decisions(captures[i], model.calibration(0.0), logits, families).max()
    threshold = threshold_for(highest[~attack], args.share)
    print(f"threshold {threshold:.4f}: {args.share:.1%} of {(~attack).sum()} benign captures out of training")
    print("all captures")
    model = fit_model(collector, np.ones(len(captures), bool), spec, options, print)
    save_bundle(
        args.out,
        name=args.name or args.out.name,
        meter=args.meter,
        spec=model.spec,
        scaling=model.scaling,
        calibration=model.calibration(threshold),
        families=FAMILIES,
        weights=model.weights,
        tflite=convert(model.spec, model.weights),
        training={
            "labels_sha256": labels_hash(args.labels),
            "records_sha256": reader.digest(),
            "captures": len(captures),
            "windows": collector.windows,
            "seed": args.seed,
            "epochs": args.epochs,
            "folds": args.folds,
        },
        metrics={
            "benign_share_allowed": args.share,
            "loss": [round(entry["loss"], 6) for entry in model.history],
        },
        created=args.created or dt.date.today().isoformat(),
    )
    print(f"wrote {args.out}")


class RecordReader:
    """Flow records of captures from a folder of Parquet files."""

    def __init__(self, folder: Path, meter: str) -> None:
        if not folder.is_dir():
            raise TrainingError(
                f"{folder}: no such folder; make it with `ids-daemon flows CAPTURE --records`"
            )
        self._folder, self._meter = folder, meter
        self._hash = hashlib.sha256()
        self.missing: list[str] = []

    def read(self, label: Any) -> np.ndarray:
        """The records of a capture; an empty array where there is no file, counted in `missing`."""
        path = self._folder / f"{label.path}.parquet"
        if path.exists():
            records = read_records(path, self._meter)
        else:
            self.missing.append(label.path)
            records = np.zeros(0, FLOW_DTYPE)
        self._hash.update(label.path.encode() + b"\0" + records.tobytes())
        return records

    def digest(self) -> str:
        """SHA-256 over the paths and records read so far, in order."""
        return self._hash.hexdigest()


def _progress(items: Sequence[Any], what: str) -> Any:
    from rich.console import Console
    from rich.progress import track

    return track(items, description=what, console=Console(stderr=True), disable=not sys.stderr.isatty())
