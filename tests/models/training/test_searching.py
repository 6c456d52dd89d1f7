"""A search: every point once, in an order of its own, within its budget, and its best taken up again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.errors import TrainingError
from models.training.report import Column
from models.training.searching import (
    JOURNAL,
    Fitted,
    Kind,
    Task,
    best_of,
    journal,
    points,
    search,
    search_report,
)

SMALL = {"filters": (8, 16), "dropout": (0.1, 0.5)}

BASE = {"epochs": 9}

Asked = list[dict[str, Any]]


@pytest.fixture
def fitted() -> Asked:
    """The points that `task` was asked to fit."""
    return []


def task(fitted: Asked, kind: Kind = "windows", data: str = "a", base: Mapping[str, Any] = BASE) -> Task:
    """The loss is filters by a hundred and dropout, so 8 and 0.1 are the best."""

    def fit(point: dict[str, Any]) -> Fitted:
        fitted.append(point)
        loss = point["filters"] / 100 + point["dropout"]
        return Fitted(loss, 7, {"recall": 1 - loss})

    figures = {"recall": Column("recall", "percent")}
    return Task(kind, data, base, 1, fit, figures, "Judged by hand.")


def test_points_are_every_combination_once_in_an_order_of_the_seed() -> None:
    grid = {"filters": (1, 2, 3), "lstm": (4, 5), "window": (4, 8, 16)}
    first = points(grid, 1)
    assert {(one["filters"], one["lstm"], one["window"]) for one in first} == {
        (filters, lstm, window) for filters in (1, 2, 3) for lstm in (4, 5) for window in (4, 8, 16)
    }
    assert len(first) == 18 and list(first[0]) == ["filters", "lstm", "window"]
    assert points(grid, 1) == first and points(grid, 2) != first


def test_search_fits_every_point_in_that_order_and_tells_the_best_first(
    fitted: Asked, tmp_path: Path
) -> None:
    said: list[str] = []
    tried = search(task(fitted), SMALL, journal(tmp_path, "windows"), log=said.append)
    assert fitted == points(SMALL, 1)
    assert [one.loss for one in tried] == pytest.approx([0.18, 0.26, 0.58, 0.66])
    assert (tried[0].point, tried[0].epochs) == ({"filters": 8, "dropout": 0.1}, 7)
    assert tried[0].figures == {"recall": pytest.approx(0.82)}
    assert [line.split(":")[0] for line in said] == ["1 of 4", "2 of 4", "3 of 4", "4 of 4"]
    last = fitted[3]
    assert said[3] == (
        f"4 of 4: filters {last['filters']}, dropout {last['dropout']}:"
        f" loss {last['filters'] / 100 + last['dropout']:.4f}"
    )
    assert best_of(tmp_path, "windows").point == {"filters": 8, "dropout": 0.1}


def test_the_page_says_how_points_were_judged_and_has_a_row_for_each(fitted: Asked, tmp_path: Path) -> None:
    one = task(fitted)
    tried = search(one, SMALL, journal(tmp_path, "windows"))
    report = json.loads(search_report(one, tried, 9, ["read"], command="x").files()["report.json"])
    (table,) = report["tables"]
    assert [column["name"] for column in table["columns"]] == [
        "filters", "dropout", "validation loss", "recall", "epochs", "s",
    ]  # fmt: skip
    assert table["rows"][0][:5] == ["8", "0.1", pytest.approx(0.18), pytest.approx(0.82), 7]
    assert len(table["rows"]) == 4
    text = report["sections"][1]["text"]
    assert text.startswith("4 of 9 combinations") and text.endswith("Judged by hand.")


def test_search_stops_at_its_budget_and_goes_on_where_it_was(fitted: Asked, tmp_path: Path) -> None:
    ticks = iter(range(0, 1000, 10))
    search(task(fitted), SMALL, journal(tmp_path, "windows"), budget_s=25, clock=lambda: next(ticks))
    assert fitted == points(SMALL, 1)[:1]
    said: list[str] = []
    tried = search(task(fitted), SMALL, journal(tmp_path, "windows"), log=said.append)
    assert fitted == points(SMALL, 1)
    assert len(tried) == 4 and said[0].startswith("2 of 4: ")
    search(task(fitted), SMALL, journal(tmp_path, "windows"))
    assert len(fitted) == 4
    search(task(fitted, base={"epochs": 10}), SMALL, journal(tmp_path, "windows"))
    assert len(fitted) == 8


def test_what_was_fitted_before_an_interrupt_is_kept(fitted: Asked, tmp_path: Path) -> None:
    whole = task(fitted)

    def fit(point: dict[str, Any]) -> Fitted:
        if len(fitted) == 2:
            raise KeyboardInterrupt
        return whole.fit(point)

    with pytest.raises(KeyboardInterrupt):
        search(replace(whole, fit=fit), SMALL, journal(tmp_path, "windows"))
    assert len(search(whole, SMALL, journal(tmp_path, "windows"))) == 4
    assert fitted == points(SMALL, 1)


def test_a_point_that_makes_no_network_is_a_result_and_the_search_goes_on(
    fitted: Asked, tmp_path: Path
) -> None:
    whole = task(fitted)

    def fit(point: dict[str, Any]) -> Fitted:
        found = whole.fit(point)
        if point["dropout"] == 0.1:
            raise TrainingError("the loss is no number: lower the learning rate")
        return found

    said: list[str] = []
    one = replace(whole, fit=fit)
    tried = search(one, SMALL, journal(tmp_path, "windows"), log=said.append)
    assert [entry.loss for entry in tried] == [pytest.approx(0.58), pytest.approx(0.66), None, None]
    assert sum(line.endswith(": the loss is no number: lower the learning rate") for line in said) == 2
    assert best_of(tmp_path, "windows").point == {"filters": 8, "dropout": 0.5}
    search(one, SMALL, journal(tmp_path, "windows"))
    assert len(fitted) == 4
    (table,) = json.loads(search_report(one, tried, 4, [], command="x").files()["report.json"])["tables"]
    assert [row[2] for row in table["rows"]] == [pytest.approx(0.58), pytest.approx(0.66), None, None]
    with pytest.raises(TrainingError, match="^no point could be fitted: the loss is no number"):
        search(one, {"filters": (8,), "dropout": (0.1,)}, journal(tmp_path / "other", "windows"))


def test_searches_with_several_options_have_no_best_in_common(fitted: Asked, tmp_path: Path) -> None:
    for epochs in (5, 10):
        search(task(fitted, base={"epochs": epochs}), SMALL, journal(tmp_path, "windows"))
    with pytest.raises(TrainingError, match="searches with several options; give each a folder"):
        best_of(tmp_path, "windows")


def test_best_of_no_search_is_told_in_one_line(fitted: Asked, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"holds no results of `ids-train search DATA`$"):
        best_of(tmp_path, "flows")
    with pytest.raises(TrainingError, match=r"holds no results of `ids-train search --records`$"):
        best_of(tmp_path, "windows")
    for data in "ab":
        search(task(fitted, data=data), SMALL, journal(tmp_path, "windows"))
    with pytest.raises(TrainingError, match="searches on several sets of data"):
        best_of(tmp_path, "windows")


def test_a_search_on_the_other_kind_of_data_is_refused(fitted: Asked, tmp_path: Path) -> None:
    one = {"filters": (8,), "dropout": (0.1,)}
    search(task(fitted, "windows"), one, journal(tmp_path / "w", "windows"))
    search(task(fitted, "flows"), one, journal(tmp_path / "f", "flows"))
    for use in (journal, best_of):
        with pytest.raises(TrainingError) as refused:
            use(tmp_path / "w", "flows")
        assert str(refused.value) == (
            f"{tmp_path / 'w'}: holds a search on flow records, not on labelled flows:"
            " name another folder, of `ids-train search DATA`"
        )
        with pytest.raises(TrainingError, match="a search on labelled flows, not on flow records"):
            use(tmp_path / "f", "windows")


def test_a_journal_that_names_no_kind_is_of_labelled_flows(fitted: Asked, tmp_path: Path) -> None:
    search(task(fitted, "flows"), SMALL, journal(tmp_path, "flows"))
    lines = [json.loads(line) for line in (tmp_path / JOURNAL).read_text().splitlines()]
    text = "".join(json.dumps({k: v for k, v in line.items() if k != "kind"}) + "\n" for line in lines)
    (tmp_path / JOURNAL).write_text(text)
    assert best_of(tmp_path, "flows").point == {"filters": 8, "dropout": 0.1}
    search(task(fitted, "flows"), SMALL, journal(tmp_path, "flows"))
    assert len(fitted) == 4
