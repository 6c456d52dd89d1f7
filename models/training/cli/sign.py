"""`ids-train sign`."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.training.cli.options import Subcommands


def add(commands: Subcommands) -> None:
    """The parser of `sign`."""
    sign = commands.add_parser(
        "sign",
        help="sign a bundle",
        description="Sign a bundle: manifest.sig is written beside its manifest, which holds the hash of"
        " every file.  Make a key with `openssl genpkey -algorithm ed25519 -out KEY`, its public half with"
        " `openssl pkey -in KEY -pubout -out PUBLIC`, and name the public half in detector.trusted_keys.",
    )
    sign.add_argument("bundle", metavar="BUNDLE", type=Path, help="folder of the bundle")
    sign.add_argument("--key", type=Path, required=True, help="private key (PEM)")
    sign.set_defaults(run=_sign)


def _sign(args: argparse.Namespace) -> None:
    from models.any_bundle import load_any
    from models.signing import sign

    name = load_any(args.bundle).name  # what is damaged is not vouched for
    sign(args.bundle, args.key)
    print(f"signed {name}: wrote {args.bundle}/manifest.sig")
