"""`ids-train fit DATA`: the paper's network, from labelled flows to a bundle with its report."""

from __future__ import annotations

import argparse
import datetime as dt
import shlex

from models.bundle_store import name_for, place_for
from models.flow_bundle import save_flow_bundle
from models.training.checkpoints import Checkpoints
from models.training.cli.data import read_data
from models.training.cli.flow_options import flow_settings
from models.training.cli.options import FitProgress, load_tensorflow, need, need_tensorflow_backend
from models.training.cli.searching import found_best
from models.training.flows.cleaning import clean
from models.training.flows.reading import need_both
from models.training.flows.table import FlowTable
from models.training.paper.comparing import digest, summary
from models.training.paper.flow_fit import FlowFit, Settings, fit_flows
from models.training.report import Report
from models.training.report.cells import plain
from models.training.searching import Best


def fit_from_flows(args: argparse.Namespace) -> None:
    """Read, clean, fit, test and save; prints what it does.  Raises what `main` tells of."""
    for package in ("tensorflow", "sklearn", "matplotlib", "scipy"):
        need(package)
    need_tensorflow_backend("a bundle, which has a LiteRT file,")
    place, name = place_for(args.out), name_for(args.out, args.name)
    best = found_best(args, "flows")
    settings = flow_settings(args, best)
    table, read = read_data(args)
    need_both(table)
    cleaned, cleaning = clean(table, drop_duplicates=settings.cut != "matrix")
    told = [*read.lines(), *cleaning.lines(), *_unlike(best, settings, digest(cleaned))]
    print("\n".join(told))
    # Made before the fit, so that a place where nothing can be written is told of now.
    partial = place.with_name(place.name + ".partial")
    checkpoints = Checkpoints(partial, {"data": digest(cleaned), "settings": settings.to_dict()})
    if checkpoints.resumed:
        print(f"going on with {partial}")
    load_tensorflow()
    try:
        with FitProgress(["network"], settings.options.epochs) as bars:
            fitted = fit_flows(
                cleaned,
                settings,
                checkpoint=checkpoints.of("network"),
                log=print,
                on_batch=bars.within("network"),
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{partial} has what is done; the same command goes on there") from None
    print("\n".join(fitted.parts.preprocessing.lines()))
    print(f"threshold {fitted.threshold:.4f}, of the validation part")
    print(f"test part: {summary(fitted.test)}")
    _save(args, name, settings, cleaned, fitted, told)
    # Only now: what was fitted is still there when the bundle could not be written.
    checkpoints.remove()
    print(f"wrote {args.out}")


def _unlike(best: Best | None, settings: Settings, data: str) -> list[str]:
    """What makes the test part one that the sizes of a search were chosen with."""
    if best is None:
        return []
    if best.data != data:
        return ["warning: the search was on other data: flows that chose its sizes may be judged here"]
    cut = {name: best.base[name] for name in ("cut", "seed")}
    if cut != {name: settings.to_dict()[name] for name in cut}:
        return [
            f"warning: the search cut the flows by {cut['cut']} and seed {cut['seed']}: flows that chose its"
            " sizes are judged here"
        ]
    return []


def _save(
    args: argparse.Namespace,
    name: str,
    settings: Settings,
    table: FlowTable,
    fitted: FlowFit,
    told: list[str],
) -> None:
    from models.training.convert import convert_flows

    created = args.created or dt.date.today().isoformat()
    report = _report(args, settings, table, fitted, told, created)
    counts = fitted.test
    save_flow_bundle(
        args.out,
        name=name,
        preprocessing=fitted.parts.preprocessing.to_json(),
        spec=fitted.spec,
        weights=fitted.weights,
        threshold=fitted.threshold,
        classes=table.labels,
        training={
            "data_sha256": digest(table),
            "files": list(table.files),
            "flows": len(table),
            "settings": settings.to_dict(),
            "split": fitted.parts.split.name,
            "epochs": len(fitted.history),
        },
        # A share of nothing is no number, and null in JSON.
        metrics=plain(
            {
                "confusion": {name: getattr(counts, name) for name in ("tn", "fp", "fn", "tp")},
                "accuracy": counts.accuracy,
                "precision": counts.precision,
                "recall": counts.recall,
                "f1": counts.f1,
                "false_alarm_rate": counts.false_alarm_rate,
                "leaked": fitted.parts.split.leaked,
            }
        ),
        tflite=convert_flows(fitted.spec, fitted.weights),
        created=created,
        calibration={"threshold_from": "highest F1 of the validation part"},
        report_files=report.files(),
    )


def _report(
    args: argparse.Namespace,
    settings: Settings,
    table: FlowTable,
    fitted: FlowFit,
    told: list[str],
    created: str,
) -> Report:
    from models.training.evaluating.account import PROTOCOLS, write_account
    from models.training.evaluating.scored import Scored
    from models.training.report.plots import accuracy_and_loss

    split = fitted.parts.split
    report = Report("A model for single flows", split.name, date=created, command=_command(args))
    report.text("What was read", "")
    report.listing([*told, *fitted.parts.preprocessing.lines()])
    report.table(
        "Sizes and options",
        ["name", "value"],
        [[k, str(v)] for k, v in {**fitted.spec.to_dict(), **settings.to_dict()["options"]}.items()],
    )
    report.figure(
        "Accuracy and loss",
        "By epoch, of the training and the validation part.",
        accuracy_and_loss(fitted.history),
    )
    report.data("history", fitted.history)
    rows = split.test
    scored = Scored(
        split.name, "the test part", "CNN-LSTM", table.labels, table.label[rows].astype("int64"),
        table.time[rows], fitted.scores, fitted.threshold, len(split.train), split.leaked, fitted.history,
    )  # fmt: skip
    write_account(
        report, PROTOCOLS["no-leaks" if settings.cut == "time" else "random"], [scored], local_rate=0.001
    )
    return report


def _command(args: argparse.Namespace) -> str:
    """The command as it was given, in so far as it changes the result."""
    return shlex.join(["ids-train", *args.words])
