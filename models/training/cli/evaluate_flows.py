"""`ids-train evaluate` on labelled flows: what is read, who is judged, the report written."""

from __future__ import annotations

import argparse
import datetime as dt
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from models.errors import BundleError, TrainingError
from models.flow_bundle import FlowBundle, load_flow_bundle
from models.network import PaperSpec
from models.training.cli.data import read_data
from models.training.cli.options import load_tensorflow, need
from models.training.epochs import EpochOptions
from models.training.evaluating import trials
from models.training.evaluating.account import PROTOCOLS, table_of_tests, write_account
from models.training.evaluating.scored import Scored, as_is, fit_and_score
from models.training.flows.cleaning import CleaningReport, clean
from models.training.flows.read_report import ReadReport
from models.training.flows.reading import need_both
from models.training.flows.table import FlowTable
from models.training.paper.comparing import digest
from models.training.preprocessed import preprocessing_of
from models.training.report import Report
from models.training.systems.base import Entry, System
from models.training.systems.registry import PAPER_OPTIONS, PAPER_SIZES, chosen, cnn_lstm

_NETWORK = "cnn-lstm"


def evaluate_flows(args: argparse.Namespace) -> None:
    """Judge and write the report; prints the table of tests.  Raises what `main` tells of."""
    bundle, data = _bundle_first(args.paths)
    _check_use(args, bundle, data)
    report = Report(
        f"Evaluation: {bundle.name if bundle else args.protocol}",
        _subtitle(args, data),
        date=args.date or dt.date.today().isoformat(),
        command=_command(args),
    )
    reader = _Reader(args)
    judged = (
        _judge_as_is(bundle, reader.read(data))
        if args.protocol == "as-is" and bundle
        else _judge_anew(args, bundle, data, reader)
    )
    write_account(
        report,
        PROTOCOLS[args.protocol],
        judged.scored,
        local_rate=args.local_rate,
        leaks=judged.leaks,
        left_out=judged.left_out,
    )
    reader.tell(report)
    report.write(args.out)
    print("\n".join([*table_of_tests(judged.scored), *judged.left_out]))
    for leak in judged.leaks:
        print(
            f"{leak.split}, duplicates {leak.duplicates}: {leak.twins:,} of {leak.judged:,} judged flows have"
            f" a twin in training, {leak.near:,} a near twin"
        )
    print(f"wrote {args.out / 'index.html'}")


def _bundle_first(paths: Sequence[Path]) -> tuple[FlowBundle | None, list[Path]]:
    """The bundle that stands before the data, if one does."""
    if paths and _is_bundle(paths[0]):
        return load_flow_bundle(paths[0]), list(paths[1:])
    return None, list(paths)


def _is_bundle(path: Path) -> bool:
    from models.bundle_files import MANIFEST, open_files

    if path.is_dir():
        return (path / MANIFEST).exists()
    if path.suffix != ".zip" or not path.exists():
        return False
    try:
        open_files(path)
    except BundleError:
        return False
    return True


def _check_use(args: argparse.Namespace, bundle: FlowBundle | None, data: list[Path]) -> None:
    """TrainingError for options that do not go together, before anything is read."""
    across = args.protocol == "cross-set"
    if args.protocol == "as-is" and bundle is None:
        first = args.paths[0] if args.paths else "nothing"
        raise TrainingError(
            f"{first}: not a bundle; as-is judges BUNDLE on DATA, --protocol random, no-leaks, days or"
            " cross-set fit anew"
        )
    if across and (not args.train or not args.test or data):
        raise TrainingError("cross-set takes --train DATA and --test DATA, and no other data")
    if not across and (args.train or args.test):
        raise TrainingError(f"--train and --test belong to --protocol cross-set, not to {args.protocol}")
    if not across and not data:
        raise TrainingError("no data: name files, folders or zips of labelled flows")
    for entry in [] if args.protocol == "as-is" else chosen(args.systems.split(",")):
        need(entry.package)


