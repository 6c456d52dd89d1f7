"""A bundle of whichever kind, for the commands that take both."""

from __future__ import annotations

import os
from pathlib import Path

from models.bundle import PRETRAINED, Bundle, load_bundle
from models.bundle_files import AGAIN, MANIFEST
from models.bundle_store import kind_of, read_manifest
from models.errors import BundleError
from models.flow_bundle import FlowBundle, load_flow_bundle


def find(text: str | os.PathLike[str]) -> Path:
    """The path of a bundle: what is there by that name, else the one that ships under it."""
    path = Path(text)
    shipped = PRETRAINED / path
    return shipped if len(path.parts) == 1 and not path.exists() and shipped.is_dir() else path


def load_any(path: str | os.PathLike[str]) -> Bundle | FlowBundle:
    """Load and verify a bundle of either kind, made for whichever meter.

    path: a folder, a zip, or the name of one that ships (`native`, `cicflowmeter`).
    Raises BundleError as `load_bundle` and `load_flow_bundle` do.
    """
    where = find(path)
    data, _ = read_manifest(where)
    kind = kind_of(data)
    if kind == "flows":
        return load_flow_bundle(where)
    if kind != "windows":
        raise BundleError(f"{where}/{MANIFEST}: unknown kind {kind!r}: update ids-daemon, or {AGAIN}")
    return load_bundle(where, meter=str(data.get("meter")))
