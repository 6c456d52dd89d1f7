"""From labelled windows to a model, and honest thresholds: every origin scored by a model without it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import TrainingError
from models.evidence import FAMILIES, CounterEvidence, HostEvidence, calibrate
from models.network import NetworkSpec, Weights, arrays_to_weights, build
from models.scaling import Scaling
from models.training.windows.dataset import CaptureWindows, Collector, TrainingSet, benign_weights
from models.training.windows.exaggeration import exaggerate
from models.training.windows.labels import CaptureLabel
from models.training.windows.network_fit import Arrays, Options, Resumable, fit_network
from models.window_columns import COUNTER_NAMES, ROW_NAMES, WINDOW
from models.windows import WindowBatch, Windows

#: How evidence is added up, see models.evidence; chosen on captures out of training.
TARGET_CAP = 0.0
COUNTER_WEIGHT = 2.0
AVERAGE = 0.3

_BATCH = 1024

Captures = npt.NDArray[np.bool_]
Inputs = Callable[[slice], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, slots=True)
class Model:
    """All that scores a window."""

    spec: NetworkSpec
    scaling: Scaling
    weights: Weights
    counters: list[dict[str, Any]]  #: calibration, see models.evidence.calibrate
    history: list[dict[str, float]]

    def calibration(self, threshold: float) -> dict[str, Any]:
        """What a bundle's calibration.json holds."""
        return evidence_rule(self.counters, threshold)


def evidence_rule(
    counters: list[dict[str, Any]], threshold: float, weight: float = COUNTER_WEIGHT
) -> dict[str, Any]:
    """The calibration that HostEvidence reads."""
    return {
        "threshold": threshold,
        "target_cap": TARGET_CAP,
        "counter_weight": weight,
        "average": AVERAGE,
        "counters": counters,
    }


def network_spec(**sizes: Any) -> NetworkSpec:
    """The network for this version's windows; sizes as in NetworkSpec."""
    return NetworkSpec(
        window=WINDOW,
        row_features=len(ROW_NAMES),
        counters=len(COUNTER_NAMES),
        families=len(FAMILIES),
        **sizes,
    )


def fit_model(
    collector: Collector,
    captures: Captures,
    spec: NetworkSpec,
    options: Options,
    log: Callable[[int, dict[str, float]], None] = lambda epoch, losses: None,
    *,
    beside_counters: bool = True,
    checkpoint: Resumable | None = None,
) -> Model:
    """Fit scaling, network and counters on the chosen captures (a mask over collector.labels).

    Of each window the network sees the newest `spec.window` rows; whether it is one of attack goes by the
    whole, so that networks of several windows answer one question.

    log, checkpoint: see `fit_network`.
    beside_counters: the network learns what to add to the counters' evidence (it is the offset of
        its loss), as the daemon adds them; False: the network learns to stand alone, what the
        counters would have said included, unless it sees none of them.
    """
    data = collector.training_set().of(captures)
    usual = learn_usual(collector, captures, data)
    if beside_counters:
        arrays = usual.arrays(data)
    else:
        arrays = data.arrays(usual.scaling)
        if spec.counters_in:
            raised = exaggerate(data, benign_weights(data), usual.counters, options.seed)
            arrays = arrays.joined(raised.arrays(usual.scaling, arrays))
    result = fit_network(spec, arrays.newest(spec.window), None, options, log, checkpoint)
    return Model(spec, usual.scaling, result.weights, usual.counters, result.history)


@dataclass(frozen=True, slots=True)
class Usual:
    """What captures say of the usual: all that a network's inputs and loss need besides the windows."""

    scaling: Scaling
    counters: list[dict[str, Any]]  #: calibration, see models.evidence.calibrate

    def arrays(self, data: TrainingSet) -> Arrays:
        """Windows, of these captures or others, scaled, the counters' evidence as the loss's offset."""
        return data.arrays(self.scaling, CounterEvidence(self.counters, COUNTER_WEIGHT).scores(data.counters))


def learn_usual(collector: Collector, captures: Captures, data: TrainingSet) -> Usual:
    """Scaling and calibrated counters of the chosen captures, whose windows `data` are.

    All rows of a window count, however many of them a network sees.  TrainingError where no capture is
    benign.
    """
    benign = captures & np.array([not label.attack for label in collector.labels])
    if not benign.any():
        raise TrainingError(
            "no benign capture to learn from what is usual: label some, of two origins at least"
        )
    scaling = Scaling.fit(
        data.rows.table,
        data.counters,
        ROW_NAMES.index("present"),
        role=COUNTER_NAMES.index("is_actor"),
        benign=benign_weights(data),
        index=data.rows.index,
    )
    return Usual(scaling, calibrate(collector.maxima(benign)))


