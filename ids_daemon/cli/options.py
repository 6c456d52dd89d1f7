"""Options that several commands share, and the configuration they make."""

from __future__ import annotations

import argparse
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ids_daemon.config import Config
from ids_daemon.configfile import DEFAULT_FILE, load
from ids_daemon.errors import ConfigError

Subcommands = Any  # argparse keeps the type of add_subparsers' result to itself


def add_command(
    commands: Subcommands,
    name: str,
    help_line: str,
    description: str,
    command: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    """A subcommand's parser; its options follow."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help_line,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(command=command)
    return parser


def check_files(captures: Sequence[str], outputs: Mapping[str, str | None]) -> None:
    """ConfigError where an output would overwrite a capture or another output, or to read a pipe twice.

    outputs: what it is to its path, None where it is not asked for.
    """
    if captures.count("-") > 1:
        raise ConfigError(["standard input (-) is named twice; it can be read once"])
    taken = {_identity(path): f"the capture {path}" for path in captures if path != "-"}
    for what, path in outputs.items():
        if path is None or _is_special(path):
            continue
        if other := taken.get(_identity(path)):
            raise ConfigError([f"{what}: {path} is {other} already; name another file"])
        taken[_identity(path)] = f"the file of {what}"


def flow_file(*endings: str) -> Callable[[str], str]:
    """The type of an argument that names a flow file."""

    def name(path: str) -> str:
        if not path.lower().endswith(endings):
            raise argparse.ArgumentTypeError(f"{path}: give a name that ends in {' or '.join(endings)}")
        return path

    return name


def _identity(path: str) -> object:
    """Equal for two paths of one file, there or not."""
    try:
        status = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino


def _is_special(path: str) -> bool:
    """A terminal, pipe or /dev/null takes what comes."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        metavar="FILE",
        help=f"configuration (default: {DEFAULT_FILE} where it exists, else the built-in defaults)",
    )


def add_meter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--meter",
        choices=("native", "cicflowmeter"),
        help="how packets become flows: the fast built-in meter, or the Python package cicflowmeter "
        "(some thousand packets a second)",
    )
    parser.add_argument(
        "--decapsulate",
        action="store_true",
        default=None,
        help="meter what is inside GRE, VXLAN and IP in IP instead of the tunnels",
    )


def add_detector(parser: argparse.ArgumentParser) -> None:
    add_meter(parser)
    parser.add_argument("--model", metavar="DIR", help="model bundle (default: the one that ships)")
    parser.add_argument(
        "--runtime",
        choices=("auto", "litert", "tensorflow"),
        help="what computes the network; auto takes TensorFlow only where a GPU is visible",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), help="where TensorFlow computes it")


def configuration(options: argparse.Namespace, *, compile_filter: bool = False) -> Config:
    """The configuration in force, with the flags this command has; see `configfile.load`."""
    interfaces = getattr(options, "interface", None)
    flags = {
        "detector.meter": getattr(options, "meter", None),
        "detector.model": getattr(options, "model", None),
        "detector.runtime": getattr(options, "runtime", None),
        "detector.device": getattr(options, "device", None),
        "flow.capacity": getattr(options, "capacity", None),
        "flow.decapsulate": getattr(options, "decapsulate", None),
        "capture.interfaces": interfaces or None,
    }
    return load(options.config, flags, compile_filter=compile_filter)
