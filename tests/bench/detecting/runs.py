"""Every system on every fold, a line of JSON for each that is done: what breaks off goes on there."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from models.training.journal import Journal
from models.training.windows.fitting import Model, assign_folds
from models.training.windows.network_fit import Options
from tests.bench.detecting.corpora import Change, Corpus
from tests.bench.detecting.judging import Result, Scores
from tests.bench.detecting.systems import SHIPPED, Fold, System

#: Called with the number of a fold and its model.
Keep = Callable[[int, Model], None]


class Runs:
    """What is done of one setting, in a file.

    setting: all that the figures depend on beside system, folding and fold; lines of another one
        are left alone.
    """

    def __init__(self, path: Path, setting: dict[str, Any]) -> None:
        self._setting = setting
        self._journal = Journal(path, ("setting", "system", "folding", "fold"))

    def captures(self, system: str, folding: int, fold: int) -> dict[str, list[list[float | None]]] | None:
        """What a system decided on a fold's captures, by path; None when it is not done."""
        run = self._journal.get(setting=self._setting, system=system, folding=folding, fold=fold)
        return None if run is None else run["captures"]

    def add(
        self,
        system: str,
        folding: int,
        fold: int,
        captures: dict[str, list[tuple[float, float]]],
        seconds: float,
    ) -> None:
        """Keep what a system decided on a fold's captures, by path."""
        finite = {
            path: [[None if math.isinf(v) else round(v, 6) for v in way] for way in ways]
            for path, ways in captures.items()
        }
        run = {"setting": self._setting, "system": system, "folding": folding, "fold": fold}
        self._journal.add(run | {"seconds": round(seconds, 1), "captures": finite})

    def result(self, corpus: Corpus, systems: Sequence[System], folding: int, folds: int) -> Result:
        """One folding, with the systems that are done on all of its folds."""
        result = Result(list(corpus.labels), assign_folds(corpus.labels, folds, folding))
        place = {label.path: i for i, label in enumerate(corpus.labels)}
        for system in systems:
            done = [self.captures(system.key, folding, fold) for fold in range(folds)]
            if None in done:
                continue
            ways: list[Scores] = []
            for captures in done:
                for path, decided in (captures or {}).items():
                    ways += [Scores.none(len(place)) for _ in range(len(ways), len(decided))]
                    for way, (highest, naming) in zip(ways, decided, strict=True):
                        way.highest[place[path]] = -np.inf if highest is None else highest
                        way.naming[place[path]] = -np.inf if naming is None else naming
            result.rows[system.name] = ways
        return result


def run_all(
    runs: Runs,
    corpus: Corpus,
    systems: Sequence[System],
    foldings: Sequence[int],
    folds: int,
    options: Options,
    keep: Keep | None = None,
) -> None:
    """Whatever is not done, folding by folding; says how long each took.

    keep: takes the models of the shipped system in the first folding, fitted again where they are done.
    """
    for folding in foldings:
        of_capture = assign_folds(corpus.labels, folds, folding)
        changed: tuple[Change | None, Corpus] = (None, corpus)
        for system in systems:
            keeping = keep if system is SHIPPED and folding == foldings[0] else None
            left = [f for f in range(folds) if keeping or runs.captures(system.key, folding, f) is None]
            if left and changed[0] is not system.change:
                changed = (None, corpus)  # the last one's windows are let go before the next are made
                if system.change is not None:
                    changed = (system.change, corpus.changed(system.change, options.seed))
            for fold in left:
                started = time.monotonic()
                take = partial(keeping, fold) if keeping else _let_go
                score = system.fit(Fold(changed[1], of_capture != fold, options, take))
                decided = {corpus.labels[i].path: score(int(i)) for i in np.flatnonzero(of_capture == fold)}
                seconds = time.monotonic() - started
                runs.add(system.key, folding, fold, decided, seconds)
                print(
                    f"folding {folding}, {system.name}, fold {fold + 1} of {folds}: {seconds:.0f} s",
                    flush=True,
                )


def _let_go(model: Model) -> None:
    pass
