"""`ids-train evaluate BUNDLE --records`: a bundle for the daemon on labelled captures."""

from __future__ import annotations

import argparse
import datetime as dt
import shlex
import sys

from models.bundle import load_bundle
from models.errors import TrainingError
from models.training.cli.options import need, progress
from models.training.evaluating.captures import judge, summary, write_captures
from models.training.intervals import share
from models.training.label_file import read_labels
from models.training.record_folder import RecordReader
from models.training.report import Report


def evaluate_windows(args: argparse.Namespace) -> None:
    """Judge and write the report; prints what was counted.  Raises what `main` tells of."""
    need("matplotlib")
    if args.records is None or args.labels is None:
        raise TrainingError("--records and --labels go together: flow records, and who attacked whom in them")
    if len(args.paths) != 1:
        raise TrainingError("--records judges one BUNDLE: name it, and no other data")
    if args.out.exists() and not args.out.is_dir():
        raise TrainingError(f"{args.out}: is a file; name a folder for the report")
    bundle = load_bundle(args.paths[0])
    labels = read_labels(args.labels)
    reader = RecordReader(args.records, bundle.meter)
    if args.cut:
        labels = list(reader.cut(labels, args.cut))
    verdicts = list(judge(bundle, progress(labels, "captures"), reader.read))
    if len(reader.missing) == len(labels):
        raise TrainingError(
            f"{args.records}: holds the records of none of the {len(labels)} labelled captures;"
            f" {args.records / labels[0].path}.parquet was looked for, and so on"
        )
    verdicts = [one for one in verdicts if one.label.path not in set(reader.missing)]
    report = Report(
        f"Evaluation: {bundle.name}",
        f"{len(verdicts)} labels of {args.labels.name}, {len(reader.missing)} more without records",
        date=args.date or dt.date.today().isoformat(),
        command=shlex.join(["ids-train", *sys.argv[1:]]),
    )
    report.text(
        "What was judged",
        "Each capture's records went through the windows, the network and the evidence that the daemon"
        f" scores with, by the bundle's own threshold of {bundle.calibration['threshold']:.4f}."
        "\n\nCaptures that the bundle was fitted on count for little: what it finds in them, it has seen.",
    )
    write_captures(report, verdicts)
    report.write(args.out)
    for name, count, of in summary(verdicts):
        found = share(count, of)
        print(f"{name}: {count} of {of}, 95 % interval {found.low:.1%} to {found.high:.1%}")
    print(f"wrote {args.out / 'index.html'}")
