"""Fitting the paper's network to a table of flows: cut in parts, scaled, fitted, a threshold set, tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from models.errors import TrainingError
from models.network import PaperSpec, Weights, paper_network, weights_to_arrays
from models.scaling import Kind
from models.training.checkpoints import Checkpoint
from models.training.epochs import (
    Bools,
    EpochOptions,
    History,
    Log,
    OnBatch,
    fit_epochs,
    make_deterministic,
    predict,
    sample_weights,
    silent,
)
from models.training.flows.preprocessing import Preprocessing
from models.training.flows.splits import Split, paper_matrix, paper_text, time_and_group
from models.training.flows.table import FlowTable
from models.training.flows.twins import seen_again
from models.training.metrics import Confusion, confusion
from models.training.systems.levels import set_levels
from models.training.systems.networks import compiled
from models.training.systems.registry import PAPER_OPTIONS, PAPER_SIZES

Cut = Literal["text", "matrix", "time"]
CUTS = {"text": paper_text, "matrix": paper_matrix, "time": time_and_group}


@dataclass(frozen=True, slots=True)
class Settings:
    """What is fitted, all but the data.

    TrainingError for `best` features by time: that split keeps flows apart that differ in features which
    are then not seen, so some would be learned and judged.
    """

    cut: Cut = "text"
    scale: Kind = "minmax"
    correlated: float = 0.99  #: of two features with |r| above it one goes
    best: int | None = None  #: keep so many features, those that tell most of the label
    sizes: Mapping[str, Any] = field(default_factory=lambda: dict(PAPER_SIZES))  #: of PaperSpec
    options: EpochOptions = PAPER_OPTIONS
    seed: int = 1

    def __post_init__(self) -> None:
        if self.cut == "time" and self.best is not None:
            raise TrainingError(
                "the split by time keeps flows apart by all of their features, which the best alone would"
                " undo; leave --best-features out or take another --split"
            )

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "sizes": dict(self.sizes)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Settings:
        """The inverse of `to_dict`."""
        return cls(**{**data, "options": EpochOptions(**data["options"])})


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """A table cut and scaled."""

    split: Split  #: its `leaked` counted on `x`
    preprocessing: Preprocessing
    x: dict[str, npt.NDArray[np.float32]]  #: `train`, `validation`, `test`
    y: dict[str, Bools]


@dataclass(frozen=True, slots=True, eq=False)
class FlowFit:
    """A fitted network and what it does on the test part."""

    parts: Parts
    spec: PaperSpec
    weights: Weights
    history: History
    threshold: float
    validation: Confusion
    scores: npt.NDArray[np.float64]  #: of the test part, probabilities
    test: Confusion


def cut_and_scale(table: FlowTable, settings: Settings) -> Parts:
    """Cut by the protocol; TrainingError where a part lacks a class."""
    split = CUTS[settings.cut](table, settings.seed)
    attack = table.attack
    rows = {"train": split.train, "validation": split.validation, "test": split.test}
    for name, index in rows.items():
        if not attack[index].any() or attack[index].all():
            lacking = "benign flows" if len(index) and attack[index].all() else "attacks"
            raise TrainingError(
                f"{', '.join(table.files[:3])}: the {name} part has no {lacking}; give more flows"
            )
    made = Preprocessing.fit(
        table,
        split.train,
        drop_correlated=settings.correlated if settings.correlated < 1 else None,
        best=settings.best,
        scale=settings.scale,
    )
    x = {name: made.transform(table, index) for name, index in rows.items()}
    split = replace(split, leaked=seen_again(x["train"], x["test"]))
    return Parts(split, made, x, {name: attack[index] for name, index in rows.items()})


def fit_flows(
    table: FlowTable,
    settings: Settings,
    *,
    checkpoint: Checkpoint | None = None,
    log: Log = silent,
    on_batch: OnBatch | None = None,
) -> FlowFit:
    """Fit, set the threshold on the validation part, and test.

    checkpoint: of this very fit; where it was stopped it goes on, and ends with the same weights.
    Raises TrainingError for data or sizes that make no fit.
    """
    parts = cut_and_scale(table, settings)
    try:
        spec = PaperSpec(parts.x["train"].shape[1], **settings.sizes)
    except ValueError as error:
        raise TrainingError(f"no network of these sizes: {error}") from None
    make_deterministic(settings.seed)
    model = compiled(paper_network(spec))
    set_levels(model, parts.x["train"])
    history = fit_epochs(
        model,
        parts.x["train"],
        parts.y["train"].astype(np.float32),
        (parts.x["validation"], parts.y["validation"].astype(np.float32)),
        settings.options,
        settings.seed,
        weight=sample_weights(parts.y["train"], settings.options.class_weights),
        checkpoint=checkpoint,
        log=log,
        on_batch=on_batch,
    )
    held = predict(model, parts.x["validation"])
    threshold = best_threshold(parts.y["validation"], held)
    scores = predict(model, parts.x["test"])
    return FlowFit(
        parts=parts,
        spec=spec,
        weights=weights_to_arrays(model),
        history=history,
        threshold=threshold,
        validation=confusion(parts.y["validation"], held > threshold),
        scores=scores,
        test=confusion(parts.y["test"], scores > threshold),
    )


def best_threshold(truth: Bools, scores: npt.NDArray[np.float64]) -> float:
    """The threshold with the highest F1; of several the one nearest to 0.5.

    Between two neighbouring scores it lies in the middle, or at 0.5 where that is between them.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(truth[order])
    flagged = np.arange(1, len(scores) + 1)
    f1 = 2.0 * hits / (flagged + truth.sum())
    below = np.append(ranked[1:], 0.0 if ranked[-1] > 0 else -1.0)
    possible = ranked > below  # equal scores are flagged together
    low, high = below[possible], ranked[possible]
    middle = np.where((low <= 0.5) & (high > 0.5), 0.5, (low + high) / 2.0)
    good = f1[possible] >= f1[possible].max() - 1e-12
    return max(0.0, float(middle[good][np.argmin(np.abs(middle[good] - 0.5))]))


def with_sizes(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """The settings with other sizes or options, each by its own name; ValueError for a name of neither."""
    sizes, options = dict(settings.sizes), settings.options
    for name, value in changes.items():
        if name in PaperSpec.__dataclass_fields__:
            sizes[name] = value
        elif name in EpochOptions.__dataclass_fields__:
            options = replace(options, **{name: value})
        else:
            raise ValueError(f"no size or option {name}")
    return replace(settings, sizes=sizes, options=options)
