"""Options of the commands that read labelled flows, and the reading with a bar."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.training.flows.read_report import ReadReport
    from models.training.flows.table import FlowTable


def add_data(parser: argparse.ArgumentParser, *, needed: bool = True) -> None:
    """DATA and how its labels are taken.  needed: whether there must be any."""
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs="+" if needed else "*",
        type=Path,
        help="labelled flows of CICIDS2017, CSE-CIC-IDS2018 or CICFlowMeter: CSV, Parquet, folders or zips",
    )
    add_labels(parser)


def add_labels(parser: argparse.ArgumentParser) -> None:
    """How labels are taken, for commands that name their data otherwise."""
    parser.add_argument(
        "--attempted",
        default="benign",
        choices=("benign", "attack", "drop"),
        help="what attacks count as that came to nothing, in the corrected sets (default benign)",
    )
    parser.add_argument(
        "--unlabelled",
        default="refuse",
        choices=("refuse", "benign"),
        help="take flows without a label as benign (default: refuse them)",
    )


def read_data(args: argparse.Namespace, paths: Sequence[Path] | None = None) -> tuple[FlowTable, ReadReport]:
    """Read these paths, or what the options of `add_data` name, with a bar where somebody watches.

    Raises TrainingError.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from models.training.flows.reading import read_flows

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("Reading flows", total=None)
        return read_flows(
            args.data if paths is None else paths,
            attempted=args.attempted,
            unlabelled=args.unlabelled,
            progress=lambda done, everything: bar.update(task, completed=done, total=everything),
        )
