"""A search: every point once, in an order of its own, within its budget, and its best taken up again."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from models.errors import TrainingError
from models.training.metrics import Confusion
from models.training.paper import searching
from models.training.paper.flow_fit import Settings
from models.training.paper.searching import GRID, best_of, journal, points, search, search_report
from tests.models.training.made_flows import table

SMALL = {"filters": (8, 16), "dropout": (0.1, 0.5)}


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is fitted; the loss is filters by a hundred and dropout, so 8 and 0.1 are the best."""
    asked: list[dict[str, Any]] = []

    def fit(flows: Any, settings: Settings) -> Any:
        sizes = {"filters": 64, "dropout": 0.3, **settings.sizes}
        asked.append({"filters": sizes["filters"], "dropout": sizes["dropout"]})
        loss = sizes["filters"] / 100 + sizes["dropout"]
        history = [{"val_loss": loss}, {"val_loss": loss + 1}]
        return SimpleNamespace(history=history, validation=Confusion(8, 2, 1, 9))

    monkeypatch.setattr(searching, "fit_flows", fit)
    return asked


def test_points_are_every_combination_once_in_an_order_of_the_seed() -> None:
    first = points(GRID, 1)
    assert len(first) == 3 * 3 * 2 * 2 * 3
    assert len({json.dumps(point) for point in first}) == len(first)
    assert points(GRID, 1) == first and points(GRID, 2) != first
    assert set(first[0]) == {"batch_size", "learning_rate", "filters", "lstm", "dropout"}


def test_search_fits_every_point_and_tells_the_best_first(
    fitted: list[dict[str, Any]], tmp_path: Path
) -> None:
    said: list[str] = []
    tried = search(table(50), Settings(), SMALL, journal(tmp_path), log=said.append)
    assert sorted(fitted, key=str) == sorted(points(SMALL, 1), key=str)
    assert [one.loss for one in tried] == pytest.approx([0.18, 0.26, 0.58, 0.66])
    assert (tried[0].epochs, tried[0].f1) == (2, pytest.approx(18 / 21))
    assert said[3].startswith("4 of 4: filters ")
    assert best_of(tmp_path) == {"filters": 8, "dropout": 0.1}
    report = json.loads(search_report(tried, 4, ["read"], command="x").files()["report.json"])
    assert report["tables"][0]["rows"][0][:3] == ["8", "0.1", pytest.approx(0.18)]


def test_search_stops_at_its_budget_and_goes_on_where_it_was(
    fitted: list[dict[str, Any]], tmp_path: Path
) -> None:
    ticks = iter(range(0, 1000, 10))
    search(table(50), Settings(), SMALL, journal(tmp_path), budget_s=25, clock=lambda: next(ticks))
    first = len(fitted)
    assert 1 <= first < 4
    search(table(50), Settings(), SMALL, journal(tmp_path))
    assert len(fitted) == 4
    assert len({json.dumps(one) for one in fitted}) == 4
    search(table(50), Settings(seed=2), SMALL, journal(tmp_path))
    assert len(fitted) == 8


def test_best_of_no_search_is_told_in_one_line(fitted: list[dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="holds no results of `ids-train search`"):
        best_of(tmp_path)
    for seed in (0, 1):
        search(table(50, seed=seed), Settings(), {"filters": (8,), "dropout": (0.1,)}, journal(tmp_path))
    with pytest.raises(TrainingError, match="searches on several sets of data"):
        best_of(tmp_path)