class _Reader:
    """Reads sets of flows, and tells of all it read."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._read: list[tuple[ReadReport, CleaningReport]] = []

    def read(self, paths: Sequence[Path]) -> FlowTable:
        table, report = read_data(self._args, paths)
        self._read.append((report, clean(table, drop_duplicates=False)[1]))
        return table

    def tell(self, report: Report) -> None:
        report.text("The data", "What was read, and what of it could not be used.")
        for read, cleaning in self._read:
            report.listing([*read.lines(), *cleaning.lines()])
        report.data("read", [{"files": read, "cleaning": cleaning} for read, cleaning in self._read])


@dataclass(frozen=True, slots=True)
class _Judged:
    """All that was judged, and what is told beside."""

    scored: list[Scored]
    leaks: list[trials.Leak] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def _judge_as_is(bundle: FlowBundle, table: FlowTable) -> _Judged:
    kept = clean(table, drop_duplicates=False)[0]
    made = preprocessing_of(bundle)
    told = []
    if bundle.manifest["training"].get("data_sha256") in (digest(kept), digest(clean(table)[0])):
        told = [f"{bundle.name} was fitted on most of these very flows: this says what it knows by heart"]
    return _Judged([as_is(kept, bundle.name, bundle.score, made, bundle.threshold)], left_out=told)


def _judge_anew(
    args: argparse.Namespace, bundle: FlowBundle | None, data: list[Path], reader: _Reader
) -> _Judged:
    entries = _entries(args, bundle)
    leaks: list[trials.Leak] = []
    left_out: list[str] = []
    if args.protocol == "cross-set":
        train = reader.read(args.train)
        need_both(train)
        tests = [(" + ".join(path.name for path in paths), reader.read(paths)) for paths in args.test]
        made = trials.across_sets(train, tests, args.seed)
    else:
        table = reader.read(data)
        need_both(table)
        if args.protocol == "days":
            made, left_out = trials.unseen_days(table)
            for line in left_out:
                _log(line)
        else:
            split = trials.random_split if args.protocol == "random" else trials.without_leaks
            made = split(table, args.shuffles)
            leaks = trials.leaks(table)
    if any(entry.package == "tensorflow" for entry in entries):
        load_tensorflow()
    scale = args.scale if bundle is None else preprocessing_of(bundle).scale
    scored = []
    for number, trial in enumerate(made):
        for entry in entries:
            _log(f"{trial.name}: {entry.title}")
            # A shuffle has its own seed, or the spread over shuffles would be that of the splits alone.
            seed = args.seed + (number if args.protocol in ("random", "no-leaks") else 0)
            scored.append(fit_and_score(trial, entry, scale, seed, _log))
    return _Judged(scored, leaks, left_out)


def _entries(args: argparse.Namespace, bundle: FlowBundle | None) -> list[Entry]:
    """The systems to fit; the network with the sizes of the bundle and the epochs asked for."""
    options = PAPER_OPTIONS if args.epochs is None else replace(PAPER_OPTIONS, epochs=args.epochs)
    entries = []
    for entry in chosen(args.systems.split(",")):
        if entry.name == _NETWORK:
            entry = replace(entry, make=_network_maker(bundle, options))
        entries.append(entry)
    return entries


def _network_maker(bundle: FlowBundle | None, options: EpochOptions) -> Callable[[Sequence[str]], System]:
    def make(names: Sequence[str]) -> System:
        if bundle is None:
            return cnn_lstm(PaperSpec(len(names), **PAPER_SIZES), options)
        return cnn_lstm(replace(bundle.spec, features=len(names)), options)

    return make


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _subtitle(args: argparse.Namespace, data: Sequence[Path]) -> str:
    if args.protocol != "cross-set":
        return f"{', '.join(path.name for path in data)}; protocol {args.protocol}"
    tests = "; ".join(" + ".join(path.name for path in paths) for paths in args.test)
    return f"learned from {', '.join(path.name for path in args.train)}, judged on {tests}"


def _command(args: argparse.Namespace) -> str:
    """What writes this report again, apart from where to and its date."""
    words = ["ids-train", "evaluate", *map(str, args.paths), "--protocol", args.protocol]
    if args.train:
        words += ["--train", *map(str, args.train)]
    for paths in args.test:
        words += ["--test", *map(str, paths)]
    if args.protocol != "as-is":
        words += ["--systems", args.systems, "--scale", args.scale, "--seed", str(args.seed)]
        words += [] if args.epochs is None else ["--epochs", str(args.epochs)]
    if args.protocol in ("random", "no-leaks"):
        words += ["--shuffles", str(args.shuffles)]
    words += ["--local-rate", f"{args.local_rate:g}", "--attempted", args.attempted]
    return shlex.join([*words, "--unlabelled", args.unlabelled])
