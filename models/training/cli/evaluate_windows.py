"""`ids-train evaluate --records`: captures judged by a saved bundle, or by what has not seen their origin."""

from __future__ import annotations

import argparse
import datetime as dt
import shlex
import sys

from models.any_bundle import find
from models.bundle import Bundle, load_bundle
from models.errors import TrainingError
from models.training.cli.options import DEFAULT_EPOCHS, load_tensorflow, need, progress
from models.training.evaluating import captures as judging
from models.training.evaluating.account import PROTOCOLS, table_of_tests, write_account
from models.training.evaluating.naming import judge, summary, write_verdicts
from models.training.evaluating.scored import Scored
from models.training.intervals import share
from models.training.report import Report
from models.training.windows.dataset import CaptureWindows, Collector, collect
from models.training.windows.label_file import read_labels
from models.training.windows.record_folder import RecordReader


def evaluate_windows(args: argparse.Namespace) -> None:
    """Judge and write the report; prints the table of tests.  Raises what `main` tells of."""
    bundle = _checked(args)
    labels = read_labels(args.labels)
    reader = RecordReader(args.records, bundle.meter if bundle else args.meter)
    captures: list[CaptureWindows] = []
    if args.cut:
        labels = list(reader.cut(labels, args.cut))
    collector = collect(progress(labels, "windows"), reader.read, captures.append, args.seed)
    if not captures:
        raise TrainingError(
            f"{args.records}: no window in the records of the {len(labels)} labelled captures;"
            f" {args.records / labels[0].path}.parquet was looked for, and so on"
        )
    scored = judging.by_bundle(bundle, captures) if bundle else _by_unseen_origins(args, collector, captures)
    report = Report(
        f"Evaluation: {bundle.name if bundle else args.protocol}",
        f"{len(captures)} captures of {args.labels.name}; protocol {args.protocol}",
        date=args.date or dt.date.today().isoformat(),
        command=_command(args),
    )
    if bundle:
        known = [one.label for one in captures]
        verdicts = list(judge(bundle, progress(known, "findings"), reader.again))
        write_verdicts(report, verdicts)
        for name, count, of in summary(verdicts):
            found = share(count, of)
            print(f"{name}: {count} of {of}, 95 % interval {found.low:.1%} to {found.high:.1%}")
    write_account(report, PROTOCOLS[args.protocol], scored, local_rate=args.local_rate)
    left_out = sum(not judging.judged(one.label) for one in captures)
    report.text(
        "The data",
        f"{collector.windows:,} windows of {len(captures)} captures; {len(reader.missing)} of the"
        f" {len(labels)} labelled ones have no records. {left_out} are not judged: attacks that flows cannot"
        " show, or of which it is not known where they are.",
    )
    report.data("records_sha256", reader.digest())
    report.write(args.out)
    print("\n".join(table_of_tests(scored)))
    print(f"wrote {args.out / 'index.html'}")


def _checked(args: argparse.Namespace) -> Bundle | None:
    """The bundle to judge, if one is; TrainingError for options that do not go together."""
    if not args.records or not args.labels:
        raise TrainingError("captures are judged with --records and --labels, both")
    if args.train or args.test:
        raise TrainingError("--train and --test belong to --protocol cross-set, not to captures")
    if args.protocol == "captures":
        if args.paths:
            raise TrainingError(
                f"{args.paths[0]}: captures fits anew and takes no bundle; as-is judges BUNDLE on --records"
            )
        need("tensorflow")
        return None
    if args.protocol != "as-is":
        raise TrainingError(f"--records go with --protocol as-is or captures, not with {args.protocol}")
    if len(args.paths) != 1:
        raise TrainingError("as-is judges one BUNDLE on --records; captures judges without one")
    return load_bundle(find(args.paths[0]), meter=args.meter)


def _by_unseen_origins(
    args: argparse.Namespace, collector: Collector, captures: list[CaptureWindows]
) -> list[Scored]:
    from models.training.windows.fitting import network_spec
    from models.training.windows.network_fit import Options

    load_tensorflow()
    return judging.by_unseen_origins(
        collector,
        captures,
        folds=args.folds,
        spec=network_spec(),
        options=Options(seed=args.seed, epochs=args.epochs or DEFAULT_EPOCHS),
        share=args.local_rate,
        log=lambda text: print(text, file=sys.stderr, flush=True),
    )


def _command(args: argparse.Namespace) -> str:
    """What writes this report again, apart from where to and its date."""
    words = ["ids-train", "evaluate", *map(str, args.paths), "--protocol", args.protocol]
    words += ["--records", str(args.records), "--labels", str(args.labels), "--meter", args.meter]
    if args.cut:
        words += ["--cut", f"{args.cut:g}"]
    if args.protocol == "captures":
        words += ["--folds", str(args.folds), "--seed", str(args.seed)]
        words += ["--epochs", str(args.epochs or DEFAULT_EPOCHS)]
    return shlex.join([*words, "--local-rate", f"{args.local_rate:g}"])
