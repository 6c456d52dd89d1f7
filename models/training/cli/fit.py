"""`ids-train fit`."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.training.cli.options import DEFAULT_EPOCHS, Subcommands, at_least, share


def add(commands: Subcommands) -> None:
    """The parser of `fit`."""
    fit = commands.add_parser(
        "fit",
        help="fit a bundle from flow records and labels",
        description="Fit a bundle from the flow records of labelled captures.  For every capture PATH of the"
        " label file the records are read from RECORDS/PATH.parquet, as written by"
        " `ids-daemon flows CAPTURE --records FILE.parquet`.  The threshold comes from captures"
        " whose origin the scoring network has not seen.",
    )
    fit.add_argument("--records", type=Path, required=True, help="folder of flow records")
    fit.add_argument(
        "--labels", type=Path, required=True, help="JSONL: path, kind, origin, family, attackers, ..."
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
    fit.add_argument("--created", default=None, help="date in the manifest (default: today)")
    fit.set_defaults(run=_fit)


def _fit(args: argparse.Namespace) -> None:
    from models.training.cli.fit_windows import fit_windows

    fit_windows(args)
