"""What a search on labelled flows fits at a point, and judges it by."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from models.training.metrics import Confusion
from models.training.paper import searching
from models.training.paper.comparing import digest
from models.training.paper.flow_fit import Settings
from models.training.paper.searching import GRID, flow_task
from models.training.searching import points
from tests.models.training.made_flows import table


def test_the_built_in_grid_is_of_sizes_and_options() -> None:
    first = points(GRID, 1)
    assert len(first) == len({json.dumps(point) for point in first}) == 3 * 3 * 2 * 2 * 3
    assert set(first[0]) == {"batch_size", "learning_rate", "filters", "lstm", "dropout"}


def test_a_point_is_judged_by_the_lowest_loss_of_the_validation_part(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Settings] = []

    def fit(flows: Any, settings: Settings) -> Any:
        asked.append(settings)
        history = [{"val_loss": 0.4}, {"val_loss": 0.2}, {"val_loss": 0.3}]
        return SimpleNamespace(history=history, validation=Confusion(8, 2, 1, 9))

    monkeypatch.setattr(searching, "fit_flows", fit)
    flows, settings = table(50), Settings(seed=4)
    task = flow_task(flows, settings)
    found = task.fit({"filters": 8, "batch_size": 32})
    assert (found.loss, found.epochs) == (0.2, 3)
    assert found.figures == {"f1": pytest.approx(18 / 21), "accuracy": pytest.approx(17 / 20)}
    assert (asked[0].sizes["filters"], asked[0].options.batch_size, asked[0].seed) == (8, 32, 4)
    assert (task.kind, task.data, task.base, task.seed) == ("flows", digest(flows), settings.to_dict(), 4)
