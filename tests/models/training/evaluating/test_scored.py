"""What is measured on scores: pooling, alarms a day, thresholds from local benign rows, systems fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.training.evaluating.scored import (
    LocalThreshold,
    Scored,
    as_is,
    fit_and_score,
    local_threshold,
    per_day,
    pooled,
)
from models.training.evaluating.trials import Trial, across_sets
from models.training.flows.preprocessing import Preprocessing
from models.training.flows.table import NO_TIME
from models.training.intervals import share
from models.training.metrics import Confusion
from models.training.systems.base import Entry
from tests.models.training.flows.making import flow_table

HOUR_NS = 3_600_000_000_000


def scored(label: Any, scores: Any, **other: Any) -> Scored:
    given: dict[str, Any] = {
        "test": "t", "group": "g", "system": "s", "labels": ("BENIGN", "scan"), "threshold": 0.5,
        "fitted_on": 10, "leaked": 0, "history": [], "time": np.full(len(label), NO_TIME),
    }  # fmt: skip
    return Scored(label=np.asarray(label), scores=np.asarray(scores, np.float64), **{**given, **other})


def test_what_is_above_the_threshold_is_flagged_and_what_is_at_it_is_not() -> None:
    one = scored([0, 0, 1, 1], [0.5, 0.6, 0.5, 0.51])
    assert one.flagged.tolist() == [False, True, False, True]
    assert one.confusion == Confusion(tn=1, fp=1, fn=1, tp=1)


def test_pooled_tests_keep_their_verdicts_and_families() -> None:
    a = scored([0, 1, 1], [0.1, 0.9, 0.2], leaked=1)
    b = scored([0, 1, 2], [3.0, 2.0, 4.0], threshold=2.5, leaked=2, labels=("BENIGN", "bot", "scan"))
    both = pooled([a, b])
    assert both.confusion == a.confusion + b.confusion == Confusion(tn=1, fp=1, fn=2, tp=2)
    assert both.labels == ("BENIGN", "bot", "scan")
    assert [both.labels[code] for code in both.label] == ["BENIGN", "scan", "scan", "BENIGN", "bot", "scan"]
    assert (both.test, both.leaked, both.fitted_on) == ("g", 3, 10)
    assert pooled([a]) is a
    assert (both.draws, pooled([a, b, b], redrawn=True).draws) == ((), (1, 1, 1))


def test_rows_that_are_given_alike_are_distinct_once() -> None:
    a = scored([0, 1, 1, 1], np.zeros(4), alike=np.array([1, 2, 2, 3], np.uint64))
    b = scored([1, 1], np.zeros(2), alike=np.array([3, 4], np.uint64))
    assert (a.distinct(0), a.distinct(1)) == (1, 2)
    assert pooled([a, b]).distinct(1) == 3
    unknown = scored([1, 1], np.zeros(2))
    assert unknown.distinct(1) is None and pooled([a, unknown]).distinct(1) is None


def test_alarms_a_day_by_hand() -> None:
    # Nine minutes, and a pause: 2 alarms are 320 a day, the false one 160.
    time = np.array([0, 0.05, 0.15, 5]) * HOUR_NS + 7
    told = per_day(scored([0, 0, 0, 1], [0.9, 0.1, 0.2, 0.9], time=time.astype(np.int64)))
    assert told is not None
    assert (told.days, told.alarms, told.false_alarms.value) == (
        pytest.approx(0.00625),
        pytest.approx(320),
        pytest.approx(160),
    )
    rate = share(1, 3)
    assert told.false_alarms.low == pytest.approx(rate.low * 3 / 0.00625)
    assert told.false_alarms.high == pytest.approx(rate.high * 3 / 0.00625)


def test_without_times_no_alarms_a_day_are_told() -> None:
    assert per_day(scored([0, 1], [0, 1])) is None
    assert per_day(scored([0, 1], [0, 1], time=np.array([0, NO_TIME]))) is None


def test_local_threshold_is_set_by_the_first_benign_rows_and_judges_the_others() -> None:
    # Ten benign rows; the first three by time have 0.6, 0.7 and 0.8, the others 0.65 or less.
    scores = [0.65, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.7, 0.6, 0.8, 0.9, 0.75]
    time = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0]
    one = scored([0] * 10 + [1, 1], scores, time=np.array(time))
    got = local_threshold(one, 0.4)
    assert got == LocalThreshold(
        0.4, 3, 0.7, Confusion(tn=6, fp=1, fn=0, tp=2), Confusion(tn=7, fp=0, fn=0, tp=2), True, True
    )


def test_local_rows_too_few_for_the_rate_allow_no_false_alarm() -> None:
    one = scored([0] * 10 + [1], np.linspace(0, 1, 11), time=np.arange(11))
    got = local_threshold(one, 0.01)
    assert got is not None
    assert (got.rows, got.threshold, got.resolvable) == (3, pytest.approx(0.2), False)


def test_without_times_local_rows_are_drawn_by_the_seed() -> None:
    one = scored([0] * 100 + [1], np.arange(101.0))
    assert local_threshold(one, 0.1, seed=1) == local_threshold(one, 0.1, seed=1)
    first, second = local_threshold(one, 0.1, seed=1), local_threshold(one, 0.1, seed=2)
    assert first is not None and second is not None and first.threshold != second.threshold
    assert not first.by_time


@pytest.mark.parametrize("label", [[1, 1, 1], [0, 1], []])
def test_without_benign_rows_to_spare_no_local_threshold_is_set(label: list[int]) -> None:
    assert local_threshold(scored(label, np.zeros(len(label))), 0.1) is None


class Remembers:
    """A system that scores by the first feature and keeps what it was given."""

    threshold = 0.25

    def fit(self, x: Any, y: Any, validation: Any, seed: int, log: Any) -> list[dict[str, float]]:
        self.given = (x, y, validation, seed)
        return [{"loss": 1.0}]

    def scores(self, x: Any) -> Any:
        return x[:, 0].astype(np.float64)


def entry(system: Any) -> Entry:
    return Entry("remembers", "Remembers", "", "", "", "", None, lambda names: system, "numpy")


def test_a_system_is_fitted_on_its_rows_scaled_by_them_and_judged_on_the_others() -> None:
    table = flow_table([[0.0], [10.0], [5.0], [20.0], [2.0]], [0, 1, 0, 1, 0], time=np.arange(5))
    trial = Trial("t", "g", table, np.array([0, 1]), np.array([2]), table, np.array([3, 4]))
    system = Remembers()
    one = fit_and_score(trial, entry(system), "minmax", 3, print)
    x, y, validation, seed = system.given
    assert (x.ravel().tolist(), y.tolist(), seed) == ([0, 1], [False, True], 3)
    assert (validation[0].ravel().tolist(), validation[1].tolist()) == ([0.5], [False])
    # 20 is beyond the range of training and clipped to 1, which one row learned from has, too.
    assert one.scores.tolist() == [1.0, pytest.approx(0.2)]
    assert one.confusion == Confusion(tn=1, fp=0, fn=0, tp=1)
    assert (one.system, one.threshold, one.fitted_on, one.leaked) == ("Remembers", 0.25, 2, 1)
    assert one.time.tolist() == [3, 4] and one.history == [{"loss": 1.0}]


def test_leaks_are_counted_on_what_the_system_sees() -> None:
    # The second feature is the first, doubled, so it goes; the last two rows differ from others in it alone.
    table = flow_table([[1, 2], [2, 4], [3, 6], [4, 8], [1, 9], [2, 9], [2.5, 5]], [0, 1, 0, 1, 0, 1, 0])
    trial = Trial("t", "g", table, np.arange(4), np.array([], int), table, np.array([4, 5, 6]))
    one = fit_and_score(trial, entry(Remembers()), "minmax", 3, print)
    assert one.leaked == 2


def test_leaks_between_sets_are_told_by_the_shared_features_alone() -> None:
    random = np.random.default_rng(1)
    train = flow_table(random.random((40, 3)), [0, 1] * 20, features=("a", "b", "c"))
    learned = train.values[across_sets(train, [("t", train)])[0].fitting]
    rows = [[*row[:2], 99.0] for row in learned] + [[0.123, 0.456, 3]]
    other = flow_table(rows, [0] * len(rows), features=("a", "b", "z"))
    (trial,) = across_sets(train, [("other", other)])
    assert fit_and_score(trial, entry(Remembers()), "minmax", 3, print).leaked == len(learned)


def test_a_given_model_scores_all_of_the_data() -> None:
    table = flow_table([[0.0], [10.0], [5.0]], [0, 1, 2])
    made = Preprocessing.fit(table, np.arange(3))
    one = as_is(table, "bundle", lambda x: 1.0 - x[:, 0], made, 0.6)
    assert one.scores.tolist() == [1.0, 0.0, 0.5]
    assert one.confusion == Confusion(tn=0, fp=1, fn=2, tp=0)
    assert (one.leaked, one.fitted_on, one.labels) == (None, 0, table.labels)
