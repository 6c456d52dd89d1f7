"""A bundle's network in other forms: LiteRT in 8 bits, ONNX, and `.keras` for other people's tools.

Inputs are scaled as the bundle scales them; outputs are logits.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.bundle import Bundle
from models.detector.network import restore
from models.errors import PackageMissing, TrainingError
from models.flow_bundle import FlowBundle
from models.litert import Interpreted
from models.training.convert import BATCH, TOLERANCE, convert_int8, quiet_export

_EXAMPLES = 32 * BATCH  # more say no more about a range

Inputs = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Scaled inputs by name, (n, ...) each, and whether each is an attack where that is known."""

    inputs: Inputs
    attack: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def batches(self, places: npt.NDArray[np.int64]) -> Iterator[Inputs]:
        """The chosen examples, 64 at a time, the last ones filled up with zeros."""
        for start in range(0, len(places), BATCH):
            part = {name: values[places[start : start + BATCH]] for name, values in self.inputs.items()}
            yield {name: _filled(values) for name, values in part.items()}


def _filled(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    full = np.zeros((BATCH, *values.shape[1:]), np.float32)
    full[: len(values)] = values
    return full


def to_int8(bundle: Bundle | FlowBundle, examples: Examples) -> tuple[bytes, list[str]]:
    """The network in 8 bits, and what that costs on the examples, line by line.

    Half of the examples, every second one, give the ranges; the others are what the cost is measured on.
    """
    if len(examples) < 4 * BATCH:
        raise TrainingError(
            f"{len(examples)} examples are too few to quantise by: give {4 * BATCH} or more in --data"
        )
    places = np.arange(len(examples))
    fit, rest = places[::2], places[1::2]
    random = np.random.default_rng(0)
    chosen = np.sort(random.permutation(fit)[:_EXAMPLES])
    flatbuffer = convert_int8(bundle.spec, bundle.weights(), lambda: examples.batches(chosen))
    exact = _logits(bundle, bundle.tflite, examples, rest)
    found = _logits(bundle, flatbuffer, examples, rest)
    gap = np.abs(found - exact)
    lines = [
        f"{len(flatbuffer):,} bytes, {len(bundle.tflite):,} in float32",
        f"logits of {len(rest):,} examples not used for it: off by {gap.mean():.3g} in the mean,"
        f" {gap.max():.3g} at most",
    ]
    # A flow's threshold is of its probability; a window's stands behind evidence that adds up, so
    # there the network's own even chance is what is compared.
    cut = _logit(bundle.threshold) if isinstance(bundle, FlowBundle) else 0.0
    before, after = exact > cut, found > cut
    lines.append(f"decided otherwise: {(before != after).mean():.3%}")
    if examples.attack is not None:
        attack = examples.attack[rest]
        for what, rows in (("recall", attack), ("false alarms", ~attack)):
            if rows.any():
                exact_share, found_share = before[rows].mean(), after[rows].mean()
                lines.append(f"{what}: {exact_share:.4%} in float32, {found_share:.4%} in 8 bits")
    return flatbuffer, lines


def _logit(probability: float) -> float:
    clipped = min(max(probability, 1e-300), 1 - 1e-16)
    return float(np.log(clipped) - np.log1p(-clipped))


def _logits(
    bundle: Bundle | FlowBundle, flatbuffer: bytes, examples: Examples, places: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    shapes = {name: values.shape[1:] for name, values in examples.inputs.items()}
    network = Interpreted(flatbuffer, f"{bundle.path} in 8 bits", shapes, {"logit": (1,)})
    parts = [network.run(**batch)["logit"][:, 0].copy() for batch in examples.batches(places)]
    return np.concatenate(parts)[: len(places)].astype(np.float64)


def to_onnx(bundle: Bundle | FlowBundle) -> bytes:
    """The network as ONNX, checked with onnxruntime: outputs within 1e-5 of Keras on random inputs.

    Raises PackageMissing without what the extra [onnx] brings, TrainingError when it differs.
    """
    for package in ("tf2onnx", "onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise PackageMissing(f"{package} is missing: pip install 'ids-daemon[onnx]'")
    network, inputs = _keras(bundle), random_inputs(bundle, 100)
    wanted = network(inputs, training=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        with quiet_export():
            network.export(path, format="onnx", verbose=False)
        data = path.read_bytes()
    found = run_onnx(data, inputs)
    for name, values in wanted.items():
        values = np.asarray(values)
        gap = float((np.abs(found[name] - values) / np.maximum(1, np.abs(values))).max())
        if not gap <= TOLERANCE:
            raise TrainingError(f"ONNX differs from Keras by {gap:.2g} in {name}, more than {TOLERANCE:g}")
    return data


def run_onnx(data: bytes, inputs: Inputs) -> dict[str, npt.NDArray[np.float32]]:
    """The outputs by name of an ONNX network on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def to_keras(bundle: Bundle | FlowBundle) -> bytes:
    """The network as a `.keras` file, for tools that load such; nothing here ever does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.keras"
        _keras(bundle).save(path)
        return path.read_bytes()


def random_inputs(bundle: Bundle | FlowBundle, count: int) -> Inputs:
    """Scaled inputs of the network, uniformly random, (count, ...) each."""
    random = np.random.default_rng(0)
    if isinstance(bundle, FlowBundle):
        return {"features": random.random((count, bundle.spec.features), np.float32)}
    spec = bundle.spec
    return {
        "rows": random.random((count, spec.window, spec.row_features), np.float32),
        "counters": random.random((count, spec.counters), np.float32),
    }


def _keras(bundle: Bundle | FlowBundle) -> Any:
    """The network in Keras with a loop for its LSTM, inputs and outputs by name."""
    import keras

    if isinstance(bundle, Bundle):
        return restore(bundle, unroll=False)
    network = bundle.network(linear=True)
    return keras.Model({"features": network.inputs[0]}, {"logit": network.outputs[0]})
