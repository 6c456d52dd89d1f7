"""What commands do with a search: fit point after point and write the table; take the best of it."""

from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from models.training.cli.options import check_out
from models.training.searching import (
    JOURNAL,
    Best,
    Grid,
    Kind,
    Task,
    best_of,
    journal,
    search,
    search_report,
    told,
)

if TYPE_CHECKING:
    from models.training.journal import Journal


def opened(args: argparse.Namespace, kind: Kind) -> Journal:
    """The results in --out; TrainingError where none can be written, or they are of another kind."""
    check_out(args.out, JOURNAL)
    return journal(args.out, kind)


def run_search(
    args: argparse.Namespace, task: Task, grid: Grid, results: Journal, lines: Sequence[str]
) -> None:
    """Search, print and write.  lines: what was read."""
    budget = math.inf if args.budget is None else 60 * args.budget
    try:
        tried = search(task, grid, results, budget_s=budget, log=lambda line: print(line, flush=True))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{args.out} has what is done; the same command goes on there") from None
    command = shlex.join(["ids-train", *args.words])
    possible = math.prod(map(len, grid.values()))
    search_report(task, tried, possible, lines, command=command).write(args.out)
    print(f"best of {len(tried)}: {told(tried[0].point)}: validation loss {tried[0].loss:.4f}")
    print(f"wrote {args.out}")


def found_best(args: argparse.Namespace, kind: Kind) -> Best | None:
    """The best of the search that --from-search names, which is said; None where none is named."""
    if args.from_search is None:
        return None
    best = best_of(args.from_search, kind)
    print(f"from the search: {told(best.point)}")
    return best
