"""The face of a system to compare, and what is told about each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.errors import TrainingError
from models.training.epochs import Bools, Floats, History, Log

Scores = npt.NDArray[np.float64]
Part = tuple[Floats, Bools]  #: (n, D) features in [0, 1] and (n,) whether a flow is an attack


class System(Protocol):
    """Something that learns from labelled flows which are attacks."""

    threshold: float  #: a flow is called an attack when its score is above

    def fit(self, x: Floats, y: Bools, validation: Part | None, seed: int, log: Log) -> History:
        """Learn from (n, D) features in [0, 1] and (n,) truth.

        The same data and seed give the same system on one machine type.  Gives the learning curve, an entry
        an epoch, empty for what knows no epochs.  Raises TrainingError for data that nothing can be
        learned from.
        """

    def scores(self, x: Floats) -> Scores:
        """(n,), higher for more malicious."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a paper claims, as shares."""

    accuracy: float
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Entry:
    """A system of the registry."""

    name: str  #: as options and files have it
    title: str
    whose: str  #: authors and year
    sizes: str  #: what it is, with every size
    source: str  #: where the sizes are from
    ours: str  #: what of it is not in that source
    paper: Figures | None  #: Table 1 of the paper on the full CICIDS2017
    make: Callable[[Sequence[str]], System]  #: from the names of the D features
    package: str  #: what has to be installed for it


def check_part(x: Floats, y: Bools) -> None:
    """TrainingError unless both classes are there and every feature is a number."""
    if not len(y) or y.all() or not y.any():
        kind = "attacks" if len(y) and y.all() else "benign flows" if len(y) else "nothing"
        raise TrainingError(f"training data: {kind} only; a system learns from benign flows and attacks")
    if x.shape[1] == 0:
        raise TrainingError("training data: no feature is left")
    if not np.isfinite(x).all():
        raise TrainingError("training data: a feature is not finite; clean the flows first")
