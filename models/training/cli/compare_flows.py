"""What `ids-train compare` does: read, fit what is missing, write the report."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence

from models.training.cli.data import read_data
from models.training.cli.options import load_tensorflow
from models.training.flows.reading import need_both
from models.training.paper.comparing import PROTOCOLS, Protocol, Run, compare, journal
from models.training.paper.comparison_report import comparison_report
from models.training.systems.base import Entry


def compare_flows(args: argparse.Namespace, entries: Sequence[Entry]) -> None:
    """Fit, print and write.  Raises what `main` tells of."""
    results = journal(args.out)
    table, read = read_data(args)
    for line in read.lines():
        print(line)
    need_both(table)
    if any(entry.package == "tensorflow" for entry in entries):
        load_tensorflow()
    protocols: list[Protocol] = list(PROTOCOLS) if args.protocol == "both" else [args.protocol]
    try:
        runs = compare(
            table,
            entries,
            protocols=protocols,
            shuffles=range(1, args.shuffles + 1),
            results=results,
            scale=args.scale,
            log=print,
        )
    except KeyboardInterrupt:
        print(f"stopped after {len(results)} fits, which are kept; the same command goes on")
        raise
    report = comparison_report(runs, entries, read.lines(), command=shlex.join(["ids-train", *args.words]))
    report.write(args.out)
    for line in _told(runs, protocols, entries):
        print(line)
    print(f"wrote {args.out}")


def _told(runs: Sequence[Run], protocols: Sequence[Protocol], entries: Sequence[Entry]) -> list[str]:
    from models.training.paper.comparing import summary
    from models.training.paper.table_one import rows

    lines = []
    for protocol in protocols:
        lines.append(f"{protocol} ({PROTOCOLS[protocol]}):")
        for row in rows([run for run in runs if run.protocol == protocol], entries):
            lines.append(f"  {row.entry.title}: {summary(row.pooled)}")
    return lines
