"""`ids-train inspect`."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.training.cli.options import Subcommands


def add(commands: Subcommands) -> None:
    """The parser of `inspect`."""
    inspect = commands.add_parser(
        "inspect",
        help="tell what a bundle is",
        description="Tell what a bundle is and what it was made of, and verify the hash of every file.",
    )
    inspect.add_argument("bundle", metavar="BUNDLE", help="folder or zip, or the name of one that ships")
    inspect.add_argument(
        "--key", type=Path, action="append", default=[], help="public key (PEM) that must have signed it"
    )
    inspect.set_defaults(run=_inspect)


def _inspect(args: argparse.Namespace) -> None:
    from models.bundle_text import describe_bundle

    print("\n".join(describe_bundle(args.bundle, args.key)))
