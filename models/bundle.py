"""The saved model: one folder (or a zip of it) that holds all a score depends on.

manifest.json says what the model reads and by which meter, and the SHA-256 of every other file:
model.tflite for LiteRT, weights.npz for Keras, scaling.json, calibration.json, and report/ for
people.  The flatbuffer has built-in operators only; weights are plain arrays.  Nothing here loads
a `.keras` or h5 model, a SavedModel or a pickle: those run code.

This kind, `windows`, is what the daemon scores with; see models.flow_bundle for the other.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from capture.columns import feature_hash
from models.bundle_calibration import read_calibration
from models.bundle_files import (
    AGAIN,
    CALIBRATION,
    MANIFEST,
    SCALING,
    TFLITE,
    WEIGHTS,
    arrays_bytes,
    below_report,
    json_bytes,
    parse_arrays,
    parse_json,
)
from models.bundle_store import Manifest, Opened, Part, open_bundle, rewrite, write_bundle
from models.errors import BundleError
from models.litert import builtin_only
from models.network import NetworkSpec
from models.scaling import Scaling
from models.window_columns import COUNTER_NAMES, ROW_NAMES, WINDOW

PRETRAINED = Path(__file__).with_name("pretrained")

_NEEDED = (TFLITE, WEIGHTS, SCALING, CALIBRATION)


class _Features(Part):
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    window: int
    rows: list[str]
    counters: list[str]


class _Manifest(Manifest):
    kind: Literal["windows"] = "windows"
    meter: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,32}$")]
    features: _Features
    families: list[str]


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A saved model whose files are what its manifest says, fit for this version and a meter."""

    name: str
    path: Path
    meter: str  #: whose flow records it reads
    manifest: dict[str, Any] = field(repr=False)
    families: tuple[str, ...]  #: of the family head, in order
    spec: NetworkSpec
    scaling: Scaling = field(repr=False)
    calibration: dict[str, Any] = field(repr=False)  #: read by models.evidence
    tflite: bytes = field(repr=False)
    weights_file: bytes = field(repr=False)

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """The network's weights by `layer.weight`."""
        return parse_arrays(self.weights_file, f"{self.path}/{WEIGHTS}")


def features_hash(meter: str) -> str:
    """What a bundle must have been made for: this version's columns, by a meter."""
    return feature_hash([*ROW_NAMES, *COUNTER_NAMES], meter)


def load_bundle(
    path: str | os.PathLike[str] | None, *, meter: str = "native", trusted_keys: Sequence[Path] = ()
) -> Bundle:
    """Load and verify a bundle: a folder, a zip, or None for the one that ships for `meter`.

    trusted_keys: public keys (PEM); where there are any, one of them must have signed the bundle.
    Raises BundleError when it is missing, damaged, made by a newer version, for another meter, or
    for other features than this version's.
    """
    where = PRETRAINED / meter if path is None else Path(path)
    if path is None and not where.exists():
        raise BundleError(
            f"{where}: no model ships for the meter {meter!r}: train one with 'ids-train fit' and name it"
        )
    opened = _open(where, trusted_keys)
    manifest = opened.manifest
    _check_fit(manifest, where, meter)
    contents = opened.contents(_NEEDED)
    try:
        spec = NetworkSpec.from_dict(manifest.network)
        _check_spec(spec, manifest.families)
    except ValueError as error:
        raise BundleError(f"{where}/{MANIFEST}: network: {error}: {AGAIN}") from None
    scaling = _read_scaling(contents[SCALING], f"{where}/{SCALING}")
    return Bundle(
        name=manifest.name,
        path=where,
        meter=manifest.meter,
        manifest=opened.data,
        families=tuple(manifest.families),
        spec=spec,
        scaling=scaling,
        calibration=read_calibration(contents[CALIBRATION], f"{where}/{CALIBRATION}"),
        tflite=contents[TFLITE],
        weights_file=contents[WEIGHTS],
    )


def _open(where: Path, trusted_keys: Sequence[Path] = ()) -> Opened[_Manifest]:
    return open_bundle(where, "windows", _Manifest, _NEEDED, trusted_keys)


