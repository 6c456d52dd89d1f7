"""The report of an evaluation says what the scores say, and no more than the data can tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.training.evaluating.account import PROTOCOLS, table_of_tests, write_account
from models.training.evaluating.scored import Scored
from models.training.evaluating.trials import Leak, without_leaks
from models.training.flows.table import NO_TIME
from models.training.intervals import share
from models.training.report import Report
from tests.models.training.flows.making import flow_table

pytest.importorskip("matplotlib", reason="needs matplotlib")
pytest.importorskip("sklearn", reason="needs scikit-learn")

BLANK = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (1).to_bytes(4, "big") * 2


@pytest.fixture(autouse=True, scope="module")
def quick_figures() -> Iterator[None]:
    """Figures that take no time: how they are drawn is held by the tests of the report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.training.report.page.png", lambda figure: BLANK)
        yield


def one_test(test: str, system: str, seed: int, rows: int = 400, **other: Any) -> Scored:
    random = np.random.default_rng(seed)
    label = random.choice([0, 0, 0, 1, 2], rows)
    given: dict[str, Any] = {
        "test": test, "group": "unseen days", "system": system, "labels": ("BENIGN", "Bot", "scan"),
        "label": label, "time": np.arange(rows) * 60_000_000_000, "threshold": 0.5, "fitted_on": 100,
        "scores": np.clip(random.normal(0.3 + 0.4 * (label > 0), 0.2), 0, 1), "leaked": 3, "history": [],
    }  # fmt: skip
    return Scored(**{**given, **other})


def written(scored: list[Scored], **options: Any) -> dict[str, Any]:
    report = Report("r")
    write_account(report, PROTOCOLS["days"], scored, local_rate=0.05, **options)
    return json.loads(report.files()["report.json"])


def table(data: dict[str, Any], title: str) -> list[list[Any]]:
    (found,) = [one["rows"] for one in data["tables"] if one["title"] == title]
    return found


@pytest.fixture(scope="module")
def scored() -> list[Scored]:
    """Two days by two systems, of which one has learned by epochs."""
    return [
        one_test("Monday", "CNN-LSTM", 1, history=[{"loss": 1.0}, {"loss": 0.5}]),
        one_test("Monday", "Random forest", 1),
        one_test("Tuesday", "CNN-LSTM", 2, history=[{"loss": 2.0}, {"loss": 0.5}]),
        one_test("Tuesday", "Random forest", 2, threshold=0.6),
    ]


@pytest.fixture(scope="module")
def data(scored: list[Scored]) -> dict[str, Any]:
    return written(scored, leaks=[Leak("random 70/15/15", "kept", 200, 10, 30)])


def test_every_test_and_system_has_its_row(data: dict[str, Any], scored: list[Scored]) -> None:
    rows = table(data, "Every test")
    assert [row[:2] for row in rows] == [[one.test, one.system] for one in scored]
    for row, one in zip(rows, scored, strict=True):
        counts = one.confusion
        assert row[2:4] == [400, counts.attacks]
        assert row[4:8:3] == [counts.accuracy, counts.f1] and row[5] == counts.precision
        assert row[6]["value"] == counts.recall
        assert row[8] == {
            "value": counts.false_alarm_rate,
            "low": share(counts.fp, counts.benign).low,
            "high": share(counts.fp, counts.benign).high,
        }


def test_what_was_asked_comes_first_and_in_short(data: dict[str, Any], scored: list[Scored]) -> None:
    text = data["sections"][0]["text"]
    assert text.startswith("How does a model do on a day that it has not seen?")
    total = scored[0].confusion + scored[2].confusion
    assert f"CNN-LSTM finds {100 * total.recall:.2f} %" in text
    assert f"calls {100 * total.false_alarm_rate:.2f} %" in text
    assert "Random forest finds" in text


def test_families_of_all_days_stand_side_by_side(data: dict[str, Any], scored: list[Scored]) -> None:
    rows = table(data, "Recall by family, unseen days")
    assert [row[0] for row in rows] == ["Bot", "scan"]
    bots = [(one.label == 1) for one in scored]
    assert rows[0][1] == bots[0].sum() + bots[2].sum()
    found = sum(one.flagged[bot].sum() for one, bot in zip(scored[1::2], bots[1::2], strict=True))
    assert rows[0][3]["value"] == found / rows[0][1]


def test_how_many_flows_of_a_family_are_distinct_is_told_where_it_is_known(scored: list[Scored]) -> None:
    unlike = [replace(one, alike=np.arange(len(one.label), dtype=np.uint64) % 7) for one in scored]
    data = written(unlike)
    rows = table(data, "Recall by family, unseen days")
    assert [row[2] for row in rows] == [7, 7] and len(rows[0]) == 5
    (note,) = [one["note"] for one in data["tables"] if one["title"] == "Recall by family, unseen days"]
    assert "where few are distinct it is too narrow" in note
    assert "distinct" not in json.dumps(written(scored))


