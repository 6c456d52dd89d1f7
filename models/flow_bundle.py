"""The saved model of kind `flows`: the paper's network, which scores one flow at a time.

Files as in models.bundle, with preprocessing.json in the place of scaling.json.  The trainer's
commands read it; the daemon does not, because what it decides about is a host over time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from models.bundle_files import (
    AGAIN,
    CALIBRATION,
    MANIFEST,
    TFLITE,
    WEIGHTS,
    arrays_bytes,
    below_report,
    json_bytes,
    parse_arrays,
    parse_json,
)
from models.bundle_store import Manifest, Opened, open_bundle, rewrite, write_bundle
from models.errors import BundleError
from models.litert import Interpreted, builtin_only
from models.network import PaperSpec, paper_network
from models.rebuilding import rebuilt

PREPROCESSING = "preprocessing.json"

_NEEDED = (TFLITE, WEIGHTS, PREPROCESSING, CALIBRATION)


class _Manifest(Manifest):
    kind: Literal["flows"]
    classes: list[str]


@dataclass(frozen=True, eq=False)
class FlowBundle:
    """A saved model for single flows whose files are what its manifest says.

    Not for use by several threads at once.
    """

    name: str
    path: Path
    manifest: dict[str, Any] = field(repr=False)
    classes: tuple[str, ...]  #: labels of the data it was fitted on, the benign one first
    spec: PaperSpec
    preprocessing: dict[str, Any] = field(repr=False)  #: read by whoever made it
    calibration: dict[str, Any] = field(repr=False)
    threshold: float  #: of `score`: a flow above it is an attack
    tflite: bytes = field(repr=False)
    weights_file: bytes = field(repr=False)

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """The network's weights by `layer.weight`."""
        return parse_arrays(self.weights_file, f"{self.path}/{WEIGHTS}")

    def network(self, *, linear: bool = False) -> Any:
        """The network rebuilt in Keras from our own code, as `paper_network` gives it.

        Raises RuntimeUnavailable without Keras, BundleError when the weights are another network's.
        """
        return rebuilt(lambda: paper_network(self.spec, linear=linear), self.weights, self.path)

    def score(
        self, x: npt.NDArray[np.float32], runtime: Literal["litert", "keras"] = "litert"
    ) -> npt.NDArray[np.float64]:
        """Probability of an attack, (n,), for n preprocessed flows (n, D).

        LiteRT's result for a flow is the same to the last bit whoever shares its batch.
        """
        if x.ndim != 2 or x.shape[1] != self.spec.features:
            raise ValueError(f"flows of {x.shape}: (n, {self.spec.features}) wanted")
        logits = self._keras_logits(x) if runtime == "keras" else self._litert_logits(x)
        # In float64, where probabilities near 1 still differ; beyond 700 the exponential has no number.
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -700, 700))))

    @cached_property
    def _interpreted(self) -> Interpreted:
        where = f"{self.path}/{TFLITE}"
        return Interpreted(self.tflite, where, {"features": (self.spec.features,)}, {"logit": (1,)})

    def _litert_logits(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        logits = np.empty(len(x), np.float64)
        size = self._interpreted.batch_size
        full = np.zeros((size, self.spec.features), np.float32)
        for start in range(0, len(x), size):
            part = x[start : start + size]
            full[: len(part)], full[len(part) :] = part, 0
            logits[start : start + size] = self._interpreted.run(features=full)["logit"][: len(part), 0]
        return logits

    def _keras_logits(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        logits = self.network(linear=True).predict(x, batch_size=4096, verbose=0)
        return np.asarray(logits[:, 0], np.float64)


def load_flow_bundle(path: str | os.PathLike[str]) -> FlowBundle:
    """Load and verify a bundle of kind `flows`, a folder or a zip.

    Raises BundleError when it is missing, damaged, made by a newer version, or of host windows.
    """
    where = Path(path)
    opened = _open(where)
    manifest, contents = opened.manifest, opened.contents(_NEEDED)
    try:
        spec = PaperSpec.from_dict(manifest.network)
    except ValueError as error:
        raise BundleError(f"{where}/{MANIFEST}: network: {error}: {AGAIN}") from None
    calibration = parse_json(contents[CALIBRATION], f"{where}/{CALIBRATION}")
    threshold = calibration.get("threshold")
    if not isinstance(threshold, int | float) or isinstance(threshold, bool) or not 0 <= threshold <= 1:
        raise BundleError(f"{where}/{CALIBRATION}: no number from 0 to 1 as threshold: {AGAIN}")
    return FlowBundle(
        name=manifest.name,
        path=where,
        manifest=opened.data,
        classes=tuple(manifest.classes),
        spec=spec,
        preprocessing=parse_json(contents[PREPROCESSING], f"{where}/{PREPROCESSING}"),
        calibration=calibration,
        threshold=float(threshold),
        tflite=contents[TFLITE],
        weights_file=contents[WEIGHTS],
    )


def _open(where: Path) -> Opened[_Manifest]:
    return open_bundle(where, "flows", _Manifest, _NEEDED)


def with_threshold(
    bundle: FlowBundle,
    folder: str | os.PathLike[str],
    threshold: float,
    calibration: Mapping[str, Any],
    name: str | None = None,
) -> FlowBundle:
    """Write the bundle to `folder` with another threshold and what is told of it."""
    changed = {CALIBRATION: json_bytes({**calibration, "threshold": threshold}, CALIBRATION)}
    return rewrite(_open(bundle.path), folder, changed, load_flow_bundle, name)


def save_flow_bundle(
    folder: str | os.PathLike[str],
    *,
    name: str,
    preprocessing: Mapping[str, Any],
    spec: PaperSpec,
    weights: Mapping[str, npt.NDArray[np.float32]],
    threshold: float,
    classes: Sequence[str],
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
    tflite: bytes,
    created: str,
    calibration: Mapping[str, Any] | None = None,
    report_files: Mapping[str, bytes] | None = None,
) -> FlowBundle:
    """Write a bundle of kind `flows`, replacing one that is there, and load it back.

    preprocessing: `Preprocessing.to_json()`, what makes (n, D) of a table of flows.
    threshold: of `FlowBundle.score`; calibration: what is told about where it comes from.
    tflite: from `models.training.convert.convert_flows`.
    The rest as in models.bundle.save_bundle.
    """
    builtin_only(tflite, TFLITE)
    files = {
        TFLITE: tflite,
        WEIGHTS: arrays_bytes(weights),
        PREPROCESSING: json_bytes(dict(preprocessing), PREPROCESSING),
        CALIBRATION: json_bytes({**(calibration or {}), "threshold": threshold}, CALIBRATION),
        **below_report(report_files),
    }
    manifest = {
        "kind": "flows",
        "name": name,
        "created": created,
        "network": spec.to_dict(),
        "classes": list(classes),
        "training": dict(training),
        "metrics": dict(metrics),
    }
    return write_bundle(folder, manifest, files, load_flow_bundle)
