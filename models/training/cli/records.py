"""Options of the commands that read flow records of labelled captures, or else DATA, and the reading."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.training.cli.options import DEFAULT_WINDOWS, at_least, progress, seconds

if TYPE_CHECKING:
    from models.training.windows.dataset import Collector
    from models.training.windows.record_folder import RecordReader


def add_captures(group: Any) -> list[argparse.Action]:
    """--records and --labels with how captures are taken, into a group of a parser's; the options added."""
    return [
        group.add_argument("--records", type=Path, help="folder of flow records of captures"),
        group.add_argument(
            "--labels",
            type=Path,
            help="who attacked whom and when: YAML or JSON lines, see `fit --help`",
        ),
        group.add_argument(
            "--meter", default="native", choices=("native", "cicflowmeter"), help="what metered the records"
        ),
        group.add_argument(
            "--folds", type=at_least(2), default=5, help="parts that origins are dealt into (default 5)"
        ),
        group.add_argument(
            "--cut",
            type=seconds,
            metavar="SECONDS",
            help="cut benign captures into pieces of this length, each a capture of its own",
        ),
    ]


def add_records(group: Any) -> list[argparse.Action]:
    """What `add_captures` adds, and how much of it is learned from."""
    return [
        *add_captures(group),
        group.add_argument(
            "--windows",
            type=at_least(1),
            default=DEFAULT_WINDOWS,
            help=f"windows of a capture and class to learn from at most (default {DEFAULT_WINDOWS})",
        ),
    ]


def on_records(
    args: argparse.Namespace, of_records: Sequence[argparse.Action], of_data: Sequence[argparse.Action]
) -> bool:
    """Whether the command is given flow records, and not DATA.

    Ends with usage for both or none of them, and for options that belong to the other.
    """
    if bool(args.data) == bool(args.records):
        args.parser.error("give either DATA, labelled flows, or --records with --labels")
    if args.records and args.labels is None:
        args.parser.error("--records needs --labels")
    others, owner = (of_data, "DATA") if args.records else (of_records, "--records")
    for option in others:
        if getattr(args, option.dest) != option.default:
            args.parser.error(f"{option.option_strings[0]} goes with {owner}")
    return bool(args.records)


@dataclass(frozen=True, slots=True)
class LabelledWindows:
    """Windows drawn from labelled captures, and where from."""

    collector: Collector
    reader: RecordReader
    about: dict[str, Any]  #: hashes, counts and what the draw hangs on but its seed, as JSON

    def told(self) -> str:
        """What was read, in a line; and another where an attack is not where its label says."""
        text = (
            f"{self.collector.windows} windows of {len(self.collector.labels)} captures;"
            f" {len(self.reader.missing)} without records"
        )
        if missed := self.collector.missed:
            text += (
                f"\nwarning: no flow lies between the sides and in the span that a label names in"
                f" {', '.join(missed[:3])}{' and others' if missed[3:] else ''} ({len(missed)} in all):"
                " nothing is learned from them; are the addresses right, and the times UTC?"
            )
        return text


def read_windows(args: argparse.Namespace) -> LabelledWindows:
    """The windows that the options of `add_records` name, drawn by `args.seed`; raises TrainingError."""
    from models.errors import TrainingError
    from models.training.windows.dataset import collect
    from models.training.windows.label_file import labels_hash, read_labels
    from models.training.windows.record_folder import RecordReader

    labels = read_labels(args.labels)
    reader = RecordReader(args.records, args.meter)
    if args.cut:
        labels = list(reader.cut(labels, args.cut))
    collector = collect(progress(labels, "windows"), reader.read, seed=args.seed, limit=args.windows)
    if len(reader.missing) == len(labels):
        raise TrainingError(
            f"{args.records}: holds the records of none of the {len(labels)} labelled captures;"
            f" {args.records / labels[0].path}.parquet was looked for, and so on"
        )
    about = {
        "labels_sha256": labels_hash(args.labels),
        "records_sha256": reader.digest(),
        "captures": len(collector.labels),
        "windows": collector.windows,
    }
    if args.cut:
        about["cut_s"] = args.cut
    if args.windows != DEFAULT_WINDOWS:
        about["windows_a_capture"] = args.windows
    return LabelledWindows(collector, reader, about)
