"""`ids-daemon run`: watch network interfaces."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ids_daemon.addresses import own_addresses
from ids_daemon.cli.console import tell
from ids_daemon.cli.options import Subcommands, add_command, add_config, add_detector, configuration
from ids_daemon.cli.signals import Signals, hangups_ignored
from ids_daemon.errors import ConfigError
from ids_daemon.eve import EveFormat
from ids_daemon.reports import Counters, LossWatch, Reports, losses_line, stats_event
from ids_daemon.sinks import Sinks, configured
from ids_daemon.statsfile import StatsFile

if TYPE_CHECKING:
    from capture import LiveCapture, LiveOptions, PacketBatch, SharedCapture
    from ids_daemon.config import Capture, Config, Outputs
    from ids_daemon.pipeline import Meter, Pipeline, PipelineStats
    from ids_daemon.recording import Recording

_DESCRIPTION = """\
Watch network interfaces and tell the configured outputs about attacks, until SIGTERM or Ctrl-C, which
close what is open and end with a summary.  SIGHUP has every output open its file anew (logrotate).

Needs the right to open packet sockets: CAP_NET_RAW, or root.
"""


def add(commands: Subcommands) -> None:
    parser = add_command(commands, "run", "watch network interfaces", _DESCRIPTION, run)
    add_config(parser)
    parser.add_argument(
        "-i", "--interface", action="append", metavar="IF", help="interface to watch; may be repeated"
    )
    parser.add_argument(
        "--record",
        metavar="FILE.pcapng",
        help="write what is captured to a new file, too; its replay gives the same alerts",
    )
    add_detector(parser)


def run(options: argparse.Namespace) -> int:
    config = _configured(options)
    interfaces = config.capture.interfaces

    from ids_daemon.pipeline import Pipeline, PipelineStats
    from ids_daemon.stages import build_incidents, build_scoring, load_kernels

    with ExitStack() as opened:
        opened.enter_context(hangups_ignored())
        make_folders(config.outputs)
        sinks = Sinks(configured(config.outputs), config.outputs.queue, tell)
        opened.callback(sinks.close)
        load_kernels(config, tell)
        scoring = build_scoring(config, own_addresses(interfaces))
        tell(scoring.description)
        passed = PipelineStats()
        watched = _watch(config, options.record, passed, opened)
        live = watched.live
        names = dict(enumerate(live.interfaces))
        eve = EveFormat(config.sensor.name, scoring.model, config.community_id.seed, names.get)
        incidents = build_incidents(config)
        pipeline = Pipeline(
            watched.meter, scoring.scorer, incidents, eve, sinks.put, stats=passed, waits=True
        )
        stats = StatsFile(config.outputs.stats, tell)
        opened.callback(stats.close)

        def hang_up() -> None:
            sinks.reopen()
            stats.reopen()
            tell("outputs reopened")

        def counters() -> dict[str, Any]:
            return {"capture": live.counters(), **pipeline.counters(), "sinks": sinks.as_dict()}

        def emit(counts: Counters, uptime_s: float) -> None:
            if config.outputs.eve.stats:
                sinks.put_stats(stats_event(config.sensor.name, counts, uptime_s, time.time_ns()))

        losses = LossWatch(config.capture.warn_loss, tell)
        reports = Reports(counters, stats, config.outputs.stats.interval, losses, emit)
        tell(f"watching {', '.join(interfaces)}")
        started = time.monotonic()
        try:
            with Signals(hang_up) as signals:

                def stop() -> bool:
                    if signals.stop():
                        live.end()  # what has come is still taken, as far as that goes quickly
                    return False

                pipeline.run(watched.batches, stop=stop, after_batch=reports.look)
        finally:
            watched.stop()  # before anything is counted for the last time
            try:
                reports.last()
            finally:
                sinks.close()  # so that the last line of counters has what became of every alert
                counts = counters()
                stats.write(counts)
                tell(_summary(pipeline, counts, time.monotonic() - started))
                if lost := losses_line(counts, watched.meter.stats.not_metered()):
                    tell(f"left out: {lost}")
    return 1 if watched.recording is not None and watched.recording.failed else 0


def _configured(options: argparse.Namespace) -> Config:
    """The configuration; ConfigError for what cannot be run."""
    config = configuration(options, compile_filter=True)
    if not config.capture.interfaces:
        raise ConfigError(
            ["capture.interfaces: is empty: name an interface there or with -i (`ip link` lists them)"]
        )
    problems = []
    if config.capture.workers > 1 and options.record is not None:
        problems.append("--record: needs capture.workers to be 1: the packets of several are in no order")
    if config.capture.workers > 1 and config.detector.meter != "native":
        problems.append("capture.workers: only the native meter works in several: set it to 1")
    if problems:
        raise ConfigError(problems)
    return config


@dataclass(frozen=True, slots=True)
class _Watched:
    """What is captured, and what is done with it first."""

    live: LiveCapture | SharedCapture
    batches: Iterable[PacketBatch]
    meter: Meter
    stop: Callable[[], None]  #: takes no further batch
    recording: Recording | None


def _watch(config: Config, record: str | None, passed: PipelineStats, opened: ExitStack) -> _Watched:
    """Open the interfaces; `opened` closes what belongs to it.

    record: file for what is captured, with one worker.  passed: gets what workers count.
    """
    from capture import open_interface, open_shared
    from ids_daemon.recording import Recording
    from ids_daemon.stages import build_meter, build_native_meter
    from ids_daemon.workers import Workers

    interfaces, number = config.capture.interfaces, config.capture.workers
    how = capture_options(config.capture)
    live: LiveCapture | SharedCapture
    recording: Recording | None = None
    sources: Sequence[Iterable[PacketBatch]]
    if number > 1:
        live = opened.enter_context(open_shared(interfaces, number, tell=tell, **how))
        sources = live.parts
    else:
        live = opened.enter_context(open_interface(interfaces, tell=tell, **how))
        sources = [live]
        if record is not None:
            recording = Recording(record, live, tell)
            opened.callback(recording.close)
            sources = [recording.of(live)]
    if config.detector.meter != "native":
        return _Watched(live, sources[0], build_meter(config), lambda: None, recording)
    workers = Workers(sources, [build_native_meter(config) for _ in sources])
    return _Watched(live, workers.ticks(passed), workers, workers.stop, recording)


def capture_options(section: Capture) -> LiveOptions:
    """The section `capture` as options of `capture.open_interface`."""
    return {
        "promiscuous": section.promiscuous,
        "snaplen": section.snaplen,
        "filter": section.filter,
        "own_traffic": section.own_traffic,
        "ring_bytes": section.ring_mib << 20,
        "block_bytes": section.block_kib << 10,
        "block_timeout_ms": section.block_timeout_ms,
        "timeout_ms": section.timeout_ms,
    }


def make_folders(outputs: Outputs) -> None:
    """Make the folders of the files that will be written; say now what would fail at the first alert."""
    files = [file.path for file in (outputs.eve, outputs.stats) if file.enabled]
    for folder in sorted({os.path.dirname(path) or "." for path in files}):
        try:
            os.makedirs(folder, mode=0o750, exist_ok=True)
        except OSError as error:
            tell(f"{folder}: the folder of the outputs cannot be made: {error.strerror}; alerts wait for it")


def _summary(pipeline: Pipeline, counts: Counters, seconds: float) -> str:
    stats = pipeline.stats
    return (
        f"stopped after {seconds:,.0f} s: {stats.packets:,} packets "
        f"({counts['capture']['kernel_drops']:,} dropped by the kernel), "
        f"{stats.flows:,} flows, {stats.alerts_opened:,} incident{'' if stats.alerts_opened == 1 else 's'}"
    )
