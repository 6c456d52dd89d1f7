"""`ids-train compare`."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.training.cli.data import add_data
from models.training.cli.options import Subcommands, at_least, check_out, need


def add(commands: Subcommands) -> None:
    """The parser of `compare`."""
    compare = commands.add_parser(
        "compare",
        help="fit several systems on the same splits: the paper's Table 1",
        description="Fit the CNN-LSTM, SVM, random forest, deep autoencoder and 1-NN on the same random"
        " splits of labelled flows, and write Table 1 with the paper's figures beside, as a report. Every fit"
        " is kept in OUT/results.jsonl; the same command goes on where it was stopped.",
    )
    add_data(compare)
    compare.add_argument("--out", type=Path, required=True, help="folder of the report and the results")
    compare.add_argument("--all", action="store_true", help="also the systems that the paper builds on")
    compare.add_argument("--systems", help="only these, by name, with commas between")
    compare.add_argument("--shuffles", type=at_least(1), default=10, help="random splits (default 10)")
    compare.add_argument(
        "--protocol",
        choices=("text", "matrix", "both"),
        default="both",
        help="text: duplicates dropped, 70/15/15; matrix: duplicates kept, 70/30 (default both)",
    )
    compare.add_argument(
        "--scale",
        choices=("minmax", "log-minmax"),
        default="minmax",
        help="features to [0, 1] as they are, as the paper has it (default), or of their logarithm",
    )
    compare.set_defaults(run=_compare)


def _compare(args: argparse.Namespace) -> None:
    from models.training.systems.registry import BASE, SYSTEMS, chosen

    names = args.systems.split(",") if args.systems else list(SYSTEMS if args.all else BASE)
    entries = chosen(names)
    for package in ("matplotlib", "scipy", *(entry.package for entry in entries)):
        need(package)

    from models.training.cli.compare_flows import compare_flows
    from models.training.paper.comparing import JOURNAL

    check_out(args.out, JOURNAL)
    compare_flows(args, entries)
