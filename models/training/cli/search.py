"""`ids-train search`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.training.cli.data import add_data
from models.training.cli.flow_options import add_flow_options, positive
from models.training.cli.options import DEFAULT_EPOCHS, Subcommands, at_least, need, share
from models.training.cli.records import add_records, on_records

_GRID: dict[str, Callable[[str], float]] = {
    "batch_size": at_least(1),
    "learning_rate": positive,
    "filters": at_least(1),
    "lstm": at_least(1),
    "dropout": share,
    "window": at_least(1),
}


def add(commands: Subcommands) -> None:
    """The parser of `search`."""
    search = commands.add_parser(
        "search",
        help="search sizes and options of the network",
        description="Fit many networks that differ in sizes and options, in random order, and write which"
        " had the lowest validation loss: with --records the daemon's network, judged on captures of origins"
        " that it has not seen; with DATA the paper's, judged on the validation part, without a look at the"
        " test part. Every fit is kept in OUT/search.jsonl, and the same command goes on where it stopped."
        " `ids-train fit` with the same data and --from-search OUT takes the best.",
    )
    add_data(search, needed=False)
    search.add_argument("--out", type=Path, required=True, help="folder of the results and the report")
    search.add_argument("--budget", type=positive, metavar="MINUTES", help="begin no fit after so long")
    search.add_argument(
        "--grid", action="append", default=[], metavar="NAME=A,B,...",
        help=f"values to try in the place of those built in; NAME is one of {', '.join(_GRID)}; window, the"
        " newest flows of a host that the network sees, with --records",
    )  # fmt: skip
    search.add_argument(
        "--epochs", type=at_least(1), help=f"at most, of a fit (default {DEFAULT_EPOCHS} for records)"
    )
    search.add_argument("--seed", type=at_least(0), default=1)
    of_records = add_records(search.add_argument_group("with --records"))
    of_data = add_flow_options(search.add_argument_group("with DATA: what every fit has"))
    search.set_defaults(run=lambda args: _search(args, of_records, of_data), parser=search)


def _search(
    args: argparse.Namespace, of_records: list[argparse.Action], of_data: list[argparse.Action]
) -> None:
    records = on_records(args, of_records, of_data)
    grid = _grid(args, [name for name in _GRID if records or name != "window"])
    for package in ("tensorflow", "sklearn", "matplotlib", "scipy"):
        need(package)
    if records:
        from models.training.cli.search_windows import search_windows

        search_windows(args, grid)
    else:
        from models.training.cli.search_flows import search_flows

        search_flows(args, grid)


def _grid(args: argparse.Namespace, names: list[str]) -> dict[str, tuple[Any, ...]]:
    """The grid that --grid gives; the built-in one is filled in later.  Ends with usage for what is none."""
    grid: dict[str, tuple[Any, ...]] = {}
    for text in args.grid:
        name, _, values = text.partition("=")
        name = name.replace("-", "_")
        if name not in names:
            args.parser.error(f"--grid {text}: NAME is one of {', '.join(names)}")
        try:
            grid[name] = tuple(_GRID[name](value) for value in values.split(","))
        except argparse.ArgumentTypeError as error:
            args.parser.error(f"--grid {text}: values are numbers with commas between: {error}")
    return grid