class Forward:
    """A network in Keras, for many windows at once."""

    def __init__(self, spec: NetworkSpec, weights: Weights) -> None:
        import tensorflow as tf

        network = build(spec, unroll=True)
        arrays_to_weights(network, weights)
        self._forward = tf.function(
            lambda rows, counters: network([rows, counters], training=False), autograph=False
        )

    def __call__(self, count: int, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
        """Logits (B,) and family probabilities (B, K) of B windows.

        count: B, above 0.
        inputs: gives scaled rows (b, N, F) and counters (b, C) of the windows in a slice.
        """
        logits, families = [], []
        for start in range(0, count, _BATCH):
            rows, counters = inputs(slice(start, start + _BATCH))
            heads = self._forward(_filled(rows), _filled(counters))
            logits.append(np.asarray(heads["logit"])[: len(rows), 0])
            families.append(_softmax(np.asarray(heads["family"])[: len(rows)]))
        return np.concatenate(logits), np.concatenate(families)


class Predictor:
    """A model in Keras, for many raw windows at once."""

    def __init__(self, model: Model) -> None:
        self._spec, self._scaling = model.spec, model.scaling
        self._forward = Forward(model.spec, model.weights)

    def __call__(self, windows: WindowBatch) -> tuple[np.ndarray, np.ndarray]:
        """Logits (B,) and family probabilities (B, K)."""

        def scaled(part: slice) -> tuple[np.ndarray, np.ndarray]:
            rows = self._scaling.transform_rows(self._spec.newest(windows.rows[part]))
            return rows, self._scaling.transform_counters(windows.counters[part])

        return self._forward(len(windows), scaled)


def _filled(values: np.ndarray) -> np.ndarray:
    """Filled up with zeros to the batch, so that the function compiles once."""
    return np.concatenate([values, np.zeros((_BATCH - len(values), *values.shape[1:]), values.dtype)])


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def decisions(
    capture: CaptureWindows, rule: dict[str, Any], logits: np.ndarray, families: np.ndarray
) -> npt.NDArray[np.float64]:
    """What decides at each window of a capture, as the daemon would compute it."""
    evidence = HostEvidence(rule, capacity=_STREAMS)
    return evidence.decide(capture.windows, logits, families)[0]


_STREAMS = Windows(home_hosts=512, foreign_hosts=512).capacity


def assign_folds(labels: Sequence[CaptureLabel], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """A fold for each capture: all captures of an origin in one, folds alike in attacks and benign."""
    origins = sorted({label.origin for label in labels})
    attacks = {o: sum(x.origin == o and x.attack and x.in_scope for x in labels) for o in origins}
    benign = {o: sum(x.origin == o and not x.attack for x in labels) for o in origins}
    random = np.random.default_rng(seed)
    order = sorted(random.permutation(origins), key=lambda o: -(5 * attacks[o] + benign[o]))
    attack_share = max(1, sum(attacks.values())) / folds
    benign_share = max(1, sum(benign.values())) / folds
    filled = np.zeros((folds, 2))
    of_origin = {}
    for origin in order:
        would = filled + [attacks[origin] / attack_share, benign[origin] / benign_share]
        chosen = int(np.argmin(would.max(axis=1) + would.sum(axis=1)))
        filled[chosen] = would[chosen]
        of_origin[origin] = chosen
    return np.array([of_origin[label.origin] for label in labels], np.int64)


def threshold_folds(labels: Sequence[CaptureLabel], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """A fold for each capture, for the threshold: scored by a model without that fold; -1 for in all.

    By origin where there are enough of them.  Where not, as on a network of one's own, benign
    captures are dealt one by one in their order, and attacks are in every fold's training: what is
    left out is time, and the threshold holds for such networks as were recorded.
    Raises TrainingError when there is no attack, or not two benign captures.
    """
    attack = np.array([label.attack for label in labels])
    found = assign_folds(labels, folds, seed)
    used = np.unique(found[~attack])
    if len(used) > 1 and all((attack & (found != fold)).any() for fold in used):
        return found
    if not attack.any():
        raise TrainingError("no attack among the captures: `calibrate` sets a threshold from benign ones")
    benign = np.flatnonzero(~attack)
    if len(benign) < 2:
        raise TrainingError(
            "one benign capture at most: the threshold needs benign captures that the network has not seen;"
            " label more, or cut a long one with --cut 3600"
        )
    found[:] = -1
    count = min(folds, len(benign))
    found[benign] = np.arange(len(benign)) * count // len(benign)
    return found
