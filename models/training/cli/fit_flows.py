"""`ids-train fit DATA`: the paper's network, from labelled flows to a bundle with its report."""

from __future__ import annotations

import argparse
import datetime as dt
import shlex
import sys
from pathlib import Path
from typing import Any

from models.bundle_store import place_for
from models.errors import TrainingError
from models.flow_bundle import save_flow_bundle
from models.training.cli.data import read_data
from models.training.cli.flow_options import flow_settings
from models.training.cli.options import load_tensorflow, need
from models.training.comparing import digest, summary
from models.training.flow_fit import FlowFit, Settings, fit_flows
from models.training.flows.cleaning import clean
from models.training.flows.reading import need_both
from models.training.flows.table import FlowTable
from models.training.report import Report


def fit_from_flows(args: argparse.Namespace) -> None:
    """Read, clean, fit, test and save; prints what it does.  Raises what `main` tells of."""
    for package in ("tensorflow", "sklearn", "matplotlib", "scipy"):
        need(package)
    place_for(args.out)
    settings = flow_settings(args, _found(args))
    partial = args.out.resolve().with_name(args.out.resolve().name + ".partial")
    _writable(partial)
    table, read = read_data(args)
    need_both(table)
    cleaned, cleaning = clean(table, drop_duplicates=settings.cut != "matrix")
    told = [*read.lines(), *cleaning.lines()]
    print("\n".join(told))
    load_tensorflow()
    with _Bar(settings.options.epochs) as bar:
        try:
            fitted = fit_flows(cleaned, settings, partial=partial, log=bar.say, on_batch=bar.batch)
        except KeyboardInterrupt:
            bar.say(f"stopped; {partial} keeps the last epoch done, and the same command goes on from there")
            raise
    print("\n".join(fitted.parts.preprocessing.lines()))
    print(f"threshold {fitted.threshold:.4f}, of the validation part")
    print(f"test part: {summary(fitted.test)}")
    _save(args, settings, cleaned, fitted, told)
    # Only now: what was fitted is still there when the bundle could not be written.
    _remove(partial)
    print(f"wrote {args.out}")


def _save(
    args: argparse.Namespace, settings: Settings, table: FlowTable, fitted: FlowFit, told: list[str]
) -> None:
    from models.training.convert import convert_flows

    created = args.created or dt.date.today().isoformat()
    report = _report(args, settings, table, fitted, told, created)
    counts = fitted.test
    save_flow_bundle(
        args.out,
        name=args.name or args.out.resolve().name,
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
        metrics={
            "confusion": {name: getattr(counts, name) for name in ("tn", "fp", "fn", "tp")},
            "accuracy": counts.accuracy,
            "precision": counts.precision,
            "recall": counts.recall,
            "f1": counts.f1,
            "false_alarm_rate": counts.false_alarm_rate,
            "leaked": fitted.parts.split.leaked,
        },
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
    report.text("What was read", "\n\n".join([*told, *fitted.parts.preprocessing.lines()]))
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


def _found(args: argparse.Namespace) -> dict[str, Any] | None:
    if args.from_search is None:
        return None
    from models.training.searching import best_of, told

    best = best_of(args.from_search)
    print(f"from the search: {told(best)}")
    return best


def _writable(partial: Path) -> None:
    """TrainingError when nothing can be written beside the bundle, before an hour is spent."""
    try:
        partial.mkdir(parents=True, exist_ok=True)
        probe = partial / "probe"
        probe.write_bytes(b"0" * 4096)
        probe.unlink()
    except OSError as error:
        raise TrainingError(f"{partial}: cannot be written: {error.strerror}; name another --out") from None


def _remove(partial: Path) -> None:
    from models.training.checkpoint import Checkpoint

    Checkpoint(partial, {}).remove()


def _command(args: argparse.Namespace) -> str:
    """The command as it was given, in so far as it changes the result."""
    return shlex.join(["ids-train", *args.words])


class _Bar:
    """Epochs and batches on standard error, where somebody watches; lines on standard output."""

    def __init__(self, epochs: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
        self._bar = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
        self._epochs = self._bar.add_task("epochs", total=epochs)
        self._batches = self._bar.add_task("batches", total=None)

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def batch(self, epoch: int, done: int, batches: int) -> None:
        self._bar.update(self._epochs, completed=epoch + done / batches, description=f"epoch {epoch + 1}")
        self._bar.update(self._batches, completed=done, total=batches)

    def say(self, text: str) -> None:
        print(text, flush=True)
