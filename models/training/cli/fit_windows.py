"""`ids-train fit --records`: a bundle for the daemon, from flow records of labelled captures."""

from __future__ import annotations

import argparse
import datetime as dt

import numpy as np

from models.errors import TrainingError
from models.training.cli.options import load_tensorflow, need, progress
from models.training.record_folder import RecordReader


def fit_windows(args: argparse.Namespace) -> None:
    """Fit, calibrate and save; prints what it does.  Raises what `main` tells of."""
    from models.bundle import save_bundle
    from models.bundle_store import place_for
    from models.calibration import counted_interval, threshold_for
    from models.evidence import FAMILIES
    from models.training.dataset import CaptureWindows, collect
    from models.training.label_file import labels_hash, read_labels

    # What would fail after an hour is tried now, and TensorFlow is not loaded to say that a path is wrong.
    need("tensorflow")
    place_for(args.out)
    labels = read_labels(args.labels)
    reader = RecordReader(args.records, args.meter)

    load_tensorflow()

    from models.training.convert import convert
    from models.training.fitting import (
        Predictor,
        assign_folds,
        decisions,
        fit_model,
        network_spec,
    )
    from models.training.network_fit import Options

    captures: list[CaptureWindows] = []
    collector = collect(progress(labels, "windows"), reader.read, captures.append, args.seed)
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
    benign = int((~attack).sum())
    low, high = counted_interval(int((highest[~attack] > threshold).sum()))
    print(
        f"threshold {threshold:.4f}: {args.share:.1%} of {benign} benign captures out of training"
        f" (95 % interval {low / benign:.1%} to {min(high / benign, 1):.1%})"
    )
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
