"""Table 1 of the paper on every flow set at hand, both protocols, pooled over fixed shuffles.

    ./dev bench train --flows DIR [--out DIR] [--sets A,B] [--systems A,B] [--shuffles 10]

DIR holds Parquet files of the CICIDS2017 family by the names in SETS; what is missing is left out, said so.
Every fit is a line of OUT/results.jsonl, and what stands there is not done again: stop it when you like.
All sets get their first three shuffles before any gets more.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.table import Table

from models.scaling import Kind
from models.training.flows.reading import read_flows
from models.training.journal import Journal
from models.training.paper import table_one
from models.training.paper.comparing import PROTOCOLS, Protocol, Run, compare, journal
from models.training.systems.base import Entry
from models.training.systems.registry import BASE, BASELINES, SYSTEMS, chosen

#: By the name that options have: the file.  `cicids2017-original-heads` is none of them: it has 8 attacks.
SETS = {
    "original-random": "cicids2017-original-random",
    "corrected": "cicids2017-corrected-with-addresses",
    "attacks-77": "cicids2017-original-attacks-77",
    "cleaned52": "cicids2017-cleaned52-balanced",
    "webattacks-thursday": "cicids2017-original-webattacks-thursday",
    "friday": "cicids2017-original-with-addresses-friday",
    "2018": "cse-cic-ids2018-0214",
}
FIRST = 3  # shuffles that every set gets before any gets more
NETWORK = "cnn-lstm"


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    console = Console(width=200)
    entries = chosen(args.systems)
    results = journal(args.out)
    for shuffles in dict.fromkeys((min(FIRST, args.shuffles), args.shuffles)):
        for name in args.sets:
            path = args.flows / f"{SETS[name]}.parquet"
            if not path.exists():
                console.print(f"{name}: left out, {path} is missing")
                continue
            measure(name, path, entries, shuffles, results, args, console)
    return 0


def measure(
    name: str,
    path: Path,
    entries: Sequence[Entry],
    shuffles: int,
    results: Journal,
    args: argparse.Namespace,
    console: Console,
) -> None:
    """One set: what is missing is fitted, then its tables are printed."""
    began = time.monotonic()
    table, _ = read_flows([path])
    for scale in args.scales:
        for protocol in args.protocols:
            runs = compare(
                table,
                entries,
                protocols=[protocol],
                shuffles=range(1, shuffles + 1),
                results=results,
                scale=scale,
                log=lambda text: _told(name, text),
            )
            show(f"{name}, {protocol} ({PROTOCOLS[protocol]}), {scale}", runs, entries, console)
    print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)


def show(title: str, runs: Sequence[Run], entries: Sequence[Entry], console: Console) -> None:
    """Table 1 of one set and protocol, and how the CNN-LSTM stands against each other system."""
    found = table_one.rows(runs, entries)
    leaked = sum(run.leaked for run in runs if run.system == runs[0].system)
    counts = found[0].pooled
    note = (
        f"{found[0].shuffles} shuffles, {counts.benign} benign, {counts.attacks} attack rows, {leaked} leaked"
    )
    cells = [table_one.figure_cells(row) for row in found]
    _print(f"{title}: {note}", table_one.figure_columns(), cells, console)
    titles = {entry.name: entry.title for entry in entries}
    against = table_one.against(runs, NETWORK, [row.entry.name for row in found])
    if against:
        best = table_one.best_of(found, BASELINES)
        heading = f"best of the paper's baselines by accuracy: {titles[best] if best else 'none has run'}"
        rows = [table_one.difference_cells(one, titles) for one in against]
        _print(heading, table_one.difference_columns(titles[NETWORK]), rows, console)


def _print(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _told(name: str, text: str) -> None:
    if not text.startswith("epoch"):
        print(f"{name} {text}", flush=True)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench train", description=__doc__.splitlines()[0])
    parser.add_argument("--flows", type=Path, required=True, help="folder of the Parquet files")
    parser.add_argument("--out", type=Path, default=Path("out/train"), help="folder of the results")
    parser.add_argument("--sets", type=_of(SETS), default=list(SETS), help=", ".join(SETS))
    parser.add_argument("--systems", type=_of(SYSTEMS), default=list(BASE), help=", ".join(SYSTEMS))
    parser.add_argument("--protocols", type=_of(PROTOCOLS), default=list(get_args(Protocol)))
    parser.add_argument("--scales", type=_of(get_args(Kind)), default=["minmax"])
    parser.add_argument("--shuffles", type=int, default=10)
    return parser.parse_args(argv)


def _of(known: Iterable[str]) -> Callable[[str], list[str]]:
    """The type of an option that takes some of the known names, with commas between."""
    there = list(known)

    def names(text: str) -> list[str]:
        found = text.split(",")
        for name in found:
            if name not in there:
                raise argparse.ArgumentTypeError(f"no {name}: there are {', '.join(there)}")
        return found

    return names


if __name__ == "__main__":
    raise SystemExit(main())
