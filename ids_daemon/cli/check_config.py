"""`ids-daemon check-config`: is the configuration right, and what is in force?"""

from __future__ import annotations

import argparse

import yaml

from ids_daemon.cli.options import Subcommands, add_command, add_config, configuration

_DESCRIPTION = """\
Check the configuration and say nothing but "ok" when it is right.  Every problem is one line with
file, line, key and remedy, and the exit code is 2.

Values come from flags, IDS_SECTION__KEY in the environment (as in IDS_DETECTOR__METER=native), the
file, and the defaults, in this order.
"""


def add(commands: Subcommands) -> None:
    parser = add_command(commands, "check-config", "check the configuration", _DESCRIPTION, check_config)
    add_config(parser)
    parser.add_argument(
        "--effective", action="store_true", help="print the whole configuration in force, defaults included"
    )


def check_config(options: argparse.Namespace) -> int:
    config = configuration(options, compile_filter=True)
    if options.effective:
        print(yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True), end="")
    else:
        print("ok")
    return 0
