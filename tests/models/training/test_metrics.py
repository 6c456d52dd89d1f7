"""Figures of a detector, by hand and beside scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.training.intervals import share
from models.training.metrics import (
    Confusion,
    confusion,
    family_recall,
    recall_at,
)

sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn")

NOTHING = np.empty(0, bool), np.empty(0, np.float64)


def drawn(rows: int = 2000, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Truth and scores with many ties."""
    random = np.random.default_rng(seed)
    truth = random.random(rows) < 0.3
    return truth, np.round(np.clip(random.normal(0.4 + 0.25 * truth, 0.2), 0, 1), 2)


# -- confusion


def test_figures_of_the_papers_matrix() -> None:
    paper = Confusion(tn=679_222, fp=2_174, fn=1_264, tp=165_703)
    assert (paper.benign, paper.attacks) == (681_396, 166_967)
    assert paper.accuracy == pytest.approx(0.995947, abs=1e-6)
    assert paper.precision == pytest.approx(0.987050, abs=1e-6)
    assert paper.recall == pytest.approx(0.992430, abs=1e-6)
    assert paper.f1 == pytest.approx(0.989733, abs=1e-6)
    assert paper.false_alarm_rate == pytest.approx(0.003191, abs=1e-6)


def test_counts_by_hand() -> None:
    truth = np.array([0, 0, 0, 1, 1, 1, 1], bool)
    flagged = np.array([0, 0, 1, 1, 1, 1, 0], bool)
    assert confusion(truth, flagged) == Confusion(tn=2, fp=1, fn=1, tp=3)


def test_figures_are_those_of_scikit_learn() -> None:
    truth, scores = drawn()
    flagged = scores > 0.5
    got = confusion(truth, flagged)
    assert [[got.tn, got.fp], [got.fn, got.tp]] == sklearn_metrics.confusion_matrix(truth, flagged).tolist()
    assert got.accuracy == sklearn_metrics.accuracy_score(truth, flagged)
    assert got.precision == sklearn_metrics.precision_score(truth, flagged)
    assert got.recall == sklearn_metrics.recall_score(truth, flagged)
    assert got.f1 == pytest.approx(sklearn_metrics.f1_score(truth, flagged))


def test_shuffles_are_pooled_by_adding_counts() -> None:
    assert Confusion(1, 2, 3, 4) + Confusion(10, 20, 30, 40) == Confusion(11, 22, 33, 44)


def test_figures_without_a_divisor_are_nan() -> None:
    quiet = confusion(np.array([True, False]), np.array([False, False]))
    assert math.isnan(quiet.precision) and (quiet.recall, quiet.f1, quiet.false_alarm_rate) == (0, 0, 0)
    no_attack = confusion(np.zeros(3, bool), np.zeros(3, bool))
    assert math.isnan(no_attack.recall) and math.isnan(no_attack.f1) and no_attack.accuracy == 1
    no_benign = confusion(np.ones(3, bool), np.ones(3, bool))
    assert math.isnan(no_benign.false_alarm_rate) and no_benign.recall == no_benign.precision == 1
    assert math.isnan(confusion(*(np.empty(0, bool),) * 2).accuracy)


def test_arrays_of_other_tests_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3,\) and \(2,\)"):
        confusion(np.zeros(3, bool), np.zeros(2, bool))


# -- families


def test_recall_of_each_family_by_name() -> None:
    names = ["BENIGN", "scan", "Bot", "never seen", "flood"]
    family = np.array([0, 0, 1, 1, 1, 2, 4, 4])
    flagged = np.array([1, 0, 1, 1, 0, 0, 1, 1], bool)
    got = family_recall(names, family, flagged)
    assert [(one.family, one.found, one.rows) for one in got] == [
        ("Bot", 0, 1),
        ("flood", 2, 2),
        ("scan", 2, 3),
    ]
    assert got[2].recall == pytest.approx(2 / 3)
    assert (got[2].low, got[2].high) == (share(2, 3).low, share(2, 3).high)


# -- recall at a rate


def test_recall_at_rates_by_hand() -> None:
    # 10 benign rows 0 to 9; attacks at 8.5, 9.5 and 3: one false alarm allows what is above 8.
    truth = np.array([False] * 10 + [True] * 3)
    scores = np.array([*range(10), 8.5, 9.5, 3.0])
    ten, hundred = recall_at(truth, scores, (0.1, 0.01))
    assert (ten.rate, ten.threshold, ten.resolvable) == (0.1, 8.0, True)
    assert ten.recall == pytest.approx(2 / 3)
    assert (ten.low, ten.high) == (share(2, 3).low, share(2, 3).high)
    assert (hundred.threshold, hundred.resolvable) == (9.0, False)
    assert hundred.recall == pytest.approx(1 / 3)


def test_recall_at_rates_of_draws_is_as_sure_as_the_smallest_of_them() -> None:
    # Two draws of 4 and 6 benign rows: 6 would tell one in five, 4 do not, so no false alarm is allowed.
    truth = np.array([False] * 10 + [True] * 4)
    scores = np.array([*range(10), 8.5, 8.5, 9.5, 3.0])
    half, fifth = recall_at(truth, scores, (0.5, 0.2), draws=(4, 6))
    assert (half.threshold, half.resolvable, half.recall) == (4.0, True, 0.75)
    assert (half.low, half.high) == (share(3, 4, draws=2).low, share(3, 4, draws=2).high)
    assert (fifth.threshold, fifth.resolvable, fifth.recall) == (9.0, False, 0.25)
    assert recall_at(truth, scores, (0.2,))[0].resolvable


def test_recall_of_a_family_of_draws_is_as_sure_as_one_of_them() -> None:
    (got,) = family_recall(("BENIGN", "bot"), np.ones(20, int), np.arange(20) < 14, draws=2)
    assert (got.rows, got.found, got.recall) == (20, 14, 0.7)
    assert (got.low, got.high) == pytest.approx((share(7, 10).low, share(7, 10).high))


@pytest.mark.parametrize("rate", [0.3, 1e-1, 1e-2, 1e-3])
def test_recall_at_a_rate_is_the_best_of_scikit_learns_curve(rate: float) -> None:
    truth, scores = drawn()
    false_alarms, recall, _ = sklearn_metrics.roc_curve(truth, scores, drop_intermediate=False)
    (got,) = recall_at(truth, scores, (rate,))
    assert got.recall == recall[false_alarms <= rate].max()
    assert confusion(truth, scores > got.threshold).false_alarm_rate <= rate


def test_equal_scores_are_flagged_together_or_not_at_all() -> None:
    truth = np.array([False] * 10 + [True] * 10)
    (all_alike,) = recall_at(truth, np.full(20, 0.5), (0.5,))
    assert (all_alike.recall, all_alike.threshold) == (0.0, 0.5)


def test_without_benign_rows_there_is_no_threshold() -> None:
    (got,) = recall_at(np.ones(5, bool), np.arange(5.0), (0.01,))
    assert math.isnan(got.recall) and math.isnan(got.threshold) and not got.resolvable


def test_without_attacks_recall_is_unknown_but_the_threshold_is_not() -> None:
    (got,) = recall_at(np.zeros(100, bool), np.arange(100.0), (0.01,))
    assert math.isnan(got.recall) and (got.low, got.high, got.threshold) == (0.0, 1.0, 98.0)


def test_of_no_rows_nothing_is_told() -> None:
    assert [one.resolvable for one in recall_at(*NOTHING)] == [False] * 4
