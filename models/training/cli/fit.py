"""`ids-train fit`."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.training.cli.options import DEFAULT_EPOCHS, DEFAULT_WINDOWS, Subcommands, at_least, seconds, share

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
Fit a bundle from the flow records of labelled captures.  For every capture PATH of the label file the
records are read from RECORDS/PATH.parquet, as written by
`ids-daemon flows CAPTURE --records RECORDS/PATH.parquet`.  The threshold comes from captures whose
origin the scoring network has not seen.
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
        help="fit a bundle from flow records and labels",
        description=_DESCRIPTION,
        epilog=_LABELS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fit.add_argument("--records", type=Path, required=True, help="folder of flow records")
    fit.add_argument(
        "--labels", type=Path, required=True, help="who attacked whom and when: YAML or JSON lines, see below"
    )
    fit.add_argument("--out", type=Path, required=True, help="folder of the bundle; replaced when it is one")
    fit.add_argument(
        "--meter", default="native", choices=("native", "cicflowmeter"), help="what metered the records"
    )
    fit.add_argument("--name", help="name of the bundle (default: that of the folder)")
    fit.add_argument(
        "--share", type=share, default=0.015, help="benign captures that may alarm (default 0.015)"
    )
    fit.add_argument("--epochs", type=at_least(1), default=DEFAULT_EPOCHS)
    fit.add_argument("--seed", type=at_least(0), default=1)
    fit.add_argument("--folds", type=at_least(2), default=5)
    fit.add_argument(
        "--windows",
        type=at_least(1),
        default=DEFAULT_WINDOWS,
        help=f"windows of a capture and class to learn from at most (default {DEFAULT_WINDOWS})",
    )
    fit.add_argument(
        "--cut",
        type=seconds,
        metavar="SECONDS",
        help="cut benign captures into pieces of this length, each a capture for the threshold",
    )
    fit.add_argument("--created", default=None, help="date in the manifest (default: today)")
    fit.set_defaults(run=_fit)


def _fit(args: argparse.Namespace) -> None:
    from models.training.cli.fit_windows import fit_windows

    fit_windows(args)
