"""`ids-train evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.training.cli.data import add_labels
from models.training.cli.options import Subcommands, at_least, check_out, need, share_above_0
from models.training.cli.records import add_captures

PROTOCOLS = ("as-is", "random", "no-leaks", "days", "cross-set", "captures")


def add(commands: Subcommands) -> None:
    """The parser of `evaluate`."""
    evaluate = commands.add_parser(
        "evaluate",
        help="judge a bundle or a way to fit on labelled flows, with a report",
        description="Judge on labelled flows, and write index.html, its figures and report.json.  With"
        " `--protocol as-is` the BUNDLE scores all of DATA.  The other protocols fit anew, so that"
        " what is judged was never seen, and a random forest beside: `random` the paper's split, `no-leaks`"
        " the last of each attack by time, at random without times, near twins on one side, `days`"
        " each day by the others, `cross-set` --train by each --test.  A BUNDLE before DATA then gives the"
        " network's sizes."
        "  With --records and --labels, as of `fit`, a BUNDLE for the daemon is judged on captures:"
        " attacks named with the right hosts, benign captures disturbed; or by `captures` all"
        " captures of an origin by what is fitted on other origins.",
    )
    evaluate.add_argument(
        "paths",
        type=Path,
        nargs="*",
        metavar="BUNDLE | DATA",
        help="a bundle, and files, folders or zips of labelled flows",
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
    add_captures(evaluate.add_argument_group("with --records"))
    evaluate.add_argument(
        "--systems", default="cnn-lstm,random-forest", help="what is fitted (default: %(default)s)"
    )
    evaluate.add_argument("--shuffles", type=at_least(1), default=1, help="of random and no-leaks")
    evaluate.add_argument("--seed", type=at_least(0), default=1, help="of what is fitted")
    evaluate.add_argument("--epochs", type=at_least(1), help="at most, of the CNN-LSTM")
    evaluate.add_argument(
        "--local-rate",
        type=share_above_0,
        default=0.01,
        help="false alarms that a threshold set on benign traffic allows (default %(default)s)",
    )
    evaluate.add_argument(
        "--scale",
        choices=("minmax", "log-minmax"),
        default="minmax",
        help="to [0, 1] as it is (default), or of the logarithm; a BUNDLE has its own",
    )
    add_labels(evaluate)
    evaluate.add_argument("--date", default=None, help="date in the report (default: today)")
    evaluate.set_defaults(run=_evaluate)


def _evaluate(args: argparse.Namespace) -> None:
    for package in ("matplotlib", "sklearn"):
        need(package)
    check_out(args.out)
    if args.records or args.labels or args.cut or args.protocol == "captures":
        from models.training.cli.evaluate_windows import evaluate_windows

        evaluate_windows(args)
    else:
        from models.training.cli.evaluate_flows import evaluate_flows

        evaluate_flows(args)
