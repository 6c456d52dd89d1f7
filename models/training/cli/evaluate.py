"""`ids-train evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.training.cli.options import Subcommands, at_least, seconds, share

PROTOCOLS = ("as-is", "random", "no-leaks", "days", "cross-set")


def add(commands: Subcommands) -> None:
    """The parser of `evaluate`."""
    evaluate = commands.add_parser(
        "evaluate",
        help="judge a bundle or a way to fit on labelled flows, with a report",
        description="Judge on labelled flows, and write index.html, its figures and report.json.  With"
        " `--protocol as-is` the BUNDLE scores all of DATA.  The other protocols fit anew, so that"
        " what is judged was never seen, and a random forest beside: `random` the paper's split, `no-leaks`"
        " the last of each attack by time with near twins on one side, `days` each day by the others,"
        " `cross-set` --train by each --test.  A BUNDLE before DATA then gives the network's sizes."
        "  With --records and --labels a BUNDLE for the daemon is judged on labelled captures: attacks named"
        " with the right hosts, benign captures disturbed.",
    )
    evaluate.add_argument(
        "paths",
        type=Path,
        nargs="*",
        metavar="BUNDLE | DATA",
        help="a bundle of single flows, and files, folders or zips of labelled flows",
    )
    evaluate.add_argument("--out", type=Path, required=True, help="folder of the report")
    evaluate.add_argument("--protocol", choices=PROTOCOLS, default="as-is")
    evaluate.add_argument(
        "--train", type=Path, nargs="+", default=[], metavar="DATA", help="cross-set: what is learned from"
    )
    evaluate.add_argument(
        "--test",
        type=Path,
        nargs="+",
        action="append",
        default=[],
        metavar="DATA",
        help="cross-set: what is judged; again for another set",
    )
    evaluate.add_argument(
        "--systems", default="cnn-lstm,random-forest", help="what is fitted (default: %(default)s)"
    )
    evaluate.add_argument("--shuffles", type=at_least(1), default=1, help="of random and no-leaks")
    evaluate.add_argument("--seed", type=at_least(0), default=1, help="of what is fitted")
    evaluate.add_argument("--epochs", type=at_least(1), help="at most, of the CNN-LSTM")
    evaluate.add_argument(
        "--local-rate",
        type=share,
        default=0.01,
        help="false alarms that a threshold set on local benign flows allows (default %(default)s)",
    )
    evaluate.add_argument(
        "--attempted",
        choices=("benign", "attack", "drop"),
        default="benign",
        help='what "... - Attempted" counts as',
    )
    evaluate.add_argument(
        "--unlabelled",
        choices=("refuse", "benign"),
        default="refuse",
        help="whether flows without a label may count as benign",
    )
    evaluate.add_argument(
        "--records",
        type=Path,
        help="judge a bundle for the daemon instead: folder of flow records, as for fit",
    )
    evaluate.add_argument("--labels", type=Path, help="with --records: YAML or JSON lines, as for fit")
    evaluate.add_argument(
        "--cut", type=seconds, metavar="SECONDS", help="with --records: cut benign captures, as for fit"
    )
    evaluate.add_argument("--date", default=None, help="date in the report (default: today)")
    evaluate.set_defaults(run=_evaluate)


def _evaluate(args: argparse.Namespace) -> None:
    if any(option is not None for option in (args.records, args.labels, args.cut)):
        from models.training.cli.evaluate_windows import evaluate_windows

        evaluate_windows(args)
    else:
        from models.training.cli.evaluate_flows import evaluate_flows

        evaluate_flows(args)
