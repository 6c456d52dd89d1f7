"""`ids-train search --records`: the daemon's network on flow records of labelled captures."""

from __future__ import annotations

import argparse
from typing import Any

from models.training.cli.options import DEFAULT_EPOCHS, load_tensorflow, need_tensorflow_backend
from models.training.cli.records import read_windows
from models.training.cli.searching import opened, run_search
from models.training.searching import points
from models.training.windows.fitting import network_spec
from models.training.windows.network_fit import Options
from models.training.windows.searching import GRID, sides, window_task, with_point


def search_windows(args: argparse.Namespace, changed: dict[str, Any]) -> None:
    """Read, search and write.  changed: of the grid.  Raises what `main` tells of."""
    grid = {**GRID, **changed}
    spec, options = network_spec(), Options(seed=args.seed, epochs=args.epochs or DEFAULT_EPOCHS)
    for point in points(grid, args.seed):
        with_point(spec, options, point)  # told of now, not after a night of fits
    need_tensorflow_backend("a search on --records")
    results = opened(args, "windows")
    read = read_windows(args)
    dealt = sides(read.collector, args.folds, args.seed)
    lines = [read.told(), *dealt.lines]
    print("\n".join(lines), flush=True)
    load_tensorflow()
    judged_on = {**read.about, "folds": args.folds, "seed": args.seed}
    run_search(args, window_task(dealt, judged_on, spec, options), grid, results, lines)
