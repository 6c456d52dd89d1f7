"""What the commands of ids-train share: kinds of options, bars, and what is looked for and tried early."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from models.errors import TrainingError
from models.quiet import no_remarks

if TYPE_CHECKING:
    from rich.progress import Progress

DEFAULT_EPOCHS = 10
DEFAULT_WINDOWS = 60  #: of a capture and class, see models.training.windows.dataset.A_CAPTURE

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


def share_above_0(text: str) -> float:
    """The type of an option that takes a share, above 0 and below 1."""
    value = share(text)
    if not value:
        raise argparse.ArgumentTypeError(f"{text} is no share above 0 and below 1")
    return value


def seconds(text: str) -> float:
    """The type of an option that takes a length of time above 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds above 0")
    return value


def need(package: str) -> None:
    """ModuleNotFoundError, which `main` turns into the pip line, without loading what takes seconds."""
    if importlib.util.find_spec(package) is None:
        raise ModuleNotFoundError(name=package)


def need_tensorflow_backend(what: str) -> None:
    """TrainingError where Keras is told to run on something else, which is better known before a fit."""
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend != "tensorflow":
        raise TrainingError(f"{what} needs Keras on TensorFlow, not on {backend}: unset KERAS_BACKEND")


def check_out(folder: Path, *more: str) -> None:
    """TrainingError where no report can be written, which is better known before hours of fitting.

    more: names of other files that are written there.  Leaves nothing behind, so that a command that fails
    later has made no empty folder.
    """
    from models.training.report.page import DATA, PAGE

    if folder.exists() and not folder.is_dir():
        raise TrainingError(f"{folder}: is a file; name a folder for the report")
    absent = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        for path in (folder / name for name in (PAGE, DATA, *more)):
            if path.exists():
                path.open("ab").close()
    except OSError as error:
        raise TrainingError(
            f"{error.filename or folder}: cannot be written ({error.strerror}); name another folder for the"
            " report"
        ) from None
    finally:
        for one in absent:
            with suppress(OSError):
                one.rmdir()


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


class FitProgress:
    """Bars of a command's fits and their epochs where somebody watches; else a line when a fit is done."""

    def __init__(self, fits: Sequence[str], epochs: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._watched = console.is_terminal
        self._bars: Progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not self._watched,
        )
        self._epochs = epochs
        self._all = self._bars.add_task("fits", total=len(fits), loss="")
        self._of = {name: self._bars.add_task(name, total=epochs, loss="", start=False) for name in fits}
        self._last: dict[str, str] = {}

    def __enter__(self) -> FitProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def of(self, fit: str) -> Callable[[int, dict[str, float]], None]:
        """What `fit_network` logs to."""
        self._bars.start_task(self._of[fit])

        def log(epoch: int, losses: dict[str, float]) -> None:
            self._last[fit] = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
            self._bars.update(self._of[fit], completed=epoch, loss=self._last[fit])

        return log

    def within(self, fit: str) -> Callable[[int, int, int], None]:
        """What is told of each batch: epochs done, batches of the next one done, and all of its batches."""
        self._bars.start_task(self._of[fit])

        def show(epoch: int, batch: int, batches: int) -> None:
            done = "" if batch == batches else f"batch {batch:,} of {batches:,}"
            self._bars.update(self._of[fit], completed=epoch + batch // batches, loss=done)

        return show

    def done(self, fit: str) -> None:
        """A fit is over, now or before."""
        self._bars.update(self._of[fit], completed=self._epochs)
        self._bars.advance(self._all)
        if not self._watched:
            print(": ".join(filter(None, (fit, self._last.get(fit, "done before")))), flush=True)
