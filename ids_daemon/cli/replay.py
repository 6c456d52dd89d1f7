"""`ids-daemon replay`: what is in these captures?"""

from __future__ import annotations

import argparse
import math
import os
import time
from contextlib import ExitStack
from functools import partial

from ids_daemon.cli.console import output, tell
from ids_daemon.cli.options import (
    Subcommands,
    add_command,
    add_config,
    add_detector,
    check_files,
    configuration,
    flow_file,
)
from ids_daemon.cli.report import IncidentTable, show_summary
from ids_daemon.cli.signals import Signals
from ids_daemon.config import Config
from ids_daemon.errors import OutputError
from ids_daemon.eve import EveFormat, Event
from ids_daemon.sinks import EveFile, Sinks, configured

_DESCRIPTION = """\
Read captures (pcap or pcapng, also gzip, zstd or xz; - for standard input) and show the incidents
found in them, with a summary.

Several captures are read one after the other as if they were one: give them in the order of their
times.  Flows and incidents go on from one to the next.

Nothing is written and nobody is told unless asked for: --alerts writes the alerts as EVE JSON lines,
--flows the flows, --sinks tells the outputs of the configuration too.  The same captures always give
the same alerts, byte for byte, at any --speed.

Exit code: 0 everything was read; 1 a capture is missing, cut or unreadable (what was read before is
told all the same), or an output cannot be written; 2 wrong usage or configuration.
"""


def add(commands: Subcommands) -> None:
    parser = add_command(commands, "replay", "find the attacks in captures", _DESCRIPTION, replay)
    parser.add_argument("captures", nargs="+", metavar="CAPTURE", help="capture file, - for standard input")
    add_config(parser)
    parser.add_argument(
        "--alerts",
        metavar="OUT.jsonl",
        help="write the alerts here (replaced; made even when there are none)",
    )
    parser.add_argument(
        "--flows",
        type=flow_file(".csv", ".parquet"),
        metavar="OUT",
        help="write the flows here, by its ending .csv or .parquet",
    )
    parser.add_argument("--sinks", action="store_true", help="tell the outputs of the configuration too")
    parser.add_argument(
        "--speed",
        type=_speed,
        default=math.inf,
        metavar="X",
        help="X times as fast as it was captured: 1 for the original pace (default: max)",
    )
    add_detector(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress, no table, no summary")


def replay(options: argparse.Namespace) -> int:
    config = configuration(options)
    eve = config.outputs.eve.path if options.sinks and config.outputs.eve.enabled else None
    check_files(
        options.captures, {"--alerts": options.alerts, "--flows": options.flows, "outputs.eve.path": eve}
    )
    # What the command line asks for is tried before numba and the model are loaded.
    with ExitStack() as opened:
        outputs = _Outputs(options, config, opened)
        return _replay(options, config, outputs, opened)


class _Outputs:
    """Where the events of a replay go."""

    def __init__(self, options: argparse.Namespace, config: Config, opened: ExitStack) -> None:
        self.table = IncidentTable()
        self.alerts_path: str | None = options.alerts
        self._file: EveFile | None = None
        self._sinks: Sinks | None = None
        self._begun = False
        if options.alerts is not None:
            self._file = EveFile(options.alerts)
            try:
                self._file.open()
            except OSError as error:
                raise self._unwritable(error) from None
            opened.callback(self._close_file)
        if options.sinks:
            self._sinks = Sinks(configured(config.outputs), config.outputs.queue, tell)
            opened.callback(self._sinks.close)

    def begin(self) -> None:
        """There is something to tell: the last run's alerts may go."""
        if self._file is not None and not self._begun:
            self._file.empty()
        self._begun = True

    @property
    def undelivered(self) -> int:
        """Alerts that the sinks were given and did not take."""
        return sum(one["dropped"] for one in self._sinks.as_dict().values()) if self._sinks else 0

    def emit(self, event: Event) -> None:
        """To the table, the file and the sinks; OutputError when the file does not take it."""
        self.begin()
        self.table.add(event)
        if self._file is not None:
            try:
                self._file.write(event)
            except OSError as error:
                raise self._unwritable(error) from None
        if self._sinks is not None:
            self._sinks.put(event)

    def _close_file(self) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> OutputError:
        reason = error.strerror or str(error)
        return OutputError(f"{self.alerts_path}: alerts cannot be written: {reason}; name another file")


def _replay(options: argparse.Namespace, config: Config, outputs: _Outputs, opened: ExitStack) -> int:
    from capture import FlowWriter
    from ids_daemon.cli.progressbar import progress
    from ids_daemon.pipeline import Pipeline
    from ids_daemon.sources import CaptureSequence, paced
    from ids_daemon.stages import (
        build_incidents,
        build_meter,
        build_scoring,
        community_ids,
        load_kernels,
    )

    writers = []
    if options.flows is not None:
        ids = partial(community_ids, seed=config.community_id.seed)
        writers.append(opened.enter_context(FlowWriter(options.flows, community_id=ids)))
    captures = CaptureSequence(options.captures, tell)
    load_kernels(config, None if options.quiet else tell, writing=bool(writers))
    meter = build_meter(config)
    scoring = build_scoring(config)
    if not options.quiet:
        tell(scoring.description)
        if config.detector.meter == "cicflowmeter":
            tell("cicflowmeter gives a flow only at its end: alerts come later than with the native meter")
    eve = EveFormat(config.sensor.name, scoring.model, config.community_id.seed, captures.interface_name)
    # What comes through a pipe or at its own pace may be followed by nothing for a while.
    waits = math.isinf(options.speed) and all(map(os.path.isfile, options.captures))
    incidents = build_incidents(config)
    pipeline = Pipeline(meter, scoring.scorer, incidents, eve, outputs.emit, writers, waits=waits)
    source = captures if math.isinf(options.speed) else paced(captures, options.speed)
    started = time.monotonic()
    with Signals() as signals, progress(options.captures, quiet=options.quiet) as shown:
        pipeline.run(
            source,
            stop=signals.stop,
            after_batch=lambda: shown.update(captures, outputs.table.incidents),
        )
    seconds = time.monotonic() - started
    if pipeline.stats.packets or not captures.problems:
        outputs.begin()
    else:
        for writer in writers:
            writer.discard()
    opened.close()  # every output is whole before the summary says so
    if not options.quiet:
        console = output()
        outputs.table.show(console)
        files = {"alerts": options.alerts, "flow file": options.flows}
        show_summary(
            console,
            pipeline,
            incidents=outputs.table.incidents,
            seconds=seconds,
            files={what: path for what, path in files.items() if path},
        )
    if signals.received is not None:
        tell(f"stopped by {signals.received.name} before the end of the captures")
        return 128 + signals.received
    if not captures.problems and sum(pipeline.meter.stats.not_metered().values()) == pipeline.stats.packets:
        tell("no packet in there could be metered, so nothing could be found")
    return 1 if captures.problems or outputs.undelivered else 0


def _speed(text: str) -> float:
    if text == "max":
        return math.inf
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no speed: a number above 0, or max")
    return speed
