"""`ids-train fit`."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.training.cli.data import add_data
from models.training.cli.flow_options import add_flow_options
from models.training.cli.options import DEFAULT_EPOCHS, Subcommands, at_least, share
from models.training.cli.records import add_records, on_records

#: Labels as a user writes them, shown by --help.
EXAMPLE = """\
- path: quiet-hour.pcap
  kind: benign
  origin: office
- path: drill.pcap
  kind: attack
  origin: lab
  family: bruteforce
  attackers: [198.51.100.71]
  victims: [192.168.50.30]
  attack_start: 2026-11-26T02:31:50Z  # or seconds from the capture's start, such as 34.0
  attack_end: 2026-11-26T02:31:53Z
"""

_DESCRIPTION = """\
With --records, fit a bundle for the daemon from the flow records of labelled captures.  For every
capture PATH of the label file the records are read from RECORDS/PATH.parquet, as written by
`ids-daemon flows CAPTURE --records RECORDS/PATH.parquet`.  The threshold comes from captures whose
origin the scoring network has not seen.

With DATA, fit the paper's network for single flows from a data set, which the other commands read and
the daemon does not: clean, cut in parts, scale by the training part, fit, set the threshold on the
validation part, test.

Stopped with Ctrl-C, either leaves OUT.partial, and the same command goes on from there; one with other
settings is refused until it is deleted.
"""

_LABELS = f"""\
labels, in FILE.yaml, an entry for each benign capture and for each attack:

{EXAMPLE}
What no entry names is benign.  origin is the network that a capture is from.  Without attack_start and
attack_end all flows between attackers and victims are of the attack; with one side alone, all of its
flows.  FILE.jsonl has the same keys, an object a line.
"""


def add(commands: Subcommands) -> None:
    """The parser of `fit`."""
    fit = commands.add_parser(
        "fit",
        help="fit a bundle from flow records and labels, or from a data set of flows",
        description=_DESCRIPTION,
        epilog=_LABELS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_data(fit, needed=False)
    fit.add_argument("--out", type=Path, required=True, help="folder of the bundle; replaced when it is one")
    fit.add_argument("--name", help="name of the bundle (default: that of the folder)")
    fit.add_argument(
        "--epochs", type=at_least(1), help=f"at most (default {DEFAULT_EPOCHS} for records, 15 for DATA)"
    )
    fit.add_argument(
        "--seed", type=at_least(0), help="(default 1, or for DATA with --from-search that of the search)"
    )
    fit.add_argument("--created", default=None, help="date in the manifest (default: today)")
    fit.add_argument(
        "--from-search", type=Path, metavar="DIR", help="sizes and options of the best in that `search`"
    )
    records = fit.add_argument_group("with --records")
    of_records = add_records(records)
    of_records.append(
        records.add_argument(
            "--share", type=share, default=0.015, help="benign captures that may alarm (default 0.015)"
        )
    )
    of_data = add_flow_options(fit.add_argument_group("with DATA"))
    fit.set_defaults(run=lambda args: _fit(args, of_records, of_data), parser=fit)


def _fit(args: argparse.Namespace, of_records: list[argparse.Action], of_data: list[argparse.Action]) -> None:
    if not on_records(args, of_records, of_data):
        from models.training.cli.fit_flows import fit_from_flows

        fit_from_flows(args)
        return
    args.epochs = args.epochs or DEFAULT_EPOCHS
    args.seed = 1 if args.seed is None else args.seed

    from models.training.cli.fit_windows import fit_windows

    fit_windows(args)
