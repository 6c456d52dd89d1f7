"""A random forest on single flows, and what it says of a host: the sober peer of the windows.

It sees a flow as the data sets have it, when it is over: all 81 features and the protocol.  Labels
come from the same rules and weights are those of the windows: classes, origins, captures and
families alike.  A host's decision is the mean of the highest probabilities among its flows, as
initiator or as responder; how many of them is chosen on the other folds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capture.columns import Kind, feature_matrix
from models.training.windows.dataset import ATTACK, BENIGN, UNCLEAR, TrainingSet, weights
from models.training.windows.labels import CaptureLabel, halves
from models.training.windows.rows import WindowRows
from tests.bench.detecting.corpora import FINAL_AFTER_S, Corpus, Records
from tests.bench.detecting.judging import SLACK_S, in_span

A_CAPTURE = 300  #: flows of one capture and class that are trained on at most
BEST = (1, 3, 10, 30)  #: flows that decide on a host
_TREES = 200
_PROTOCOLS = ((6,), (17,), (1, 58))


@dataclass(frozen=True, slots=True)
class CaptureFlows:
    """The finished flows of one capture."""

    label: CaptureLabel
    features: npt.NDArray[np.float32]  #: (n, 85)
    truth: npt.NDArray[np.int8]  #: (n,)
    sides: npt.NDArray[np.uint64]  #: (n, 2, 2) initiator and responder, halves of the address
    start_s: npt.NDArray[np.float64]  #: (n,)


def capture_flows(label: CaptureLabel, records: Records) -> CaptureFlows:
    """Flows with their truth: benign is what no label names, in captures of attacks too."""
    flows = records[records["kind"] != Kind.SNAPSHOT]
    truth = np.where(label.attack_flows(flows), ATTACK, BENIGN).astype(np.int8)
    if label.attack and not label.located:
        truth[:] = UNCLEAR
    sides = np.stack([np.stack(halves(flows[side]), axis=-1) for side in ("src", "dst")], axis=1)
    return CaptureFlows(label, features_of(flows), truth, sides, flows["start_ns"] / 1e9)


def features_of(flows: Records) -> npt.NDArray[np.float32]:
    """(n, 85): the 81 features, then TCP, UDP, ICMP, other; what is no number is 0."""
    protocols = [np.isin(flows["protocol"], numbers) for numbers in _PROTOCOLS]
    protocols.append(~np.any(protocols, axis=0))
    values = np.concatenate([feature_matrix(flows), np.stack(protocols, axis=1)], axis=1)
    limit = np.finfo(np.float32).max
    return np.clip(np.nan_to_num(values, posinf=0, neginf=0), -limit, limit).astype(np.float32)


class Forest:
    """Fitted on the captures seen."""

    def __init__(self, captures: list[CaptureFlows], seen: npt.NDArray[np.bool_], seed: int) -> None:
        from sklearn.ensemble import RandomForestClassifier

        data = drawn(captures, seen, seed)
        self._trees = RandomForestClassifier(_TREES, min_samples_leaf=2, random_state=seed, n_jobs=1)
        self._trees.fit(data.rows.table, data.truth == ATTACK, sample_weight=weights(data))

    def scores(self, capture: CaptureFlows) -> list[tuple[float, float]]:
        """Highest decision and highest that names the attack, for each number of BEST."""
        if not len(capture.features):
            return [(-np.inf, -np.inf)] * len(BEST)
        probability = self._trees.predict_proba(capture.features)[:, -1]
        return decide(capture, probability)


def drawn(captures: list[CaptureFlows], seen: npt.NDArray[np.bool_], seed: int) -> TrainingSet:
    """Flows of the captures seen, A_CAPTURE of each and class at most, as rows of windows of one."""
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for number in np.flatnonzero(seen):
        capture = captures[number]
        random = np.random.default_rng([seed, number])
        for truth in (BENIGN, ATTACK):
            index = np.flatnonzero(capture.truth == truth)
            index = index if len(index) <= A_CAPTURE else random.choice(index, A_CAPTURE, replace=False)
            parts.append((capture.features[index], capture.truth[index], np.full(len(index), number)))
    features, truth, capture = (np.concatenate(column) for column in zip(*parts, strict=True))
    nothing = np.zeros((len(truth), 0), np.float32)
    rows = WindowRows(features, np.arange(len(features), dtype=np.int32)[:, None])
    return TrainingSet(rows, nothing, truth, capture, [one.label for one in captures])


def decide(capture: CaptureFlows, probability: npt.NDArray[np.float64]) -> list[tuple[float, float]]:
    """Highest decision and highest that names the attack, for each number of BEST.

    A host is named itself or by its most frequent counterpart, as for windows; flows that began
    outside the labelled span name nothing.
    """
    label = capture.label
    timely = in_span(label, capture.start_s, SLACK_S + FINAL_AFTER_S)
    highest, naming = np.full(len(BEST), -np.inf), np.full(len(BEST), -np.inf)
    for role in (0, 1):
        hosts, of = np.unique(capture.sides[:, role], axis=0, return_inverse=True)
        order = np.lexsort((-probability, of.ravel()))
        starts = np.searchsorted(of.ravel()[order], np.arange(len(hosts) + 1))
        wanted = label.wanted.hold(hosts[:, 0], hosts[:, 1])
        for host in range(len(hosts)):
            flows = order[starts[host] : starts[host + 1]]
            means = _best_means(probability[flows])
            highest = np.maximum(highest, means)
            if wanted[host] or _meets(label, capture.sides[flows, 1 - role]):
                naming = np.maximum(naming, _best_means(probability[flows[timely[flows]]]))
    return list(zip(highest.tolist(), naming.tolist(), strict=True))


def _best_means(descending: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The mean of the first k for each k of BEST; a flow that is not there says nothing, 0."""
    return np.array([descending[:k].sum() / k for k in BEST])


def _meets(label: CaptureLabel, others: npt.NDArray[np.uint64]) -> bool:
    if not label.wanted.hold(others[:, 0], others[:, 1]).any():
        return False
    addresses, count = np.unique(others, axis=0, return_counts=True)
    top = addresses[np.argmax(count)]
    return bool(label.wanted.hold(top[None, 0], top[None, 1])[0])


def all_flows(corpus: Corpus) -> list[CaptureFlows]:
    """The flows of every capture; some 350 bytes a flow."""
    return [capture_flows(label, corpus.records(label)) for label in corpus.labels]
