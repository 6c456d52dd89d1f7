"""A fitted network to LiteRT: built-in operators only, checked against Keras."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from models.errors import TrainingError
from models.network import NetworkSpec, PaperSpec, arrays_to_weights, build, paper_network
from models.quiet import no_remarks

#: Windows or flows of one call, fixed in the file: no operator works out shapes, and a window's result does
#: not depend on how many others came with it.
BATCH = 64

TOLERANCE = 1e-5  #: largest difference from Keras, of any output


Batches = Callable[[], Iterator[dict[str, np.ndarray]]]


def convert(spec: NetworkSpec, weights: Mapping[str, np.ndarray]) -> bytes:
    """The network as a LiteRT flatbuffer: float32, LSTM unrolled, inputs (64, N, F) and (64, C).

    The converter is allowed built-in operators alone and fails on any other.  Raises
    TrainingError when an output differs from Keras by more than 1e-5 on random windows, and
    ValueError for weights of another network.
    """
    model = _for_litert(spec, weights)
    flatbuffer = _flatbuffer(model)
    _check(difference_from_keras(model, flatbuffer, spec))
    return flatbuffer


def convert_flows(spec: PaperSpec, weights: Mapping[str, np.ndarray]) -> bytes:
    """The paper's network as a LiteRT flatbuffer: float32, input `features` (64, D), output `logit` (64, 1).

    As `convert`; the difference allowed is 1e-5 of a logit beyond 1.
    """
    model = _for_litert(spec, weights)
    flatbuffer = _flatbuffer(model)
    run = _runner(flatbuffer)
    generator = np.random.default_rng(0)
    largest = 0.0
    for _ in range(4):
        features = generator.random((BATCH, spec.features), np.float32)
        wanted = np.asarray(model(features, training=False)["logit"])
        gap = np.abs(run(features=features)["logit"] - wanted) / np.maximum(1, np.abs(wanted))
        largest = max(largest, _finite(gap.max()))
    _check(largest)
    return flatbuffer


def convert_int8(
    spec: NetworkSpec | PaperSpec, weights: Mapping[str, np.ndarray], examples: Batches
) -> bytes:
    """The network with weights and activations in 8 bits, inputs and outputs as in the float32 one.

    examples: gives batches of scaled inputs by name, (64, ...) each, as the network will see them; the
        range of every activation is taken from them.  What it costs is for the caller to measure.
    """
    return _flatbuffer(_for_litert(spec, weights), examples)


def _for_litert(spec: NetworkSpec | PaperSpec, weights: Mapping[str, np.ndarray]) -> Any:
    """The network as the converter takes it: unrolled, of one batch size, outputs by name."""
    import keras

    if keras.backend.backend() != "tensorflow":
        raise TrainingError("a conversion to LiteRT needs Keras on TensorFlow: unset KERAS_BACKEND")
    if isinstance(spec, NetworkSpec):
        network = build(spec, unroll=True, batch_size=BATCH)
        arrays_to_weights(network, weights)
        return network
    network = paper_network(spec, unroll=True, batch_size=BATCH, linear=True)
    arrays_to_weights(network, weights)
    return keras.Model(network.inputs[0], {"logit": network.outputs[0]})


def difference_from_keras(model: Any, flatbuffer: bytes, spec: NetworkSpec, *, seed: int = 0) -> float:
    """Largest absolute difference of any output, over four batches of windows of 1 to N rows."""
    run = _runner(flatbuffer)
    generator = np.random.default_rng(seed)
    largest = 0.0
    for _ in range(4):
        rows = generator.random((BATCH, spec.window, spec.row_features), np.float32)
        present = generator.integers(1, spec.window + 1, BATCH)
        rows[np.arange(spec.window) < spec.window - present[:, None]] = 0
        counters = generator.random((BATCH, spec.counters), np.float32)
        wanted = model([rows, counters], training=False)
        found = run(rows=rows, counters=counters)
        for name in ("logit", "family"):
            largest = max(largest, _finite(np.abs(found[name] - np.asarray(wanted[name])).max()))
    return largest


def _flatbuffer(model: Any, examples: Batches | None = None) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if examples is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops.append(tf.lite.OpsSet.TFLITE_BUILTINS_INT8)
        converter.representative_dataset = lambda: (("serving_default", batch) for batch in examples())
    with quiet_export():
        flatbuffer: bytes = converter.convert()
    return flatbuffer


@contextlib.contextmanager
def quiet_export() -> Iterator[None]:
    """Without what Keras and the converter say of every export, and their warnings of each other."""
    with contextlib.redirect_stdout(io.StringIO()), no_remarks(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _runner(flatbuffer: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    with no_remarks():  # the C++ side tells of its delegate
        interpreter = Interpreter(model_content=flatbuffer, num_threads=1)
        interpreter.allocate_tensors()
    return interpreter.get_signature_runner()  # which keeps the interpreter


def _finite(gap: np.floating[Any]) -> float:
    return float(gap) if np.isfinite(gap) else np.inf


def _check(difference: float) -> None:
    if not difference <= TOLERANCE:
        raise TrainingError(f"LiteRT differs from Keras by {difference:.2g}, more than {TOLERANCE:g}")
