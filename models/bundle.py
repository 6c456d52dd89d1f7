"""The saved model: one folder (or a zip of it) that holds all a score depends on.

manifest.json says what the model reads and by which meter, and the SHA-256 of every other file:
model.tflite for LiteRT, weights.npz for Keras, scaling.json, calibration.json, and report/ for
people.  The flatbuffer has built-in operators only; weights are plain arrays.  Nothing here loads
a `.keras` or h5 model, a SavedModel or a pickle: those run code.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from capture.columns import feature_hash
from models.bundle_files import (
    AGAIN,
    FILE_LIMIT,
    MANIFEST,
    MANIFEST_LIMIT,
    BundleFiles,
    arrays_bytes,
    json_bytes,
    open_files,
    parse_arrays,
    parse_json,
    write_folder,
)
from models.errors import BundleError
from models.network import NetworkSpec
from models.scaling import Scaling
from models.window_columns import COUNTER_NAMES, ROW_NAMES, WINDOW

SCHEMA = 1
PRETRAINED = Path(__file__).with_name("pretrained")

TFLITE, WEIGHTS, SCALING, CALIBRATION = "model.tflite", "weights.npz", "scaling.json", "calibration.json"
REPORT = "report"

_FILES_LIMIT = 256  # files in a bundle
_LIBRARIES = ("numpy", "keras", "tensorflow", "tensorflow-cpu", "ai-edge-litert")


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _File(_Part):
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0, le=FILE_LIMIT)]


class _Features(_Part):
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    window: int
    rows: list[str]
    counters: list[str]


class _Manifest(_Part):
    """What manifest.json holds."""

    schema_version: int
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")]
    meter: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,32}$")]
    created: Annotated[str, Field(max_length=64)]
    features: _Features
    network: dict[str, Any]
    families: list[str]
    training: dict[str, Any]
    metrics: dict[str, Any]
    versions: dict[str, str]
    files: Annotated[dict[str, _File], Field(max_length=_FILES_LIMIT)]


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


def load_bundle(path: str | os.PathLike[str] | None, *, meter: str = "native") -> Bundle:
    """Load and verify a bundle: a folder, a zip, or None for the one that ships for `meter`.

    Raises BundleError when it is missing, damaged, made by a newer version, for another meter, or
    for other features than this version's.
    """
    where = PRETRAINED / meter if path is None else Path(path)
    if path is None and not where.exists():
        raise BundleError(
            f"{where}: no model ships for the meter {meter!r}: train one with 'ids-train fit' and name it"
        )
    files = open_files(where)
    data = parse_json(files.read(MANIFEST, MANIFEST_LIMIT), f"{where}/{MANIFEST}")
    manifest = _read_manifest(data, where)
    _check_fit(manifest, where, meter)
    contents = {name: _verified(files, name, entry, where) for name, entry in manifest.files.items()}
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
        manifest=data,
        families=tuple(manifest.families),
        spec=spec,
        scaling=scaling,
        calibration=parse_json(contents[CALIBRATION], f"{where}/{CALIBRATION}"),
        tflite=contents[TFLITE],
        weights_file=contents[WEIGHTS],
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

    All is written beside `folder`, verified and then renamed, so there is never half a bundle.
    Raises BundleError for what makes no bundle, and when `folder` holds something else.
    """
    builtin_only(tflite, TFLITE)
    files = {
        TFLITE: tflite,
        WEIGHTS: arrays_bytes(weights),
        SCALING: json_bytes(scaling.to_json(), SCALING),
        CALIBRATION: json_bytes(dict(calibration), CALIBRATION),
        **{f"{REPORT}/{file}": data for file, data in sorted((report or {}).items())},
    }
    manifest = {
        "schema_version": SCHEMA,
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
        "versions": _versions(),
        "files": {
            file: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
            for file, data in files.items()
        },
    }
    target = place_for(folder)
    new = target.with_name(f".{target.name}.new-{os.getpid()}")
    try:
        new.mkdir(parents=True)
        write_folder(new, {**files, MANIFEST: json_bytes(manifest, MANIFEST)})
        load_bundle(new, meter=meter)
        _put_in_place(new, target)
    except OSError as error:
        raise BundleError(f"{target}: cannot be written ({error.strerror}): check the path") from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return load_bundle(target, meter=meter)