def with_calibration(
    bundle: Bundle,
    folder: str | os.PathLike[str],
    calibration: Mapping[str, Any],
    name: str | None = None,
) -> Bundle:
    """Write the bundle to `folder` with another calibration, and under another name where one is given."""
    changed = {CALIBRATION: json_bytes(dict(calibration), CALIBRATION)}
    return rewrite(
        _open(bundle.path), folder, changed, lambda path: load_bundle(path, meter=bundle.meter), name
    )


def save_bundle(
    folder: str | os.PathLike[str],
    *,
    name: str,
    meter: str,
    spec: NetworkSpec,
    scaling: Scaling,
    calibration: Mapping[str, Any],
    families: Sequence[str],
    weights: Mapping[str, npt.NDArray[np.float32]],
    tflite: bytes,
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
    created: str,
    report: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Write a bundle, replacing one that is there, and load it back.

    training: where the data came from, by hash; metrics: what was measured.  Both are for people.
    created: an ISO 8601 date, given so that the same input makes the same bytes.
    report: files below report/ by name.

    Raises BundleError for what makes no bundle, and when `folder` holds something else; see
    models.bundle_store.write_bundle.
    """
    builtin_only(tflite, TFLITE)
    files = {
        TFLITE: tflite,
        WEIGHTS: arrays_bytes(weights),
        SCALING: json_bytes(scaling.to_json(), SCALING),
        CALIBRATION: json_bytes(dict(calibration), CALIBRATION),
        **below_report(report),
    }
    manifest = {
        "kind": "windows",
        "name": name,
        "meter": meter,
        "created": created,
        "features": {
            "hash": features_hash(meter),
            "window": WINDOW,
            "rows": list(ROW_NAMES),
            "counters": list(COUNTER_NAMES),
        },
        "network": spec.to_dict(),
        "families": list(families),
        "training": dict(training),
        "metrics": dict(metrics),
    }
    return write_bundle(folder, manifest, files, lambda path: load_bundle(path, meter=meter))


def _check_fit(manifest: _Manifest, where: Path, meter: str) -> None:
    """BundleError unless the bundle reads what this version's windows give for `meter`."""
    if manifest.meter != meter:
        raise BundleError(
            f"{where}: made for the meter {manifest.meter!r}, not for {meter!r}: "
            f"choose --meter {manifest.meter} or another bundle"
        )
    features = manifest.features
    named = feature_hash([*features.rows, *features.counters], manifest.meter)
    if features.hash != named:
        raise BundleError(f"{where}/{MANIFEST}: its feature hash is not that of its features: {AGAIN}")
    if features.hash != features_hash(meter) or features.window != WINDOW:
        raise BundleError(
            f"{where}: made for other features ({features.hash}) than this version's "
            f"({features_hash(meter)}): retrain with 'ids-train fit'"
        )


def _check_spec(spec: NetworkSpec, families: Sequence[str]) -> None:
    """ValueError unless the network reads rows of this version's windows and names these families."""
    if spec.window > WINDOW:
        raise ValueError(f"reads windows of {spec.window} rows, a host's window has {WINDOW}")
    shape, wanted = (spec.row_features, spec.counters), (len(ROW_NAMES), len(COUNTER_NAMES))
    if shape != wanted:
        raise ValueError(f"reads rows and counters of {shape} columns, not {wanted}")
    if spec.families != len(families):
        raise ValueError(f"has {spec.families} families, {len(families)} are named")


def _read_scaling(data: bytes, where: str) -> Scaling:
    try:
        scaling = Scaling.from_json(parse_json(data, where))
        # One row of zeros tells whether it was fitted on as many columns.
        scaling.transform_rows(np.zeros((1, len(ROW_NAMES)), np.float32))
        scaling.transform_counters(np.zeros((1, len(COUNTER_NAMES)), np.float32))
    except ValueError as error:
        raise BundleError(f"{where}: {error}: {AGAIN}") from None
    return scaling
