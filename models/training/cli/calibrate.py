"""`ids-train calibrate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.training.cli.options import Subcommands


def add(commands: Subcommands) -> None:
    """The parser of `calibrate`."""
    calibrate = commands.add_parser(
        "calibrate",
        help="set a bundle's threshold by benign flows",
        description="Set a bundle's threshold by benign traffic of the network that it is to watch, for a"
        " budget of false alarms, and write it as a new bundle.  FLOWS of a bundle for the daemon are records"
        " as written by `ids-daemon flows CAPTURE --records FILE.parquet`, in the order of their times; what"
        " counts is the highest evidence of each host in each clock hour.  FLOWS of a bundle for single flows"
        " are a data set, of which the benign flows are taken.",
    )
    calibrate.add_argument("bundle", metavar="BUNDLE", help="folder or zip, or the name of one that ships")
    calibrate.add_argument("flows", metavar="FLOWS", type=Path, nargs="+", help="benign traffic")
    calibrate.add_argument(
        "--budget",
        type=budget,
        required=True,
        metavar="B",
        help="false alarms allowed: 3/day, or a share of host hours (or flows) such as 0.001 or 0.1%%",
    )
    calibrate.add_argument("--out", type=Path, required=True, help="folder of the new bundle")
    calibrate.add_argument("--name", help="its name (default: that of the folder)")
    calibrate.add_argument(
        "--home",
        action="append",
        metavar="NETWORK",
        help="network that is inside, as windows.home_networks has it (default: private addresses)",
    )
    calibrate.set_defaults(run=_calibrate)


def budget(text: str) -> str:
    """The type of --budget."""
    from models.calibration import Budget

    try:
        Budget.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _calibrate(args: argparse.Namespace) -> None:
    from models.any_bundle import load_any
    from models.bundle import Bundle
    from models.bundle_files import SIGNATURE, open_files
    from models.bundle_store import name_for, place_for
    from models.calibration import Budget
    from models.training.calibrating import calibrate_flows, calibrate_windows

    place_for(args.out)
    name = name_for(args.out, args.name)
    bundle, allowed = load_any(args.bundle), Budget.parse(args.budget)
    signed = SIGNATURE in open_files(bundle.path).names()
    if isinstance(bundle, Bundle):
        text = calibrate_windows(bundle, args.flows, allowed, args.out, name, args.home)
    else:
        text = calibrate_flows(bundle, args.flows, allowed, args.out, name)
    print(f"{text}\nwrote {args.out}")
    if signed:
        print("the signature does not hold for it: `ids-train sign` signs it anew")
