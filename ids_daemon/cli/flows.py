"""`ids-daemon flows`: captures to flow records."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from ids_daemon.cli.console import tell
from ids_daemon.cli.options import (
    Subcommands,
    add_command,
    add_config,
    add_meter,
    check_files,
    configuration,
    flow_file,
)
from ids_daemon.cli.signals import Signals
from ids_daemon.config import Config
from ids_daemon.wording import counted

if TYPE_CHECKING:
    from capture import FlowWriter
    from ids_daemon.pipeline import Meter
    from ids_daemon.sources import CaptureSequence

_DESCRIPTION = """\
Meter captures into flows with the features of CICIDS2017, as a drop-in for CICFlowMeter: -o writes
one row a flow under its column names, as CSV or Parquet by the ending.  --records writes every record
as the detector sees it, snapshots of living flows included: what ids-train reads.

In a capture that a snap length cut, -o alone counts captured bytes as CICFlowMeter does; --records
takes lengths from the headers as the detector does, and so does -o beside it.  -o alone also keeps a
flow open until a packet ends it, where --records writes it 121 s after its start: that matters only
where times run backwards by more than a second.

Several captures are metered one after the other as if they were one.

Exit code: 0 everything was read; 1 a capture is missing, cut or unreadable (its flows until then are
written; without a packet the outputs of before stay), or an output cannot be written; 2 wrong usage.
"""


def add(commands: Subcommands) -> None:
    parser = add_command(commands, "flows", "write the flows of captures", _DESCRIPTION, flows)
    parser.add_argument("captures", nargs="+", metavar="CAPTURE", help="capture file, - for standard input")
    parser.add_argument(
        "-o",
        "--output",
        type=flow_file(".csv", ".parquet"),
        metavar="OUT",
        help="flows: a name that ends in .csv or .parquet",
    )
    parser.add_argument(
        "--records",
        type=flow_file(".parquet"),
        metavar="OUT.parquet",
        help="flow records whole, snapshots included",
    )
    parser.add_argument("--community-id", action="store_true", help="add a column Community ID to the flows")
    parser.add_argument("--capacity", type=int, metavar="N", help="flows kept at a time (default 131072)")
    add_meter(parser)
    add_config(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary")
    parser.set_defaults(parser=parser)


def flows(options: argparse.Namespace) -> int:
    if options.output is None and options.records is None:
        options.parser.error("nothing to write: give -o OUT.csv, --records OUT.parquet, or both")
    config = configuration(options)
    check_files(options.captures, {"-o": options.output, "--records": options.records})

    from capture import FlowWriter
    from ids_daemon.cli.progressbar import progress
    from ids_daemon.sources import CaptureSequence
    from ids_daemon.stages import build_meter, community_ids, load_kernels

    captures = CaptureSequence(options.captures, tell)
    ids = partial(community_ids, seed=config.community_id.seed) if options.community_id else None
    with ExitStack() as opened:
        writers = []
        if options.output is not None:
            writers.append(opened.enter_context(FlowWriter(options.output, community_id=ids)))
        if options.records is not None:
            writers.append(
                opened.enter_context(FlowWriter(options.records, records=True, meter=config.detector.meter))
            )
        # A file of flows alone is CICFlowMeter's, which counts captured bytes and sweeps nothing;
        # records are what the detector sees, which goes by the headers and by the clock.
        writing = options.output is not None
        load_kernels(config, None if options.quiet else tell, scoring=False, writing=writing)
        meter = build_meter(config, as_cicflowmeter=options.records is None)
        with Signals() as signals, progress(options.captures, quiet=options.quiet) as shown:
            for batch in captures:
                quiet = meter.advance(batch.until_ns) if batch.until_ns >= 0 else ()
                for records in chain(meter.process(batch), quiet):
                    for writer in writers:
                        writer.write(records)
                shown.update(captures)
                if signals.stop():
                    break
        for records in meter.finish():
            for writer in writers:
                writer.write(records)
        nothing_read = not captures.packets and bool(captures.problems or signals.received)
        if nothing_read:
            for writer in writers:
                writer.discard()
    if not (options.quiet or nothing_read):
        outputs = [path for path in (options.output, options.records) if path is not None]
        _tell_counts(config, captures, meter, dict(zip(outputs, writers, strict=True)))
    if signals.received is not None:
        tell(f"stopped by {signals.received.name} before the end of the captures")
        return 128 + signals.received
    return 1 if captures.problems else 0


def _tell_counts(
    config: Config, captures: CaptureSequence, meter: Meter, outputs: dict[str, FlowWriter]
) -> None:
    """What was read and written, and what the user may not expect of it."""
    from ids_daemon.cli.report import not_metered

    written = ", ".join(f"{counted(writer.rows, 'row')} in {path}" for path, writer in outputs.items())
    left_out = not_metered(captures.packets, meter.stats.not_metered())
    tell(f"{counted(captures.packets, 'packet')}{left_out}: {written}")
    stats = meter.stats.as_dict()
    if evicted := stats.get("flows_evicted", 0):
        capacity = f"{config.flow.capacity:,}"
        tell(
            f"{counted(evicted, 'flow')} cut short, as more than {capacity} lived at once: "
            "--capacity keeps more"
        )
    cut = stats.get("cut_by_snaplen", 0)
    if cut and len(outputs) > 1 and config.detector.meter == "native":
        tell(
            f"{counted(cut, 'packet')} cut by the snap length: beside --records, {next(iter(outputs))} goes "
            "by the lengths in the headers; for CICFlowMeter's values write it alone"
        )
