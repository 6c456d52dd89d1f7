"""`ids-train search`."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.training.cli.data import add_data
from models.training.cli.flow_options import add_flow_options, positive
from models.training.cli.options import Subcommands, at_least

_GRID = {"batch_size": int, "learning_rate": float, "filters": int, "lstm": int, "dropout": float}


def add(commands: Subcommands) -> None:
    """The parser of `search`."""
    search = commands.add_parser(
        "search",
        help="search sizes and options of the network for flows",
        description="Fit the paper's network with many sizes and options, in random order, and write which"
        " had the lowest loss on the validation part; the test part is not looked at. Every fit is kept in"
        " OUT/search.jsonl, and the same command goes on where it was stopped.  `ids-train fit DATA"
        " --from-search OUT` takes the best.",
    )
    add_data(search)
    search.add_argument("--out", type=Path, required=True, help="folder of the results and the report")
    search.add_argument("--budget", type=positive, metavar="MINUTES", help="begin no fit after so long")
    search.add_argument(
        "--grid", action="append", default=[], metavar="NAME=A,B,...",
        help=f"values to try in the place of those built in; NAME is one of {', '.join(_GRID)}",
    )  # fmt: skip
    search.add_argument("--epochs", type=at_least(1), help="at most, of a fit")
    search.add_argument("--seed", type=at_least(0), default=1)
    add_flow_options(search.add_argument_group("what every fit has"))
    search.set_defaults(run=_search, parser=search)


def _search(args: argparse.Namespace) -> None:
    grid = _grid(args)

    from models.training.cli.search_flows import search_flows

    search_flows(args, grid)


def _grid(args: argparse.Namespace) -> dict[str, tuple[float, ...]]:
    """The grid that --grid gives; the built-in one is filled in later.  Ends with usage for what is none."""
    grid: dict[str, tuple[float, ...]] = {}
    for text in args.grid:
        name, _, values = text.partition("=")
        name = name.replace("-", "_")
        if name not in _GRID:
            args.parser.error(f"--grid {text}: NAME is one of {', '.join(_GRID)}")
        try:
            grid[name] = tuple(_GRID[name](value) for value in values.split(","))
        except ValueError:
            args.parser.error(f"--grid {text}: values are numbers with commas between")
    return grid
