from __future__ import annotations

import numpy as np
import pytest

from models.evidence import FAMILIES, RULES, calibrate
from models.training.windows.dataset import ATTACK, BENIGN, TrainingSet
from models.training.windows.exaggeration import exaggerate
from models.training.windows.rows import WindowRows
from models.window_columns import COUNTER_NAMES, ROW_NAMES, WINDOW

ROLE = COUNTER_NAMES.index("is_actor")
BENIGN_WINDOWS, ATTACKS = 60, 5


@pytest.fixture
def data() -> TrainingSet:
    """Benign counters below 10, half of them of actors; attacks reach 5,000."""
    draw = np.random.default_rng(5)
    count = BENIGN_WINDOWS + ATTACKS
    counters = draw.uniform(0, 10, (count, len(COUNTER_NAMES))).astype(np.float32)
    counters[:, ROLE] = np.arange(count) % 2
    counters[BENIGN_WINDOWS:, :ROLE] = 5000
    return TrainingSet(
        rows=WindowRows.of(draw.random((count, WINDOW, len(ROW_NAMES)), np.float32)),
        counters=counters,
        truth=np.where(np.arange(count) < BENIGN_WINDOWS, BENIGN, ATTACK).astype(np.int8),
        capture=np.zeros(count, np.int64),
        labels=(),
    )


def exaggerated(data: TrainingSet, seed: int = 1):
    maxima = {rule.name: np.linspace(1, 10, 200) for rule in RULES}
    weight = (data.truth == BENIGN).astype(float)
    weight[::7] = 0.0
    return exaggerate(data, weight, calibrate(maxima), seed), weight


def test_one_counter_of_a_benign_window_is_raised_beyond_the_usual(data: TrainingSet) -> None:
    made, weight = exaggerated(data)
    assert len(made.family) == len(made.rows) == 500 * len(RULES)
    originals = {row.tobytes(): i for i, row in enumerate(data.rows.dense())}
    for i, (row, counters) in enumerate(zip(made.rows.dense(), made.counters, strict=True)):
        rule = RULES[i // 500]
        window = originals[row.tobytes()]
        assert data.truth[window] == BENIGN and weight[window] > 0
        (changed,) = np.flatnonzero(counters != data.counters[window])
        assert COUNTER_NAMES[changed] == rule.name
        # 1 % of the maxima, 1 to 10 in 200 steps, are at least 9.9.
        assert 9.9 <= counters[changed] <= 5000
        assert rule.role is None or counters[ROLE] == (rule.role == "actor")
        assert FAMILIES[made.family[i]] == rule.family


def test_the_same_seed_gives_the_same_windows(data: TrainingSet) -> None:
    first, again, other = (exaggerated(data, seed)[0].counters.tobytes() for seed in (1, 1, 2))
    assert first == again != other
