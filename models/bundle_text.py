"""A bundle told to people: what it is, what it was made of, and whether it is whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.any_bundle import find, load_any
from models.bundle import Bundle
from models.bundle_files import MANIFEST, MANIFEST_LIMIT, SIGNATURE, BundleFiles, open_files
from models.bundle_store import UNKNOWN, unknown_files
from models.errors import BundleError, PackageMissing
from models.flow_bundle import FlowBundle
from models.litert import operators
from models.signing import trusted_signer

_LONG = 72  # characters of a value
_METRICS_BEFORE = "metrics, by the threshold before it was calibrated"


def describe_bundle(path: str | os.PathLike[str], trusted_keys: Sequence[Path] = ()) -> list[str]:
    """What a bundle is, line by line, all its files verified.

    path: a folder, a zip, or the name of one that ships.
    Raises BundleError for a bundle that is damaged or not signed by one of the keys given.
    """
    bundle = load_any(path)
    files = open_files(bundle.path)
    manifest = bundle.manifest
    head = {"bundle": bundle.name, "at": str(bundle.path), "created": manifest["created"]}
    if isinstance(bundle, Bundle):
        head |= {
            "kind": "windows: scores hosts over time, for the daemon",
            "meter": bundle.meter,
            "features": f"{manifest['features']['hash']} ({bundle.spec.row_features} of a row,"
            f" {bundle.spec.counters} counters, windows of {bundle.spec.window})",
            "families": ", ".join(bundle.families),
            "threshold": f"{bundle.calibration['threshold']:.4f} of the evidence",
        }
    else:
        head |= {
            "kind": "flows: scores single flows, for the trainer's commands",
            "features": f"{bundle.spec.features} after preprocessing",
            "classes": ", ".join(bundle.classes),
            "threshold": f"{bundle.threshold:.6g} of the probability",
        }
    head["operators"] = ", ".join(sorted(operators(bundle.tflite)))
    head["signature"] = _signature(bundle.path, files, trusted_keys)
    lines = [
        *(f"{name + ':':11}{value}" for name, value in head.items()),
        *_block("network", bundle.spec.to_dict()),
        *_parameters(bundle.weights()),
        *_block("threshold from", _origin(bundle)),
        *_block("training", manifest["training"]),
        *_block(_METRICS_BEFORE if "budget" in _origin(bundle) else "metrics", manifest["metrics"]),
        *_block("made with", manifest["versions"]),
        *_files(bundle, files),
    ]
    return [_harmless(line) for line in lines]


def verify_bundle(path: str | os.PathLike[str], trusted_keys: Sequence[Path] = ()) -> list[str]:
    """What is wrong with a bundle, a line each; none when it is whole.

    Whole: it loads, every hash is right, its network can be run by LiteRT alone, no other file lies
    in it, and, where keys are given, one of them signed it.  Raises PackageMissing where a key is given
    and `cryptography` is not installed.
    """
    where = find(path)
    try:
        bundle = load_any(where)
        files = open_files(where)
        _signature(where, files, trusted_keys)
        foreign = unknown_files(bundle.manifest["files"], files)
        _runs(bundle)
    except PackageMissing:
        raise
    except BundleError as error:
        return [_harmless(str(error))]
    return [_harmless(f"{where}/{name}: {UNKNOWN}") for name in foreign]


def _harmless(line: str) -> str:
    """Without what would steer a terminal: a bundle may come from anybody."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _runs(bundle: Bundle | FlowBundle) -> None:
    """BundleError when LiteRT cannot run the network."""
    if isinstance(bundle, FlowBundle):
        bundle.score(np.zeros((1, bundle.spec.features), np.float32))
    else:
        from models.detector import Detector

        Detector(bundle, "litert", "cpu")


def _signature(where: Path, files: BundleFiles, trusted: Sequence[Path]) -> str:
    if trusted:
        return f"by {trusted_signer(where, files, files.read(MANIFEST, MANIFEST_LIMIT), trusted)}"
    signed = SIGNATURE in files.names()
    return "there is one; give --key PUBLIC.pem to check it" if signed else "none"


def _origin(bundle: Bundle | FlowBundle) -> Mapping[str, Any]:
    found = bundle.calibration.get("made_of", {})
    return found if isinstance(found, dict) else {}


def _block(title: str, values: Mapping[str, Any]) -> Iterator[str]:
    if not values:
        return
    yield f"{title}:"
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value)
        yield f"  {name}: {text if len(text) <= _LONG else text[: _LONG - 3] + '...'}"


def _parameters(weights: Mapping[str, npt.NDArray[np.float32]]) -> Iterator[str]:
    layers: dict[str, int] = {}
    for name, array in weights.items():
        layer = name.split(".")[0]
        layers[layer] = layers.get(layer, 0) + array.size
    yield f"parameters: {sum(layers.values()):,}"
    for layer, count in layers.items():
        yield f"  {layer}: {count:,}"


def _files(bundle: Bundle | FlowBundle, files: BundleFiles) -> Iterator[str]:
    yield "files, with their SHA-256 as the manifest has it:"
    entries = bundle.manifest["files"]
    for name, entry in entries.items():
        yield f"  {name}: {entry['size']:,} bytes, {entry['sha256']}"
    for name in unknown_files(entries, files):
        yield f"  {name}: not in the manifest, never read"
