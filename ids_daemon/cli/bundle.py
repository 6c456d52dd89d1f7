"""`ids-daemon bundle`: what a model bundle is, and whether it is whole."""

from __future__ import annotations

import argparse
from pathlib import Path

from ids_daemon.cli.console import tell
from ids_daemon.cli.options import Subcommands, add_command
from ids_daemon.errors import ConfigError, IdsError

_DESCRIPTION = """\
Look at a model bundle, a folder or a zip; `native` and `cicflowmeter` name the ones that ship.

show tells what it is and what it was made of; verify says nothing but "ok" when it is whole: every
hash is right, LiteRT can run its network, no other file lies in it, and, with --key, that key signed
it.  Exit code 1 when it is not.
"""


def add(commands: Subcommands) -> None:
    parser = add_command(commands, "bundle", "look at a model bundle", _DESCRIPTION, bundle)
    parser.add_argument("action", choices=("show", "verify"))
    parser.add_argument("path", metavar="DIR", help="bundle: a folder or a zip")
    parser.add_argument(
        "--key",
        type=Path,
        action="append",
        default=[],
        metavar="PUBLIC.pem",
        help="public key that must have signed it; may be given more than once",
    )


def bundle(options: argparse.Namespace) -> int:
    import models

    try:
        if options.action == "show":
            print("\n".join(models.describe_bundle(options.path, options.key)))
            return 0
        problems = models.verify_bundle(options.path, options.key)
    except models.PackageMissing as error:
        raise ConfigError([str(error)]) from None
    except models.BundleError as error:
        raise IdsError(str(error)) from None
    for problem in problems:
        tell(problem)
    if not problems:
        print("ok")
    return 1 if problems else 0