def test_rates_that_the_data_cannot_tell_are_named(data: dict[str, Any], scored: list[Scored]) -> None:
    benign = sum(one.confusion.benign for one in scored[::2])
    (note,) = [one["note"] for one in data["tables"] if one["title"].startswith("Recall at fixed")]
    assert f"There are {benign:,} benign flows, too few to tell 1 in 1,000 and 1 in 10,000" in note


def test_local_thresholds_are_told_before_and_after(data: dict[str, Any]) -> None:
    rows = table(data, "Before and after calibration on local benign traffic, unseen days")
    assert [row[:2] for row in rows] == [
        ["CNN-LSTM", "as fitted"],
        ["CNN-LSTM", "calibrated"],
        ["Random forest", "as fitted"],
        ["Random forest", "calibrated"],
    ]
    kept = data["data"]["local thresholds, unseen days"]["CNN-LSTM"]
    for row, side in zip(rows, ("before", "after"), strict=False):
        tp, attacks = (sum(one[side][key] for one in kept) for key in ("tp", "fn"))
        assert row[2]["value"] == tp / (tp + attacks)
        false, calm = (sum(one[side][key] for one in kept) for key in ("fp", "tn"))
        assert row[3]["value"] == false / (false + calm)


def test_alarms_a_day_are_told_for_every_test(data: dict[str, Any], scored: list[Scored]) -> None:
    rows = table(data, "Alarms a day, unseen days")
    assert len(rows) == 4
    assert rows[0][2] == pytest.approx(399 / 1440)
    assert rows[0][3] == pytest.approx(scored[0].flagged.sum() / (399 / 1440))


def test_leaks_are_told(data: dict[str, Any]) -> None:
    assert table(data, "Flows known before they are judged") == [
        ["random 70/15/15", "kept", 200, 10, 0.05, 30, 0.15]
    ]


def test_what_was_left_out_is_told(scored: list[Scored]) -> None:
    report = Report("r")
    told = ["all days but Friday: not judged"]
    write_account(report, PROTOCOLS["days"], scored[:1], local_rate=0.05, left_out=told)
    files = report.files()
    assert json.loads(files["report.json"])["data"]["left_out"] == told
    assert told[0] in files["index.html"].decode()


@pytest.mark.parametrize("untimed", [(), (1,), (0, 1)])
def test_which_benign_flows_set_a_local_threshold_is_told_as_it_was(
    untimed: tuple[int, ...], scored: list[Scored]
) -> None:
    tests = [
        replace(one, time=np.full(len(one.time), NO_TIME)) if number in untimed else one
        for number, one in enumerate(scored[::2])
    ]
    notes = {one["title"]: one["note"] for one in written(tests)["tables"]}
    says = {
        (): "The first 30 % of the benign flows set a threshold",
        (1,): "The first 30 % of the benign flows, or in tests where not all have a time 30 % drawn",
        (0, 1): "Of the benign flows, of which not all have a time, 30 % drawn at random set a threshold",
    }[untimed]
    assert notes["Before and after calibration on local benign traffic, unseen days"].startswith(says)


@pytest.mark.parametrize(("timed", "says"), [(True, "came last"), (False, "drawn at random")])
def test_flows_without_times_are_not_said_to_come_last(timed: bool, says: str) -> None:
    random = np.random.default_rng(1)
    time = np.arange(80) if timed else np.full(80, NO_TIME)
    flows = flow_table(random.random((80, 3)), [0, 1] * 40, time=time)
    for trial in without_leaks(flows, shuffles=2):
        report = Report("r")
        write_account(report, PROTOCOLS["no-leaks"], [one_test(trial.name, "svm", 1)], local_rate=0.05)
        told = json.loads(report.files()["report.json"])
        text = told["sections"][0]["text"]
        assert says in text and "agree in protocol and in two digits of every feature" in text
        assert ("later part" in text) == ("came last" in text) == timed
        assert told["data"]["protocol"] == "no-leaks"


