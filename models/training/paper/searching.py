"""What a search on labelled flows fits at a point, and judges it by: see `models.training.searching`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.training.flows.table import FlowTable
from models.training.paper.comparing import digest
from models.training.paper.flow_fit import Settings, fit_flows, with_sizes
from models.training.report import Column
from models.training.searching import Fitted, Task

#: What is tried where nothing else is asked for.
GRID: Mapping[str, tuple[Any, ...]] = {
    "batch_size": (64, 128, 256),
    "learning_rate": (1e-3, 3e-3, 1e-2),
    "filters": (32, 64),
    "lstm": (32, 64),
    "dropout": (0.1, 0.3, 0.5),
}

_FIGURES = {"f1": Column("F1", "percent"), "accuracy": Column("accuracy", "percent")}


def flow_task(table: FlowTable, settings: Settings) -> Task:
    """The paper's network on a table of flows.  The test part is never scored for a choice."""

    def fit(point: dict[str, Any]) -> Fitted:
        found = fit_flows(table, with_sizes(settings, point))
        losses = [entry["val_loss"] for entry in found.history]
        figures = {name: getattr(found.validation, name) for name in _FIGURES}
        return Fitted(min(losses), len(losses), figures)

    return Task(
        kind="flows",
        data=digest(table),
        base=settings.to_dict(),
        seed=settings.seed,
        fit=fit,
        figures=_FIGURES,
        judged="F1 and accuracy are those of the validation part at its best threshold. The test part was not"
        " looked at.",
    )
