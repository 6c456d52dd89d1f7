"""What a search on flow records fits at a point, and judges it by: see `models.training.searching`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import TrainingError
from models.network import NetworkSpec, Weights
from models.training.report import Column
from models.training.searching import Fitted, Task
from models.training.windows.dataset import ATTACK, Collector, TrainingSet
from models.training.windows.fitting import Captures, Forward, assign_folds, learn_usual
from models.training.windows.network_fit import Arrays, Options, fit_network
from models.window_columns import WINDOW

#: What is tried where nothing else is asked for.
GRID: Mapping[str, tuple[Any, ...]] = {
    "batch_size": (128, 256, 512),
    "learning_rate": (5e-4, 1e-3, 2e-3),
    "filters": (32, 48, 64),
    "lstm": (32, 48, 64),
    "dropout": (0.3, 0.5),
    "window": (4, 8, 16),
}

_JUDGED = (
    "Loss and average precision are those of the validation part, its windows weighed as in training:"
    " classes alike, origins alike in a class. Both are of the network's logit and the calibrated"
    " counters' evidence added up, as it is fitted; counters and scaling are of the training part alone."
    " The same part says when a fit stops and which fit is best, so the figures are for choosing;"
    " what a model finds, `ids-train evaluate` tells.\n\n"
    "`window` is how many of the newest flows of a host the network sees. Whether a window is one of attack"
    " goes by all of its flows, so that every point answers the same question."
)

_FIGURES = {"average_precision": Column("average precision", "percent")}


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """Scaled windows to fit on and to judge by, the same for every point, and what they are in words."""

    train: Arrays
    validation: Arrays
    lines: list[str]


def window_task(sides: Sides, data: Any, spec: NetworkSpec, options: Options) -> Task:
    """The daemon's network on these windows, with the calibrated counters beside it.

    data: JSON: what `sides` were made of, cut and seed included.
    spec, options: what every fit has where the point says nothing.
    """

    def fit(point: dict[str, Any]) -> Fitted:
        chosen, how = with_point(spec, options, point)
        train, validation = (side.newest(chosen.window) for side in (sides.train, sides.validation))
        found = fit_network(chosen, train, validation, how)
        losses = [entry["validation_loss"] for entry in found.history]
        precision = average_precision(chosen, found.weights, validation)
        return Fitted(min(losses), len(losses), {"average_precision": precision})

    return Task(
        kind="windows",
        data=data,
        base={"spec": spec.to_dict(), "options": asdict(options)},
        seed=options.seed,
        fit=fit,
        figures=_FIGURES,
        judged=_JUDGED,
    )


def with_point(spec: NetworkSpec, options: Options, point: Mapping[str, Any]) -> tuple[NetworkSpec, Options]:
    """The sizes and options with those of a point in their place, each by its own name.

    No more rows become one than the network sees.  TrainingError for what makes no network, and for a
    window longer than the daemon's.
    """
    sizes = {name: value for name, value in point.items() if name in NetworkSpec.__dataclass_fields__}
    window = sizes.get("window", spec.window)
    if window > WINDOW:
        raise TrainingError(f"a window of {window} rows: the daemon keeps the newest {WINDOW} of a host")
    others = {name: value for name, value in point.items() if name not in sizes}
    try:
        pooling = max(1, min(spec.pooling, window))
        return replace(spec, **{"pooling": pooling, **sizes}), replace(options, **others)
    except (TypeError, ValueError) as error:
        raise TrainingError(f"no network of these sizes: {error}") from None


def changed(spec: NetworkSpec, options: Options, point: Mapping[str, Any]) -> dict[str, Any]:
    """Of a point what is not as in `spec` and `options`."""
    usual = {**asdict(options), **spec.to_dict()}
    return {name: value for name, value in point.items() if value != usual[name]}


def average_precision(spec: NetworkSpec, weights: Weights, data: Arrays) -> float:
    """Average precision of the network's logits, the offsets added, each window by its weight."""
    from sklearn.metrics import average_precision_score

    def inputs(part: slice) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        rows, counters, *_ = data.batch(np.arange(len(data))[part])
        return rows, counters

    logits, _ = Forward(spec, weights)(len(data), inputs)
    scores = logits.astype(np.float64) + data.offset
    return float(average_precision_score(data.label > 0, scores, sample_weight=data.weight))


def sides(collector: Collector, folds: int, seed: int) -> Sides:
    """The two sides of a search, dealt as by `validation_part`; raises as that does.

    Of a capture with several attacks, some fitted on, the benign windows do not judge: each attack has them.
    """
    data = collector.training_set()
    held, how = validation_part(collector, data, folds, seed)
    train = data.of(~held)
    drills = {one.path for one, here in zip(data.labels, held, strict=True) if one.attack and not here}
    known = np.array([one.attack and one.path in drills for one in data.labels])
    validation = data.take(held[data.capture] & ~(known[data.capture] & (data.truth != ATTACK)))
    usual = learn_usual(collector, ~held, train)
    return Sides(
        usual.arrays(train),
        usual.arrays(validation),
        [
            f"training: {_counted(train)}",
            f"validation: {_counted(validation)}; {how}",
        ],
    )


def validation_part(collector: Collector, data: TrainingSet, folds: int, seed: int) -> tuple[Captures, str]:
    """Which captures, a mask over `collector.labels`, judge and are not fitted on; and how they were chosen.

    Captures are dealt into folds by origin, and the first fold judges, or the next with which both sides
    have a benign capture and windows of attack.  Where there is none, as on a network of one's own, where
    an origin is all there is or attacks are of another than benign captures, captures are dealt one by
    one in their order, benign ones and attacks each: what is left out is time, and the choice holds for
    such networks as were recorded.  `threshold_folds` leaves no attack out there; here a side without
    attacks could not judge.

    data: the collector's windows.
    Raises TrainingError when there are not two benign captures or not two with windows of attack.
    """
    attacked = np.zeros(len(collector.labels), bool)
    attacked[data.capture[data.truth == ATTACK]] = True
    benign = np.zeros(len(collector.labels), bool)
    benign[data.capture] = True
    benign &= [not label.attack for label in collector.labels]
    of_origin = assign_folds(collector.labels, folds, seed)
    for fold in range(folds):
        held = of_origin == fold
        if all((kind & side).any() for kind in (attacked, benign) for side in (held, ~held)):
            return held, "of origins that no network of the search is fitted on"
    for kind, what, remedy in (
        (benign, "benign captures", "label more, or cut a long one with --cut 3600"),
        (attacked, "captures with windows of attack", "label more"),
    ):
        if kind.sum() < 2:
            raise TrainingError(
                f"too few {what} ({kind.sum()}): a search fits on some and judges by others; {remedy}"
            )
    held = np.zeros(len(collector.labels), bool)
    for kind in (benign, attacked):
        count = int(kind.sum())
        held[np.flatnonzero(kind)[: max(1, count // folds)]] = True
    return held, "too few origins to leave one out: captures that no network of the search is fitted on"


def _counted(data: TrainingSet) -> str:
    captures = np.unique(data.capture)
    origins = {data.labels[i].origin for i in captures}
    return (
        f"{len(data):,} windows ({(data.truth == ATTACK).sum():,} of attack) of {len(captures):,} captures,"
        f" {len(origins):,} origins"
    )
