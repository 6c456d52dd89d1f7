"""Curves thinned for drawing keep their course and their area, and reliability its bins."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.training.curves import precision_recall_curve, reliability, roc_curve
from models.training.intervals import share

sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn")


def drawn(rows: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    truth = random.random(rows) < 0.2
    return truth, np.clip(random.normal(0.4 + 0.3 * truth, 0.15), 0, 1)


def test_roc_by_hand() -> None:
    # Of the pairs of an attack and a benign row 3 of 4 are in order.
    curve = roc_curve(np.array([0, 1, 0, 1], bool), np.array([0.1, 0.3, 0.5, 0.9]))
    assert curve.false_alarm_rate.tolist() == [0, 0, 0.5, 0.5, 1]
    assert curve.recall.tolist() == [0, 0.5, 0.5, 1, 1]
    assert curve.area == 0.75


def test_thinned_roc_keeps_area_ends_and_low_rates() -> None:
    truth, scores = drawn(60_000)
    rate, recall, _ = sklearn_metrics.roc_curve(truth, scores)
    curve = roc_curve(truth, scores, points=400)
    assert len(rate) > 4 * len(curve.recall)
    assert curve.area == sklearn_metrics.roc_auc_score(truth, scores)
    drawn_area = sklearn_metrics.auc(curve.false_alarm_rate, curve.recall)
    assert drawn_area == pytest.approx(curve.area, abs=1e-4)
    assert (curve.recall[0], curve.recall[-1]) == (0, 1)
    for wanted in (1e-3, 1e-2, 1e-1):
        drawn_recall = curve.recall[curve.false_alarm_rate <= wanted].max()
        assert drawn_recall == pytest.approx(recall[rate <= wanted].max(), abs=0.01)


def test_precision_recall_by_hand() -> None:
    curve = precision_recall_curve(np.array([0, 1, 0, 1], bool), np.array([0.1, 0.3, 0.5, 0.9]))
    assert curve.recall.tolist() == [1, 1, 0.5, 0.5, 0]
    assert curve.precision.tolist() == [0.5, pytest.approx(2 / 3), 0.5, 1, 1]
    assert curve.average_precision == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert curve.prevalence == 0.5


def test_thinned_precision_recall_keeps_its_course() -> None:
    truth, scores = drawn(60_000)
    precision, recall, _ = sklearn_metrics.precision_recall_curve(truth, scores)
    curve = precision_recall_curve(truth, scores, points=400)
    assert len(recall) > 4 * len(curve.recall)
    assert (np.diff(curve.recall) <= 0).all()
    assert curve.average_precision == sklearn_metrics.average_precision_score(truth, scores)
    for wanted in (0.2, 0.5, 0.9, 0.99):
        drawn_precision = np.interp(wanted, curve.recall[::-1], curve.precision[::-1])
        assert drawn_precision == pytest.approx(np.interp(wanted, recall[::-1], precision[::-1]), abs=0.01)


@pytest.mark.parametrize("truth", [np.zeros(5, bool), np.ones(5, bool), np.empty(0, bool)])
def test_curves_of_one_class_are_empty(truth: np.ndarray) -> None:
    scores = np.linspace(0, 1, len(truth))
    roc = roc_curve(truth, scores)
    assert len(roc.recall) == 0 and math.isnan(roc.area)
    curve = precision_recall_curve(truth, scores)
    if truth.any():
        assert curve.average_precision == curve.prevalence == 1
    else:
        assert len(curve.recall) == 0 and math.isnan(curve.average_precision)


def test_constant_scores_are_a_guess() -> None:
    truth = np.array([True, False, False, False])
    assert roc_curve(truth, np.full(4, 0.3)).area == 0.5
    assert precision_recall_curve(truth, np.full(4, 0.3)).average_precision == 0.25


def test_reliability_by_hand() -> None:
    truth = np.array([0, 0, 1, 1, 1, 0], bool)
    scores = np.array([0.0, 0.1, 0.15, 0.9, 1.0, 0.95])
    got = reliability(truth, scores)
    # 0 alone; 0.1 and 0.15; 0.9 to 1 with the 1 itself.
    assert got.rows.tolist() == [1, 2, 3]
    assert got.score.tolist() == pytest.approx([0.0, 0.125, 0.95])
    assert got.attacks.tolist() == pytest.approx([0.0, 0.5, 2 / 3])
    assert (got.low[2], got.high[2]) == (share(2, 3).low, share(2, 3).high)
    assert got.error == pytest.approx((0 + 2 * 0.375 + 3 * (0.95 - 2 / 3)) / 6)
    assert got.brier == pytest.approx(sklearn_metrics.brier_score_loss(truth, scores))


def test_reliability_is_scikit_learns_calibration_curve() -> None:
    from sklearn.calibration import calibration_curve

    truth, scores = drawn(5000)
    attacks, mean = calibration_curve(truth, scores, n_bins=10)
    got = reliability(truth, scores)
    assert got.attacks == pytest.approx(attacks) and got.score == pytest.approx(mean)


def test_reliability_of_draws_is_as_sure_as_one_of_them() -> None:
    truth, scores = np.array([True, False, False, True]), np.array([0.1, 0.1, 0.9, 0.9])
    once = reliability(truth, scores)
    twice = reliability(np.tile(truth, 2), np.tile(scores, 2), draws=2)
    assert twice.rows.tolist() == [4, 4] and twice.attacks.tolist() == once.attacks.tolist()
    assert twice.low == pytest.approx(once.low) and twice.high == pytest.approx(once.high)


def test_scores_that_are_no_probabilities_have_no_reliability() -> None:
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="no probabilities"):
            reliability(np.array([True, False]), np.array([0.5, wrong]))


def test_reliability_of_no_rows_is_empty() -> None:
    got = reliability(np.empty(0, bool), np.empty(0))
    assert len(got.rows) == 0 and math.isnan(got.error) and math.isnan(got.brier)
