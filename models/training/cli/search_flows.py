"""`ids-train search DATA`: the paper's network on labelled flows."""

from __future__ import annotations

import argparse
from typing import Any

from models.training.cli.data import read_data
from models.training.cli.flow_options import flow_settings
from models.training.cli.options import load_tensorflow
from models.training.cli.searching import opened, run_search
from models.training.flows.cleaning import clean
from models.training.flows.reading import need_both
from models.training.paper.searching import GRID, flow_task


def search_flows(args: argparse.Namespace, changed: dict[str, Any]) -> None:
    """Read, search and write.  changed: of the grid.  Raises what `main` tells of."""
    results = opened(args, "flows")
    settings = flow_settings(args)
    table, read = read_data(args)
    need_both(table)
    cleaned, cleaning = clean(table, drop_duplicates=settings.cut != "matrix")
    lines = [*read.lines(), *cleaning.lines()]
    print("\n".join(lines))
    load_tensorflow()
    run_search(args, flow_task(cleaned, settings), {**GRID, **changed}, results, lines)
