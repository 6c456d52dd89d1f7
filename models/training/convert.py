"""A fitted network to LiteRT: built-in operators only, checked against Keras."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from models.errors import TrainingError
from models.network import NetworkSpec, PaperSpec, arrays_to_weights, build, paper_network

#: Windows or flows of one call, fixed in the file: no operator works out shapes, and a window's result does
#: not depend on how many others came with it.
BATCH = 64

TOLERANCE = 1e-5  #: largest difference from Keras, of any output


def convert(spec: NetworkSpec, weights: Mapping[str, np.ndarray]) -> bytes:
    """The network as a LiteRT flatbuffer: float32, LSTM unrolled, inputs (64, N, F) and (64, C).

    The converter is allowed built-in operators alone and fails on any other.  Raises
    TrainingError when an output differs from Keras by more than 1e-5 on random windows, and
    ValueError for weights of another network.
    """
    _need_tensorflow()
    model = build(spec, unroll=True, batch_size=BATCH)
    arrays_to_weights(model, weights)
    flatbuffer = _flatbuffer(model)
    _check(difference_from_keras(model, flatbuffer, spec))
    return flatbuffer


def convert_flows(spec: PaperSpec, weights: Mapping[str, np.ndarray]) -> bytes:
    """The paper's network as a LiteRT flatbuffer: float32, input `features` (64, D), output `logit` (64, 1).

    As `convert`; the difference allowed is 1e-5 of a logit beyond 1.
    """
    import keras

    _need_tensorflow()
    network = paper_network(spec, unroll=True, batch_size=BATCH, linear=True)
    arrays_to_weights(network, weights)
    flatbuffer = _flatbuffer(keras.Model(network.inputs, {"logit": network.outputs[0]}))
    run = _runner(flatbuffer)
    generator = np.random.default_rng(0)
    largest = 0.0
    for _ in range(4):
        features = generator.random((BATCH, spec.features), np.float32)
        wanted = np.asarray(network(features, training=False))
        gap = np.abs(run(features=features)["logit"] - wanted) / np.maximum(1, np.abs(wanted))
        largest = max(largest, _finite(gap.max()))
    _check(largest)
    return flatbuffer


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


def _need_tensorflow() -> None:
    import keras

    if keras.backend.backend() != "tensorflow":
        raise TrainingError("a conversion to LiteRT needs Keras on TensorFlow: unset KERAS_BACKEND")


def _flatbuffer(model: Any) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    with contextlib.redirect_stdout(io.StringIO()):  # Keras tells of every export
        flatbuffer: bytes = converter.convert()
    return flatbuffer


def _runner(flatbuffer: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    # The signature's runner keeps the interpreter.
    return Interpreter(model_content=flatbuffer, num_threads=1).get_signature_runner()


def _finite(gap: np.floating[Any]) -> float:
    return float(gap) if np.isfinite(gap) else np.inf


def _check(difference: float) -> None:
    if not difference <= TOLERANCE:
        raise TrainingError(f"LiteRT differs from Keras by {difference:.2g}, more than {TOLERANCE:g}")
