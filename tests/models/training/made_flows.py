"""Made flows that can be told apart: a table as the readers give it, and arrays as systems take them."""

from __future__ import annotations

import numpy as np

from capture.columns import FEATURES
from models.training.flows.table import NO_TIME, FlowTable
from models.training.flows.twins import twins

NAMES = FEATURES[:12]


def arrays(count: int, seed: int = 0, noise: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """(count, 12) features in [0, 1] and truth: an attack when two features lie on the same side of a half.

    No line separates them.  `noise` is the share of rows whose truth is turned round.
    """
    random = np.random.default_rng(seed)
    x = random.random((count, len(NAMES)), np.float32)
    y = (x[:, 3] > 0.5) == (x[:, 4] > 0.5)
    return x, y ^ (random.random(count) < noise)


def table(count: int, seed: int = 0, attacks: float = 0.3, repeated: int = 0) -> FlowTable:
    """`count` flows of two classes of attack and benign ones, and the first `repeated` of them once more."""
    random = np.random.default_rng(seed)
    label = np.where(random.random(count) < attacks, random.integers(1, 3, count), 0).astype(np.int16)
    values = np.exp(random.normal(5.0, 1.0, (count, len(NAMES)))).astype(np.float32)
    # Several neighbours each: the paper's filters go over all features alike, and one is easily missed.
    values[label == 1, :6] *= 40
    values[label == 2, 6:] /= 40
    protocol = np.where(random.random(count) < 0.8, 6, 17).astype(np.int16)
    index = np.concatenate([np.arange(count), np.arange(repeated)])
    label, values, protocol = label[index], values[index], protocol[index]
    unknown = np.full(len(label), -1, np.int32)
    return FlowTable(
        features=NAMES,
        values=values,
        protocol=protocol,
        labels=("BENIGN", "DoS", "PortScan"),
        label=label,
        time=np.full(len(label), NO_TIME),
        source=unknown,
        destination=unknown,
        files=("made.csv",),
        file=np.zeros(len(label), np.int16),
        twin=twins((values[:, i] for i in range(values.shape[1])), protocol),
        port=unknown,
    )
