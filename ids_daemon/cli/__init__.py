"""The command `ids-daemon`, one file a subcommand.

Errors are told here, once, as one line on standard error with an exit code: 0 done, 1 something
could not be read or written to its end, 2 usage or configuration.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence

from capture import CaptureError, ExtraMissing, FlowFileError
from ids_daemon import __version__
from ids_daemon.cli import bundle, check_config, flows, replay, run, tail
from ids_daemon.cli.console import tell
from ids_daemon.errors import ConfigError, IdsError

DONE, FAILED, USAGE = 0, 1, 2

_COMMANDS = (replay, run, flows, tail, check_config, bundle)

_DESCRIPTION = """\
Network intrusion detection: packets become flows, flows become windows of a host's behaviour, a
neural network scores them, and attacks are told as incidents, a few lines each.

  ids-daemon replay capture.pcap      what is in this capture?
  ids-daemon run -i eth0              watch an interface
  ids-daemon tail                     read the alerts of the running service
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    if sys.stdout is None:  # started with it closed, as by `>&-`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (for the life of the process)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an ASCII terminal is no reason to fail
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        return USAGE
    try:
        code: int = options.command(options)
        sys.stdout.flush()
        return code
    except ConfigError as error:
        for line in error.lines:
            tell(line)
        return USAGE
    except ExtraMissing as error:
        tell(str(error))
        return USAGE
    except (CaptureError, FlowFileError, IdsError) as error:
        tell(str(error))
        return FAILED
    except BrokenPipeError:  # whoever read our output has gone
        _let_go_of_stdout()
        return 128 + signal.SIGPIPE
    except OSError as error:
        # Captures, outputs and settings are told of above, by name; what is left is standard output.
        tell(f"{error.filename or 'standard output'}: cannot be written: {error.strerror or error}")
        _let_go_of_stdout()
        return FAILED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _let_go_of_stdout() -> None:
    """What is still unwritten goes nowhere; Python would complain again when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ids-daemon",
        description=_DESCRIPTION,
        epilog="`ids-daemon COMMAND --help` explains a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ids-daemon {__version__}")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for module in _COMMANDS:
        module.add(commands)
    return parser
