"""`ids-train fit --records`: a bundle for the daemon, from flow records of labelled captures."""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.training.cli.options import FitProgress, load_tensorflow, need, need_tensorflow_backend
from models.training.cli.records import LabelledWindows, read_windows
from models.training.cli.searching import found_best

if TYPE_CHECKING:
    from models.network import NetworkSpec
    from models.training.checkpoints import Checkpoints
    from models.training.windows.fitting import Model
    from models.training.windows.network_fit import Options


#: Below so many steps of the optimizer a network has hardly begun to learn.
_FEW_STEPS = 300


def fit_windows(args: argparse.Namespace) -> None:
    """Fit, calibrate and save; prints what it does.  Raises what `main` tells of."""
    from models.bundle_store import name_for, place_for
    from models.training.checkpoints import Checkpoints
    from models.training.windows.fitting import network_spec
    from models.training.windows.network_fit import Options
    from models.training.windows.searching import changed, with_point

    # What would fail after an hour is tried now, and TensorFlow is not loaded to say that a path is wrong.
    need("tensorflow")
    need_tensorflow_backend("a fit on --records")
    place, args.name = place_for(args.out), name_for(args.out, args.name)
    best = found_best(args, "windows")
    point = best.point if best else {}
    usual = network_spec(), Options(seed=args.seed, epochs=args.epochs)
    spec, options = with_point(*usual, point)
    read = read_windows(args)
    print(read.told())
    training = {
        **read.about,
        "seed": args.seed,
        "epochs": args.epochs,
        "folds": args.folds,
        **changed(*usual, point),
    }
    partial = place.with_name(place.name + ".partial")
    checkpoints = Checkpoints(partial, training)
    if checkpoints.resumed:
        print(f"going on with {partial}")
    try:
        _fit_and_save(args, place, read, spec, options, checkpoints, training)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{partial} has what is done; the same command goes on there") from None
    checkpoints.remove()
    print(f"wrote {args.out}")


def _fit_and_save(
    args: argparse.Namespace,
    place: Path,
    read: LabelledWindows,
    spec: NetworkSpec,
    options: Options,
    checkpoints: Checkpoints,
    training: dict[str, Any],
) -> None:
    from models.calibration import counted_interval, threshold_for
    from models.training.windows.fitting import fit_model, threshold_folds

    collector = read.collector
    folds = threshold_folds(collector.labels, args.folds, args.seed)
    if (folds < 0).any():
        print("too few origins to leave one out: the threshold comes from benign captures, left out in turn")
    steps = args.epochs * -(-len(collector.training_set()) // options.batch_size)
    if steps < _FEW_STEPS:
        print(f"few windows: the optimizer takes {steps} steps; more --windows or --epochs give it more")
    load_tensorflow()
    benign = np.array([not label.attack for label in collector.labels])
    highest = np.full(len(benign), -np.inf)
    names = [f"fold {fold + 1} of {folds.max() + 1}" for fold in range(folds.max() + 1)]
    with FitProgress([*names, "all captures"], args.epochs) as shown:
        for fold, name in enumerate(names):
            chosen, key = np.flatnonzero((folds == fold) & benign), f"fold-{fold}"
            if (scores := checkpoints.result(key)) is None:
                model = fit_model(
                    collector, folds != fold, spec, options, shown.of(name), checkpoint=checkpoints.of(key)
                )
                scores = _highest(model, read, chosen)
                checkpoints.keep(key, scores)
            highest[chosen] = scores
            shown.done(name)
        threshold = threshold_for(highest[benign], args.share)
        everything = np.ones(len(benign), bool)
        model = fit_model(
            collector, everything, spec, options, shown.of("all captures"), checkpoint=checkpoints.of("all")
        )
        shown.done("all captures")
    count = int(benign.sum())
    low, high = counted_interval(int((highest[benign] > threshold).sum()))
    print(
        f"threshold {threshold:.4f}: {args.share:.1%} of {count} benign captures out of training"
        f" (95 % interval {low / count:.1%} to {min(high / count, 1):.1%})"
    )
    _save(args, place, model, threshold, training)


def _highest(model: Model, read: LabelledWindows, chosen: np.ndarray) -> list[float]:
    """The highest decision on each of the chosen captures; windows are made again, to hold few at a time."""
    from models.training.windows.dataset import capture_windows
    from models.training.windows.fitting import Predictor, decisions

    predict, found = Predictor(model), []
    for i in chosen:
        label = read.collector.labels[i]
        capture = capture_windows(label, read.reader.again(label))
        assert capture is not None  # it is in the collector because it had windows
        logits, families = predict(capture.windows)
        found.append(float(decisions(capture, model.calibration(0.0), logits, families).max()))
    return found


def _save(
    args: argparse.Namespace, place: Path, model: Model, threshold: float, training: dict[str, Any]
) -> None:
    from models.bundle import save_bundle
    from models.evidence import FAMILIES
    from models.training.convert import convert

    save_bundle(
        place,
        name=args.name,
        meter=args.meter,
        spec=model.spec,
        scaling=model.scaling,
        calibration=model.calibration(threshold),
        families=FAMILIES,
        weights=model.weights,
        tflite=convert(model.spec, model.weights),
        training=training,
        metrics={
            "benign_share_allowed": args.share,
            "loss": [round(entry["loss"], 6) for entry in model.history],
        },
        created=args.created or dt.date.today().isoformat(),
    )
