"""What the commands of ids-train share: kinds of options, the progress bar, packages looked for early."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from models.quiet import no_remarks

DEFAULT_EPOCHS = 10

Subcommands = Any  # argparse keeps the type of add_subparsers' result to itself
_Item = TypeVar("_Item")


def at_least(lowest: int) -> Callable[[str], int]:
    """The type of an option that takes whole numbers from `lowest` on."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"{text} is no whole number from {lowest} on")
        return int(text)

    return number


def share(text: str) -> float:
    """The type of an option that takes a share, from 0 to below 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is no share: from 0 to below 1")
    return value


def need(package: str) -> None:
    """ModuleNotFoundError, which `main` turns into the pip line, without loading what takes seconds."""
    if importlib.util.find_spec(package) is None:
        raise ModuleNotFoundError(name=package)


def load_tensorflow() -> None:
    """Load TensorFlow without its remarks on drivers that are not there."""
    with no_remarks():
        import tensorflow

        tensorflow.config.list_physical_devices()  # looks for drivers, and complains of none


def progress(items: Sequence[_Item], what: str) -> Iterable[_Item]:
    """The items, under a progress bar where somebody watches."""
    from rich.console import Console
    from rich.progress import track

    return track(items, description=what, console=Console(stderr=True), disable=not sys.stderr.isatty())
