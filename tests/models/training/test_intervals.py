"""Intervals of shares and of paired differences, against published and hand-computed values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.training.intervals import Share, paired_difference, share

pytest.importorskip("scipy", reason="needs scipy, which comes with scikit-learn")


def test_no_success_of_ten_is_below_a_share_that_ten_failures_make_unlikely() -> None:
    # (1 - p)^10 = 0.025
    assert share(0, 10) == Share(0.0, 0.0, pytest.approx(1 - 0.025**0.1))


def test_all_of_ten_mirrors_none_of_ten() -> None:
    assert share(10, 10) == Share(1.0, pytest.approx(0.025**0.1), 1.0)


def test_an_interval_leaves_the_same_tail_on_either_side() -> None:
    # The chance of 3 or more of 10 at the low end, and of 3 or fewer at the high end, is 2.5 % each.
    counted = share(3, 10)

    def chance(p: float, numbers: range) -> float:
        return sum(math.comb(10, k) * p**k * (1 - p) ** (10 - k) for k in numbers)

    assert counted.value == 0.3
    assert chance(counted.low, range(3, 11)) == pytest.approx(0.025)
    assert chance(counted.high, range(4)) == pytest.approx(0.025)


def test_a_wider_confidence_makes_a_wider_interval() -> None:
    assert share(3, 10, 0.99).low < share(3, 10).low < share(3, 10).high < share(3, 10, 0.99).high


def test_of_no_cases_nothing_is_known() -> None:
    nothing = share(0, 0)
    assert math.isnan(nothing.value) and (nothing.low, nothing.high) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "total"), [(0, 20), (7, 20), (20, 20)])
def test_the_same_cases_drawn_again_tell_no_more(successes: int, total: int) -> None:
    once, thrice = share(successes, total), share(3 * successes, 3 * total, draws=3)
    assert (thrice.value, thrice.low, thrice.high) == pytest.approx((once.value, once.low, once.high))
    plain = share(3 * successes, 3 * total)
    assert plain.high - plain.low < 0.8 * (thrice.high - thrice.low)


def test_the_mean_draw_need_not_be_whole() -> None:
    # 1.5 of 10: between one and two of ten.
    got = share(3, 20, draws=2)
    assert share(1, 10).low < got.low < share(2, 10).low
    assert share(1, 10).high < got.high < share(2, 10).high


@pytest.mark.parametrize(("successes", "total"), [(3, 2), (-1, 2)])
def test_impossible_counts_are_refused(successes: int, total: int) -> None:
    with pytest.raises(ValueError, match=f"{successes} of {total} is no share"):
        share(successes, total)


def test_paired_difference_is_students() -> None:
    # Differences 1, 2, 3: mean 2, deviation 1, t(0.975, 2) = 4.302653.
    got = paired_difference([2, 4, 6], [1, 2, 3])
    assert got.mean == 2
    assert got.high - 2 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert 2 - got.low == pytest.approx(got.high - 2)
    assert got.verdict == "level"


def test_shared_training_rows_widen_the_interval() -> None:
    plain = paired_difference([2, 4, 6], [1, 2, 3])
    corrected = paired_difference([2, 4, 6], [1, 2, 3], test_per_train=15 / 70)
    assert corrected.mean == plain.mean
    ratio = (corrected.high - corrected.mean) / (plain.high - plain.mean)
    assert ratio == pytest.approx(math.sqrt(1 / 3 + 15 / 70) / math.sqrt(1 / 3))


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ([0.9, 0.91, 0.93], [0.8, 0.81, 0.82], "ahead"),
        ([0.8, 0.81, 0.82], [0.9, 0.91, 0.93], "behind"),
        ([0.9, 0.8, 0.7], [0.7, 0.8, 0.9], "level"),
        ([0.5, 0.5], [0.5, 0.5], "level"),
        ([0.6, 0.6], [0.5, 0.5], "unknown"),
    ],
)
def test_verdict_is_level_unless_the_interval_leaves_out_zero(
    a: list[float], b: list[float], verdict: str
) -> None:
    assert paired_difference(a, b).verdict == verdict


def test_one_shuffle_decides_nothing() -> None:
    got = paired_difference([0.99], [0.5])
    assert (got.mean, got.low, got.high, got.verdict) == (0.49, -math.inf, math.inf, "unknown")


@pytest.mark.parametrize(
    ("a", "b"), [([0.9, 0.91, 0.92], [0.8, 0.81, 0.82]), ([math.nan, 0.9, 0.8], [0.9, 0.9, 0.9])]
)
def test_no_spread_and_no_figure_decide_nothing(a: list[float], b: list[float]) -> None:
    got = paired_difference(a, b, test_per_train=0.2)
    assert (got.low, got.high, got.verdict) == (-math.inf, math.inf, "unknown")


@pytest.mark.parametrize(("a", "b"), [([1, 2], [1]), ([], []), (np.ones((2, 2)), np.ones((2, 2)))])
def test_what_is_no_pairs_is_refused(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match="are no pairs"):
        paired_difference(a, b)
