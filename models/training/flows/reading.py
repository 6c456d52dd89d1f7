"""Labelled flows from files: every form of the CICIDS2017 family into one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt

from capture.columns import FEATURES
from models.errors import TrainingError
from models.training.flows.file_rows import Attempted, Codes, FileRows, Unlabelled
from models.training.flows.read_report import NAME_OF, ReadReport
from models.training.flows.sources import find
from models.training.flows.table import BENIGN, FlowTable

Progress = Callable[[int, int], None]

_KINDS = {
    "protocol": np.int16,
    "label": np.int16,
    "time": np.int64,
    "source": np.int32,
    "destination": np.int32,
    "file": np.int16,
    "twin": np.uint64,
    "port": np.int32,
}


def read_flows(
    paths: Sequence[Path],
    *,
    attempted: Attempted = "benign",
    unlabelled: Unlabelled = "refuse",
    progress: Progress | None = None,
) -> tuple[FlowTable, ReadReport]:
    """Read files, folders and zips of labelled flows as one table, in the order of the files.

    attempted: what an attack that came to nothing counts as ("... - Attempted" in the corrected
    sets; their authors advise benign).  unlabelled: whether flows without a label may count as benign.
    progress: called with the bytes done and the bytes in all.  Several files keep the features that
    all of them have.  The rows of one class only are no error here; see `need_both`.

    Raises TrainingError, one line, for all that cannot be used.
    """
    if attempted not in get_args(Attempted) or unlabelled not in get_args(Unlabelled):
        raise ValueError(f"no way to take labels: {attempted}, {unlabelled}")
    sources = find(paths)
    everything = sum(source.size for source in sources)
    labels, addresses = Codes(BENIGN), Codes()
    parts = [FileRows(source.name, labels, addresses, attempted, unlabelled) for source in sources]
    for part, source in zip(parts, sources):
        part.look(source)  # a file of no use is named before the others are read
    features, lost = _shared(parts)
    done = 0
    for part, source in zip(parts, sources):
        for used in part.read(source, features):
            done += used
            if progress:
                progress(min(done, everything), everything)
    files = tuple(part.report(labels.names()) for part in parts)
    not_shared = tuple(NAME_OF[name] for name in lost)
    return _joined(parts, features, labels), ReadReport(files, len(features), not_shared, attempted)


def need_both(table: FlowTable) -> None:
    """TrainingError unless there are both benign flows and attacks, without which nothing can be fitted."""
    attacks = int(table.attack.sum())
    if 0 < attacks < len(table):
        return
    there, lacking = ("attacks", "benign flows") if attacks else ("benign flows", "attacks")
    raise TrainingError(
        f"{table.files[0]}: only {there} in the data; to fit, give a file with {lacking} as well"
    )


def _shared(parts: Sequence[FileRows]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The features that all files have, and those that some lack."""
    have = [set(part.form.features) for part in parts]
    shared, some = set.intersection(*have), set.union(*have)
    return (
        tuple(name for name in FEATURES if name in shared),
        tuple(name for name in FEATURES if name in some - shared),
    )


def _joined(parts: Sequence[FileRows], features: tuple[str, ...], labels: Codes) -> FlowTable:
    """One table of all files, freeing each block as it is copied."""
    total = sum(part.rows for part in parts)
    columns = {name: np.empty(total, kind) for name, kind in _KINDS.items()}
    values = np.empty((total, len(features)), np.float32)
    at = 0
    for number, part in enumerate(parts):
        for block in part.drained():
            end = at + len(block["label"])
            values[at:end] = block["values"]
            for name, column in columns.items():
                column[at:end] = number if name == "file" else block[name]
            at = end
    names, columns["label"] = _present(labels, columns["label"])
    files = tuple(part.name for part in parts)
    return FlowTable(features=features, values=values, labels=names, files=files, **columns)


def _present(labels: Codes, label: npt.NDArray[np.int16]) -> tuple[tuple[str, ...], npt.NDArray[np.int16]]:
    """Benign first, then the classes that have rows, by name; and the codes to match."""
    counts = np.bincount(label, minlength=len(labels))
    attacks = sorted(name for code, name in enumerate(labels.names()) if code and counts[code])
    order = (BENIGN, *attacks)
    new = {name: code for code, name in enumerate(order)}
    code = np.array([new.get(name, 0) for name in labels.names()], np.int16)
    return order, code[label]