def place_for(folder: str | os.PathLike[str]) -> Path:
    """Where a bundle may be saved: a new folder, an empty one, or one with a bundle.

    Raises BundleError for anything else: never something of a person's that a typing error names.
    """
    target = Path(folder).resolve()
    replaceable = target.is_dir() and ((target / MANIFEST).is_file() or not any(target.iterdir()))
    if target.exists() and not replaceable:
        raise BundleError(f"{target}: is there and no bundle: name a new folder")
    return target


def operators(tflite: bytes) -> set[str]:
    """The operators a LiteRT flatbuffer needs, custom ones by their own name.

    Raises BundleError when the bytes are no such flatbuffer.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter

    try:
        Interpreter(model_content=tflite)  # it verifies every offset, which the reader below does not
    except ValueError as error:
        raise BundleError(f"{TFLITE}: no LiteRT model ({error}): {AGAIN}") from None
    model = schema.Model.GetRootAsModel(tflite, 0)
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    return {
        code.CustomCode().decode("utf-8", "replace")
        if code.CustomCode()
        # Codes below 127 may stand in the older field alone.
        else names.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "UNKNOWN")
        for code in codes
    }


def builtin_only(tflite: bytes, where: str) -> None:
    """BundleError when a flatbuffer needs an operator that LiteRT alone does not have."""
    from ai_edge_litert import schema_py_generated as schema

    odd = sorted(operators(tflite) - (vars(schema.BuiltinOperator).keys() - {"CUSTOM"}))
    if odd:
        raise BundleError(
            f"{where}: needs {', '.join(odd)}, not built into LiteRT: convert with the LSTM unrolled"
        )


def _read_manifest(data: dict[str, Any], where: Path) -> _Manifest:
    schema = data.get("schema_version")
    if type(schema) is not int or schema < 1:
        raise BundleError(f"{where}/{MANIFEST}: not a bundle's, it has no schema_version: check the path")
    if schema > SCHEMA:
        raise BundleError(
            f"{where}/{MANIFEST}: schema {schema} is newer than {SCHEMA}, the newest known: update ids-daemon"
        )
    try:
        manifest = _Manifest.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{where}/{MANIFEST}: {key}: {first['msg']}: {AGAIN}") from None
    for file in manifest.files:
        if not _is_below(file):
            raise BundleError(f"{where}/{MANIFEST}: file name {file!r} leaves the bundle: do not use it")
    for file in (TFLITE, WEIGHTS, SCALING, CALIBRATION):
        if file not in manifest.files:
            raise BundleError(f"{where}/{MANIFEST}: no hash of {file}: {AGAIN}")
    return manifest


def _is_below(name: str) -> bool:
    """Whether a file name stays below the bundle's top, spelled in the one plain way."""
    parts = name.split("/")
    plain = name.isprintable() and "\\" not in name and ":" not in name
    return plain and str(PurePosixPath(name)) == name and ".." not in parts and "" not in parts


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


def _verified(files: BundleFiles, name: str, entry: _File, where: Path) -> bytes:
    data = files.read(name)
    if len(data) != entry.size or hashlib.sha256(data).hexdigest() != entry.sha256:
        raise BundleError(f"{where}/{name}: its SHA-256 is not the manifest's: {AGAIN}")
    return data


def _check_spec(spec: NetworkSpec, families: Sequence[str]) -> None:
    """ValueError unless the network takes this version's windows and names these families."""
    shape = (spec.window, spec.row_features, spec.counters)
    wanted = (WINDOW, len(ROW_NAMES), len(COUNTER_NAMES))
    if shape != wanted:
        raise ValueError(f"takes windows of {shape}, not {wanted}")
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


def _versions() -> dict[str, str]:
    """Versions of Python and of the installed libraries that a model may depend on."""
    found = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


def _put_in_place(new: Path, target: Path) -> None:
    """Rename `new` to `target`; an old one there is kept until the new one stands."""
    if not target.exists():
        new.rename(target)
        return
    old = target.with_name(f".{target.name}.old-{os.getpid()}")
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)
