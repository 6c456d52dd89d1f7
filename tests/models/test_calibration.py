"""A threshold keeps its budget on the traffic that gave it, says how sure that is, or is refused."""

from __future__ import annotations

import numpy as np
import pytest

from models.calibration import (
    BenignScores,
    Budget,
    HostHours,
    calibrate_threshold,
    counted_interval,
    covered_days,
    threshold_for,
    told,
)
from models.errors import CalibrationError
from tests.models.flows import SECOND, START_NS

HOUR = 3600 * SECOND


def benign(count: int, days: float | None = None) -> BenignScores:
    """Scores 1 to count, shuffled."""
    return BenignScores(np.random.default_rng(1).permutation(np.arange(1.0, count + 1)), "flows", days)


@pytest.mark.parametrize(("share", "threshold"), [(0.0, 100.0), (0.009, 100.0), (0.01, 99.0), (0.05, 95.0)])
def test_the_threshold_is_the_lowest_that_the_share_of_benign_scores_exceeds(
    share: float, threshold: float
) -> None:
    scores = benign(100).scores
    found = threshold_for(scores, share)
    assert found == threshold
    assert (scores > found).mean() <= share


def test_a_threshold_of_equal_scores_lets_none_pass() -> None:
    assert threshold_for(np.full(10, 2.5), 0.3) == 2.5


def test_no_scores_give_no_threshold() -> None:
    with pytest.raises(ValueError, match="no benign scores"):
        threshold_for(np.zeros(0), 0.3)


@pytest.mark.parametrize(
    ("text", "amount", "daily"),
    [("3/day", 3.0, True), ("0.5/day", 0.5, True), ("0.01", 0.01, False), ("1%", 0.01, False)],
)
def test_a_budget_is_so_many_a_day_or_a_share(text: str, amount: float, daily: bool) -> None:
    assert Budget.parse(text) == Budget(amount, daily)


@pytest.mark.parametrize("text", ["", "3", "0", "-1/day", "0/day", "1.5", "nan", "3/week", "inf/day", "100%"])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no budget: 3/day, or a share such as 0.001 or 0.1%"):
        Budget.parse(text)


def test_a_daily_budget_is_kept_over_the_days_of_traffic() -> None:
    found = calibrate_threshold(benign(1000, days=4.0), Budget(2.0, daily=True))
    assert (found.threshold, found.alarms, found.items, found.unit) == (992.0, 8, 1000, 4.0)
    # Of 8 counted, 3.45 to 15.76 are expected (tables of Garwood's interval), over 4 days.
    assert (found.low * 4, found.high * 4) == (
        pytest.approx(3.454, abs=1e-3),
        pytest.approx(15.763, abs=1e-3),
    )


def test_a_share_is_kept_over_the_items() -> None:
    found = calibrate_threshold(benign(1000), Budget(0.005, daily=False))
    assert (found.threshold, found.alarms, found.unit) == (995.0, 5, 1000.0)
    assert found.text(Budget(0.005, daily=False), "flows").splitlines() == [
        "threshold 995.0000: 5 false alarms in 1000 flows, so 0.00162 to 0.0117 of flows"
        " (95 % interval; budget 0.005)",
        "warning: so little traffic does not rule out 0.0117 of flows: give more",
    ]


def test_enough_traffic_is_not_warned_about() -> None:
    budget = Budget(3.0, daily=True)
    (line,) = calibrate_threshold(benign(1000, days=10.0), budget).text(budget, "flows").splitlines()
    assert line == (
        "threshold 970.0000: 30 false alarms in 10 days, so 2.02 to 4.28 a day (95 % interval; budget 3/day)"
    )


def test_a_threshold_is_lowered_only_as_far_as_the_traffic_shows_the_budget_kept() -> None:
    budget = Budget(3.0, daily=True)
    # In eight quiet hours one alarm is allowed, and none seen is no proof of three a day.
    found = calibrate_threshold(benign(100, days=8 / 24), budget, before=500.0)
    assert (found.threshold, found.alarms) == (500.0, 0)
    # In ten days 30 are allowed; of 19 seen, at most 29.67 are expected.
    assert calibrate_threshold(benign(1000, days=10.0), budget, before=2000.0).threshold == 981.0
    # One that lies between stays as well, and where the traffic asks for a higher one it gets it.
    assert calibrate_threshold(benign(1000, days=10.0), budget, before=975.0).threshold == 975.0
    assert calibrate_threshold(benign(1000, days=10.0), budget, before=960.0).threshold == 970.0


