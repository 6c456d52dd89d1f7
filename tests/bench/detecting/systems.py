"""What is compared: each fits on the captures seen and decides on the others.

The rows up to `boosting` and the forest are whole systems; those after are the shipped one with
something taken out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from models.evidence import calibrate
from models.network import NetworkSpec
from models.training.windows.dataset import ATTACK, CaptureWindows, TrainingSet, weights
from models.training.windows.fitting import (
    Model,
    Predictor,
    decisions,
    evidence_rule,
    fit_model,
    network_spec,
)
from models.training.windows.network_fit import Options
from models.window_columns import ROW_NAMES
from tests.bench.detecting import corpora
from tests.bench.detecting.corpora import FINAL_AFTER_S, Change, Corpus
from tests.bench.detecting.judging import SLACK_S

Seen = npt.NDArray[np.bool_]
#: Of each way to decide: the highest decision of a capture, and the highest that names the attack.
Decided = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Fold:
    """What a system is fitted on, and where its bundle goes if it is to be replayed."""

    corpus: Corpus
    seen: Seen
    options: Options
    keep: Callable[[Model], None]  #: takes the fitted model


@dataclass(frozen=True, slots=True)
class System:
    """A row of the table."""

    name: str
    key: str  #: for the command line
    fit: Callable[[Fold], Callable[[int], Decided]]
    change: Change | None = None


def _decided(corpus: Corpus, i: int, decision: npt.NDArray[np.float64]) -> Decided:
    return [(float(decision.max(initial=-np.inf)), float(decision[corpus.naming[i]].max(initial=-np.inf)))]


def fit_counters(fold: Fold) -> Callable[[int], Decided]:
    """The calibrated counters, no network."""
    corpus = fold.corpus
    benign = fold.seen & np.array([not label.attack for label in corpus.labels])
    rule = evidence_rule(calibrate(corpus.collector.maxima(benign)), 0.0)

    def score(i: int) -> Decided:
        nothing = np.zeros(len(corpus.captures[i].windows))
        return _decided(corpus, i, decisions(corpus.captures[i], rule, nothing, np.zeros((len(nothing), 1))))

    return score


def network(
    *, counters: bool = True, beside: bool = True, **sizes: Any
) -> Callable[[Fold], Callable[[int], Decided]]:
    """The CNN-LSTM.

    counters: it sees the host's counters.
    beside: the calibrated counters are evidence beside it, as in the daemon.
    sizes: of its NetworkSpec, where they differ.
    """

    def fit(fold: Fold) -> Callable[[int], Decided]:
        corpus = fold.corpus
        spec: NetworkSpec = replace(network_spec(), counters_in=counters, **sizes)
        model = fit_model(corpus.collector, fold.seen, spec, fold.options, beside_counters=beside)
        fold.keep(model)
        predict = Predictor(model)
        rule = evidence_rule(model.counters if beside else [], 0.0)

        def score(i: int) -> Decided:
            capture = corpus.captures[i]
            if not len(capture.windows):
                return [(-np.inf, -np.inf)]
            return _decided(corpus, i, decisions(capture, rule, *predict(capture.windows)))

        return score

    return fit


def summaries(rows: np.ndarray, counters: np.ndarray) -> np.ndarray:
    """Newest row, mean, maximum and deviation over the rows, and the counters: what boosting sees."""
    present = ROW_NAMES.index("present")
    count = rows[:, :, present].sum(axis=1, keepdims=True)
    mean = rows.sum(axis=1) / count
    spread = np.sqrt(np.maximum(0, np.square(rows).sum(axis=1) / count - np.square(mean)))
    return np.concatenate([rows[:, -1], mean, rows.max(axis=1), spread, count, counters], axis=1)


def fit_boosting(fold: Fold) -> Callable[[int], Decided]:
    """Gradient boosting on summaries of the same windows, no network and no calibrated counters."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=150, learning_rate=0.08, max_leaf_nodes=15, min_samples_leaf=20, l2_regularization=1.0,
        random_state=fold.options.seed,
    )  # fmt: skip
    data: TrainingSet = fold.corpus.collector.training_set().of(fold.seen)
    model.fit(summaries(data.rows.dense(), data.counters), data.truth == ATTACK, sample_weight=weights(data))
    rule = evidence_rule([], 0.0)

    def score(i: int) -> Decided:
        capture: CaptureWindows = fold.corpus.captures[i]
        logits = model.decision_function(summaries(capture.windows.rows, capture.windows.counters))
        return _decided(fold.corpus, i, decisions(capture, rule, logits, np.zeros((len(capture.windows), 1))))

    return score


def fit_forest(fold: Fold) -> Callable[[int], Decided]:
    """A random forest on single flows, see `forest`."""
    from tests.bench.detecting.forest import Forest, all_flows

    captures = all_flows(fold.corpus)
    forest = Forest(captures, fold.seen, fold.options.seed)
    return lambda i: forest.scores(captures[i])


_LATE = SLACK_S + FINAL_AFTER_S
_ONE_ROW = Change(windows=corpora.one_row)

SHIPPED = System("CNN-LSTM and counters", "shipped", network())

SYSTEMS: tuple[System, ...] = (
    System("counters alone", "counters", fit_counters),
    System("CNN-LSTM alone", "alone", network(beside=False)),
    SHIPPED,
    System("boosting on window summaries", "boosting", fit_boosting),
    System("random forest per flow", "forest", fit_forest),
    System("rows alone (no counters at all)", "rows", network(counters=False, beside=False)),
    System("actor streams only", "actor", network(), Change(windows=corpora.streams_of("actor"))),
    System("target streams only", "target", network(), Change(windows=corpora.streams_of("target"))),
    System("without context in the rows", "context", network(), Change(windows=corpora.without_context)),
    System("no windows (one row)", "window", network(window=1, pooling=1), _ONE_ROW),
    System(
        "no windows, no counters (one row alone)",
        "flow",
        network(window=1, pooling=1, counters=False, beside=False),
        _ONE_ROW,
    ),
    System("without one-packet flows", "single", network(), Change(records=corpora.without_one_packet)),
    System(
        "without snapshots",
        "snapshots",
        network(),
        Change(records=corpora.without_snapshots, slack_s=_LATE),
    ),
)

#: What is shown where nothing else is said; the others are the ablation.
USUAL = ("counters", "alone", "shipped", "boosting", "forest")
