"""What `ids-train search` does: read, fit point after point, write the table."""

from __future__ import annotations

import argparse
import math
import shlex
from typing import Any

from models.errors import TrainingError
from models.training.cli.data import read_data
from models.training.cli.flow_options import flow_settings
from models.training.cli.options import load_tensorflow, need
from models.training.flows.cleaning import clean
from models.training.flows.reading import need_both
from models.training.paper.searching import GRID, journal, search, search_report, told


def search_flows(args: argparse.Namespace, changed: dict[str, Any]) -> None:
    """Search, print and write.  Raises what `main` tells of."""
    for package in ("tensorflow", "sklearn", "matplotlib", "scipy"):
        need(package)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"{args.out}: no folder can be made there: {error.strerror}") from None
    results = journal(args.out)
    settings = flow_settings(args)
    table, read = read_data(args)
    need_both(table)
    cleaned, cleaning = clean(table, drop_duplicates=settings.cut != "matrix")
    lines = [*read.lines(), *cleaning.lines()]
    print("\n".join(lines))
    load_tensorflow()
    grid = {**GRID, **changed}
    budget = math.inf if args.budget is None else 60 * args.budget
    tried = search(cleaned, settings, grid, results, budget_s=budget, log=print)
    command = shlex.join(["ids-train", *args.words])
    search_report(tried, math.prod(map(len, grid.values())), lines, command=command).write(args.out)
    print(f"best of {len(tried)}: {told(tried[0].point)}: validation loss {tried[0].loss:.4f}")
    print(f"wrote {args.out}")
