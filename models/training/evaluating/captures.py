"""Captures judged by what scores host windows: a saved bundle, or networks that saw no capture of an origin.

An attack is found when something is decided, above the threshold, at a window that holds its flows.  A
benign capture is a false alarm when it is at any of its windows.  Whether an alert would name the right
address is judged by `./dev bench detection`, which is stricter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from models.bundle import Bundle
from models.calibration import threshold_for
from models.detector import Detector
from models.errors import TrainingError
from models.network import NetworkSpec
from models.training.evaluating.scored import Scored
from models.training.flows.table import BENIGN as BENIGN_NAME
from models.training.flows.table import NO_TIME
from models.training.windows.dataset import ATTACK, BENIGN, UNCLEAR, CaptureWindows, Collector
from models.training.windows.fitting import Predictor, assign_folds, decisions, fit_model
from models.training.windows.labels import CaptureLabel
from models.training.windows.network_fit import Options

Floats = npt.NDArray[np.float64]
Log = Callable[[str], None]


def judged(label: CaptureLabel) -> bool:
    """Whether a capture tells anything: benign, or an attack that flows can show and that is located."""
    return not label.attack or (label.in_scope and label.located)


def by_bundle(bundle: Bundle, captures: Sequence[CaptureWindows]) -> list[Scored]:
    """All captures by a saved model, which is taken not to have seen any of them."""
    detector = Detector(bundle, "litert")
    decided = []
    for capture in captures:
        logits, families = detector.score(capture.windows.rows, capture.windows.counters)
        decided.append(
            decisions(capture, bundle.calibration, logits.astype(np.float64), families.astype(np.float64))
        )
    return scored(captures, decided, float(bundle.calibration["threshold"]), bundle.name, "all of it")


def by_unseen_origins(
    collector: Collector,
    captures: Sequence[CaptureWindows],
    *,
    folds: int,
    spec: NetworkSpec,
    options: Options,
    share: float,
    log: Log,
) -> list[Scored]:
    """Every capture by a network that saw none of its origin, and by a threshold that did not either.

    collector: has taken `captures`, in this order.  share: benign captures that may alarm, among those of
    the other folds, by which each fold's threshold is set.  TrainingError where a fold has no benign capture
    of another fold to set it by.
    """
    labels = collector.labels
    fold = assign_folds(labels, folds, options.seed)
    attack = np.array([label.attack for label in labels])
    decided: dict[int, Floats] = {}
    histories = {}

    def epochs(epoch: int, losses: dict[str, float]) -> None:
        log(f"epoch {epoch}: " + ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items()))

    for number in np.unique(fold).tolist():
        log(f"fold {number + 1} of {folds}")
        model = fit_model(collector, fold != number, spec, options, epochs)
        histories[number] = model.history
        predict = Predictor(model)
        for i in np.flatnonzero(fold == number):
            decided[i] = decisions(captures[i], model.calibration(0.0), *predict(captures[i].windows))
    highest = np.array([decided[i].max() for i in range(len(captures))])
    found = []
    for number in np.unique(fold).tolist():
        here, others = np.flatnonzero(fold == number), ~attack & (fold != number)
        if not others.any():
            raise TrainingError(
                "all benign captures are in one fold: label some of two origins at least, or take fewer folds"
            )
        found += scored(
            [captures[i] for i in here],
            [decided[i] for i in here],
            threshold_for(highest[others], share),
            "CNN-LSTM and counters",
            _named(number, {labels[i].origin for i in here}),
            histories[number],
        )
    return sorted(found, key=lambda one: one.group)


def scored(
    captures: Sequence[CaptureWindows],
    decided: Sequence[Floats],
    threshold: float,
    system: str,
    test: str,
    history: list[dict[str, float]] | None = None,
) -> list[Scored]:
    """The same decisions as captures and as windows: two groups of one test each.

    Windows that hold a little of an attack are in neither class and left out, as are captures that are not
    `judged`.  Of a capture with several attacks the benign windows count once.
    """
    names = _families(one.label for one in captures)
    told = [(one, scores) for one, scores in zip(captures, decided, strict=True) if judged(one.label)]
    # An attack without a window of its own is not found by any threshold.
    lowest = min((float(scores.min()) for _, scores in told), default=0.0) - 1.0
    whole: list[tuple[int, float]] = []
    label, score, time = [], [], []
    seen: set[tuple[str, tuple[int, int] | None]] = set()
    for one, scores in told:
        code = names.index(_family(one.label))
        mine = scores[one.truth == ATTACK] if code else scores
        whole.append((code, float(mine.max(initial=lowest))))
        kept = one.truth != UNCLEAR
        source = one.label.path, one.label.piece
        if source in seen:
            kept &= one.truth != BENIGN
        seen.add(source)
        label.append(np.where(one.truth[kept] == ATTACK, code, 0))
        score.append(scores[kept])
        time.append(one.windows.time_ns[kept])

    def group(unit: str, label: Sequence[int] | npt.NDArray, score: object, time: object) -> Scored:
        return Scored(
            test=test, group=unit, system=system, labels=names, label=np.asarray(label, np.int64),
            time=np.asarray(time, np.int64), scores=np.asarray(score, np.float64), threshold=threshold,
            fitted_on=0, leaked=None, history=history or [], unit=unit,
        )  # fmt: skip

    return [
        group("captures", [c for c, _ in whole], [s for _, s in whole], np.full(len(whole), NO_TIME)),
        group("windows", _joined(label), _joined(score), _joined(time)),
    ]


def _joined(parts: Sequence[npt.NDArray]) -> npt.NDArray:
    return np.concatenate(parts) if parts else np.empty(0)


def _families(labels: Iterable[CaptureLabel]) -> tuple[str, ...]:
    return (BENIGN_NAME, *sorted({_family(one) for one in labels if one.attack}))


def _family(label: CaptureLabel) -> str:
    return (label.family or "of no known family") if label.attack else BENIGN_NAME


def _named(fold: int, origins: set[str]) -> str:
    """A fold by its origins, where they are few enough to read."""
    told = ", ".join(sorted(origins)) if len(origins) <= 3 else f"{len(origins)} origins"
    return f"fold {fold + 1}: {told}"