def test_the_same_flows_drawn_three_times_tell_no_more_than_once() -> None:
    def told(times: int) -> dict[str, Any]:
        # Draws that are wholly the same show it best.
        tests = [one_test(f"random, shuffle {n}", "svm", 1, 1000, group="random split") for n in range(times)]
        report = Report("r")
        write_account(report, PROTOCOLS["random"], tests, local_rate=0.05)
        return json.loads(report.files()["report.json"])

    once, thrice = told(1), told(3)
    families = "Recall by family, random split"
    local = "Before and after calibration on local benign traffic, random split"
    for title, column in ((families, 2), (local, 2), (local, 3)):
        cells = [[row[column] for row in table(data, title)] for data in (once, thrice)]
        assert [list(cell.values()) for cell in cells[1]] == [
            pytest.approx(list(cell.values())) for cell in cells[0]
        ]
    rates = [data["data"]["recall_at, random split"]["svm"] for data in (once, thrice)]
    # Some 600 benign flows tell no rate of one in 1,000, though three times as many would.
    assert [one["resolvable"] for one in rates[1]] == [True, False, False, False]
    (note,) = [one["note"] for one in thrice["tables"] if one["title"].startswith("Recall at fixed")]
    counts = thrice["data"]["tests"][0]["confusion"]
    benign = counts["tn"] + counts["fp"]
    assert f"There are {benign} benign flows in a test, too few to tell 1 in 1,000" in note
    for one, three in zip(*rates, strict=True):
        assert [three[key] for key in ("recall", "low", "high")] == pytest.approx(
            [one[key] for key in ("recall", "low", "high")]
        )
    short = [data["sections"][0]["text"].split("Random split: ")[1] for data in (once, thrice)]
    assert short[1] == f"{short[0]} The same flows, drawn 3 times."
    assert "the same flows, drawn 3 times" in thrice["sections"][1]["text"]
    assert "drawn" not in once["sections"][1]["text"]


def test_the_papers_figures_are_there(data: dict[str, Any]) -> None:
    assert {figure["title"] for figure in data["figures"]} == {
        "Recall by family, unseen days",
        "Recall at fixed false-alarm rates, unseen days",
        "Confusion matrix of CNN-LSTM, unseen days",
        "Confusion matrix of Random forest, unseen days",
        "Precision and recall, unseen days",
        "Receiver operating characteristic, unseen days",
        "Calibration curve, unseen days",
        "Accuracy and loss of CNN-LSTM, unseen days",
    }


def test_every_test_is_there_for_machines(data: dict[str, Any], scored: list[Scored]) -> None:
    told = data["data"]["tests"]
    assert [one["test"] for one in told] == [one.test for one in scored]
    assert told[3]["threshold"] == 0.6 and told[3]["leaked"] == 3
    assert told[0]["confusion"]["tp"] == scored[0].confusion.tp
    assert told[0]["history"] == [{"loss": 1.0}, {"loss": 0.5}]


def test_benign_flows_alone_give_false_alarms_and_claim_no_recall() -> None:
    label = np.zeros(50, np.int64)
    data = written([one_test("only", "CNN-LSTM", 3, rows=50, label=label)])
    text = data["sections"][0]["text"]
    assert "finds" not in text and "of the benign flows attacks" in text
    assert [one["title"] for one in data["tables"]] == [
        "Every test",
        "Before and after calibration on local benign traffic, unseen days",
        "Alarms a day, unseen days",
    ]
    assert [one["title"] for one in data["figures"]] == ["Confusion matrix of CNN-LSTM, unseen days"]


def test_attacks_alone_claim_no_false_alarms() -> None:
    data = written([one_test("only", "CNN-LSTM", 3, rows=50, label=np.ones(50, np.int64))])
    assert "benign flows attacks" not in data["sections"][0]["text"]
    assert [one["title"] for one in data["tables"]] == [
        "Every test",
        "Recall by family, unseen days",
        "Alarms a day, unseen days",
    ]


def test_distances_have_no_calibration_curve(scored: list[Scored]) -> None:
    data = written([replace(one, scores=one.scores * 5 - 2) for one in scored[:1]])
    titles = [figure["title"] for figure in data["figures"]]
    assert "Receiver operating characteristic, unseen days" in titles
    assert "Calibration curve, unseen days" not in titles


def test_a_terminal_shows_percent_and_a_dash_for_what_is_unknown() -> None:
    shown = table_of_tests([one_test("only", "net", 3, rows=4, label=np.zeros(4, int), scores=np.zeros(4))])
    assert shown[1].split() == ["only", "net", "4", "flows", "0", "100.00", "-", "-", "-", "0.00"]


def test_what_is_judged_is_named(scored: list[Scored]) -> None:
    data = written([replace(one, unit="windows", group="windows") for one in scored[:1]])
    assert table(data, "Every test")[0][0] == "Monday, windows"
    assert "of the benign windows attacks" in data["sections"][0]["text"]
    (families,) = [one for one in data["tables"] if one["title"] == "Recall by family, windows"]
    assert families["columns"][1]["name"] == "windows"
    assert "flows" not in json.dumps(data)