def test_equal_scores_alarm_together_or_not_at_all() -> None:
    scores = np.array([1.0] * 90 + [5.0] * 10)
    found = calibrate_threshold(BenignScores(scores, "flows", None), Budget(0.05, daily=False))
    assert (found.threshold, found.alarms, found.low) == (5.0, 0, 0.0)
    assert found.high == pytest.approx(3.689 / 100, abs=1e-4)


@pytest.mark.parametrize(
    ("days", "budget", "said"),
    [
        (0.25, "3/day", "cannot be told from 0.25 days of benign traffic: give 0.333 days or more"),
        (None, "0.001", "cannot be told from 100 flows of benign traffic: give 1000 flows or more"),
        (None, "3/day", "by the day needs times, which these flows lack: give a share"),
    ],
)
def test_traffic_that_cannot_tell_the_budget_is_refused(days: float | None, budget: str, said: str) -> None:
    with pytest.raises(CalibrationError) as caught:
        calibrate_threshold(benign(100, days), Budget.parse(budget))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(0, 0.0, 3.6889), (1, 0.0253, 5.5716), (10, 4.7954, 18.3904), (100, 81.364, 121.627)],
)
def test_the_interval_of_a_count_is_that_of_the_tables(count: int, low: float, high: float) -> None:
    assert counted_interval(count) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))


def test_the_interval_of_a_large_count_nears_two_deviations() -> None:
    low, high = counted_interval(100_000)
    assert (low, high) == (pytest.approx(99_381, abs=3), pytest.approx(100_622, abs=3))


def test_pauses_of_over_ten_minutes_are_no_days() -> None:
    ten = HOUR // 6
    times = START_NS + np.array([3 * ten, 0, 10, ten, 4 * ten + 1], np.int64)
    assert covered_days(times) == 10 / 1440
    assert covered_days(np.zeros(0, np.int64)) == covered_days(np.ones(3, np.int64)) == 0


def test_short_recordings_are_no_hours() -> None:
    """Eight of a minute each, one an hour, show eight minutes."""
    minutes = [START_NS + hour * HOUR + np.array([0, HOUR // 60]) for hour in range(8)]
    assert covered_days(np.concatenate(minutes)) == pytest.approx(8 / 1440)
    hours = HostHours()
    for minute in minutes:
        hours.see(minute[:1])
        hours.see(minute[1:])
    assert hours.days == pytest.approx(8 / 1440)


def test_days_are_the_same_however_their_flows_are_seen() -> None:
    times = START_NS + np.random.default_rng(1).integers(0, 50 * HOUR, 1_000)
    hours = HostHours()
    for part in np.array_split(times, 7):
        hours.see(part)
    hours.see(times[:0])
    assert hours.days == covered_days(times) > 1.5


class Seen(list[tuple[int, float]]):
    """A batch of windows: (host, hour) each."""

    @property
    def host(self) -> np.ndarray:
        return np.array([(0, host) for host, _ in self], np.uint64)

    @property
    def time_ns(self) -> np.ndarray:
        start = START_NS // HOUR * HOUR
        return np.array([start + round(hour * HOUR) for _, hour in self], np.int64)


def test_a_host_counts_once_an_hour_with_its_highest_decision() -> None:
    hours = HostHours()
    first, second = Seen([(1, 0.1), (1, 0.9), (2, 0.5)]), Seen([(1, 0.95), (1, 1.0), (2, 5.5)])
    hours.add(first, np.array([1.0, 4.0, 2.0]))  # type: ignore[arg-type]
    hours.add(second, np.array([3.0, -1.0, 7.0]))  # type: ignore[arg-type]
    for seen in (first, second):
        hours.see(seen.time_ns)
    found = hours.scores()
    assert sorted(found.scores) == [-1.0, 2.0, 4.0, 7.0]
    # From 0.9 to 1.0, and what is seen at 0.1, 0.5 and 5.5 alone has no length.
    assert (found.items, found.days, hours.hosts, hours.windows) == ("host hours", 0.1 / 24, 2, 6)


def test_a_calibration_says_what_it_was_made_of() -> None:
    budget = Budget(2.0, daily=True)
    found = calibrate_threshold(benign(1000, days=4.0), budget)
    assert told(budget, found, "flows", hours=96) == {
        "budget": "2/day",
        "items": "flows",
        "count": 1000,
        "alarms": 8,
        "expected": [pytest.approx(0.8635, abs=1e-3), pytest.approx(3.9408, abs=1e-3)],
        "per": "day",
        "hours": 96,
    }
