"""The command `ids-train`, one file a subcommand.

Errors are told here, once, as one line on standard error with an exit code: 0 done, 1 the data cannot
be read or the model not written, 2 wrong use or a missing package.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from capture.records import ExtraMissing, FlowFileError
from models.errors import BundleError, CalibrationError, PackageMissing, TrainingError
from models.training.cli import calibrate, compare, evaluate, export, fit, inspect, search, sign

_COMMANDS = (fit, search, compare, evaluate, calibrate, inspect, export, sign)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = _parser().parse_args(argv)
    args.words = list(sys.argv[1:] if argv is None else argv)  # what a report says it was made by
    try:
        args.run(args)
        sys.stdout.flush()
    except ModuleNotFoundError as error:
        print(f"ids-train: {error.name} is missing: pip install 'ids-daemon[train]'", file=sys.stderr)
        return 2
    except (ExtraMissing, PackageMissing) as error:
        print(f"ids-train: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read our output has gone
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # nothing is left to complain at the end
        return 128 + signal.SIGPIPE
    except (TrainingError, CalibrationError, BundleError, FlowFileError, OSError) as error:
        for line in str(error).splitlines():  # of a file made by hand, each mistake
            print(f"ids-train: {line}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print(": ".join(["ids-train: interrupted", *map(str, error.args)]), file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ids-train", description="Train the model of ids-daemon.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in _COMMANDS:
        module.add(commands)
    return parser
