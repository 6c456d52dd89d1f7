from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.network import (
    NetworkSpec,
    PaperSpec,
    arrays_to_weights,
    build,
    paper_network,
    weights_to_arrays,
)

keras = pytest.importorskip("keras", reason="needs Keras: pip install 'ids-daemon[train]'")

ROOT = Path(__file__).parents[2]
SPEC = NetworkSpec(
    window=6, row_features=5, counters=4, families=3, filters=7, lstm=8, counter_units=3, dense=9, l2=0.0
)


def windows(count: int, spec: NetworkSpec = SPEC) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    return (
        generator.random((count, spec.window, spec.row_features), np.float32),
        generator.random((count, spec.counters), np.float32),
    )


def outputs(model: Any, rows: np.ndarray, counters: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in model([rows, counters], training=False).items()}


def fresh(spec: NetworkSpec, seed: int = 1, **how: Any) -> Any:
    keras.utils.set_random_seed(seed)
    return build(spec, **({"unroll": True} | how))


def test_heads_are_one_logit_and_one_logit_a_family() -> None:
    heads = outputs(fresh(SPEC), *windows(4))
    assert {name: value.shape for name, value in heads.items()} == {"logit": (4, 1), "family": (4, 3)}


def test_heads_are_linear() -> None:
    model = fresh(SPEC)
    weights = weights_to_arrays(model)
    before = outputs(model, *windows(4))["logit"]
    arrays_to_weights(model, weights | {"logit.bias": np.array([-40], np.float32)})
    assert outputs(model, *windows(4))["logit"] == pytest.approx(before - 40, abs=1e-4)


def test_loop_and_unrolled_lstm_are_the_same_network() -> None:
    model = fresh(SPEC)
    loop = build(SPEC, unroll=False, batch_size=4)
    arrays_to_weights(loop, weights_to_arrays(model))
    for name, value in outputs(model, *windows(4)).items():
        assert outputs(loop, *windows(4))[name] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(("window", "pooling"), [(6, 1), (6, 2), (7, 2), (7, 3), (8, 5), (1, 1), (2, 2)])
def test_every_row_reaches_the_result_and_the_newest_the_last_step(window: int, pooling: int) -> None:
    spec = replace(SPEC, window=window, pooling=pooling, kernel=1, counters_in=False)
    model = fresh(spec)
    rows, counters = windows(1, spec)
    before = outputs(model, rows, counters)["logit"]
    for row in range(window):
        changed = rows.copy()
        changed[0, row] = 5
        assert outputs(model, changed, counters)["logit"] != before
    # Without a memory of earlier steps (no recurrence, input and output gate open, forget gate
    # shut) the LSTM tells the last step alone.
    weights = weights_to_arrays(model)
    weights["lstm.recurrent_kernel"][:] = 0
    units = spec.lstm
    weights["lstm.kernel"][:, units : 2 * units] = 0
    weights["lstm.bias"][units : 2 * units] = -100
    arrays_to_weights(model, weights)
    before = outputs(model, rows, counters)["logit"]
    last_step = range(window - pooling, window)
    for row in range(window):
        changed = rows.copy()
        changed[0, row] = 5
        assert (outputs(model, changed, counters)["logit"] != before) == (row in last_step)


def test_counters_reach_the_result_unless_left_out() -> None:
    rows, counters = windows(2)
    for counters_in in (True, False):
        model = fresh(replace(SPEC, counters_in=counters_in))
        before, after = outputs(model, rows, counters), outputs(model, rows, counters + 1)
        assert (before["logit"] != after["logit"]).any() == counters_in
        assert ("counter_dense.kernel" in weights_to_arrays(model)) == counters_in


def test_weights_have_plain_names_and_go_from_model_to_model() -> None:
    weights = weights_to_arrays(fresh(SPEC))
    assert {name: value.shape for name, value in weights.items()} == {
        "conv.kernel": (3, 5, 7),
        "conv.bias": (7,),
        "lstm.kernel": (7, 32),
        "lstm.recurrent_kernel": (8, 32),
        "lstm.bias": (32,),
        "counter_dense.kernel": (4, 3),
        "counter_dense.bias": (3,),
        "dense.kernel": (11, 9),
        "dense.bias": (9,),
        "logit.kernel": (9, 1),
        "logit.bias": (1,),
        "family.kernel": (9, 3),
        "family.bias": (3,),
    }
    assert all(value.dtype == np.float32 for value in weights.values())
    other = fresh(SPEC, seed=2)
    arrays_to_weights(other, weights)
    for name, value in weights_to_arrays(other).items():
        np.testing.assert_array_equal(value, weights[name])


def test_weights_that_do_not_fit_are_named() -> None:
    model = fresh(SPEC)
    weights = weights_to_arrays(model)
    with pytest.raises(ValueError, match=r"weight dense.kernel has shape \(2, 2\), not \(11, 9\)"):
        arrays_to_weights(model, weights | {"dense.kernel": np.zeros((2, 2), np.float32)})
    with pytest.raises(ValueError, match="weight extra is not of this network"):
        arrays_to_weights(model, weights | {"extra": np.zeros(1, np.float32)})
    del weights["lstm.bias"]
    with pytest.raises(ValueError, match="weight lstm.bias is missing"):
        arrays_to_weights(model, weights)


def test_same_seed_gives_the_same_fresh_weights() -> None:
    first, second = weights_to_arrays(fresh(SPEC)), weights_to_arrays(fresh(SPEC))
    assert all((first[name] == second[name]).all() for name in first)


def test_penalty_is_on_the_kernels() -> None:
    model = fresh(replace(SPEC, l2=0.5))
    weights = weights_to_arrays(model)
    kernels = ("conv.kernel", "lstm.kernel", "counter_dense.kernel", "dense.kernel")
    wanted = sum(0.5 * float((weights[name] ** 2).sum()) for name in kernels)
    assert float(sum(model.losses)) == pytest.approx(wanted, rel=1e-5)
    assert fresh(SPEC).losses == []


def test_spec_goes_through_json() -> None:
    spec = replace(SPEC, dropout=0.25, counters_in=False)
    assert NetworkSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"window": 0}, "window is 0"),
        ({"filters": True}, "filters is True"),
        ({"lstm": 10**9}, "lstm is 1000000000"),
        ({"families": 1}, "families is 1"),
        ({"pooling": 7}, "pooling 7 is longer than the window of 6 rows"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"row_dropout": "0.1"}, "row_dropout is '0.1'"),
        ({"l2": float("nan")}, "l2 is nan"),
        ({"counters_in": 1}, "counters_in is 1"),
        ({"attention": 8}, "unknown: attention"),
    ],
)
def test_spec_that_makes_no_network_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        NetworkSpec.from_dict(SPEC.to_dict() | change)


def test_spec_with_a_name_missing_is_refused() -> None:
    data = SPEC.to_dict()
    del data["kernel"]
    with pytest.raises(ValueError, match="missing: kernel"):
        NetworkSpec.from_dict(data)


def test_paper_network_takes_features_as_the_sequence_and_gives_a_probability() -> None:
    model = paper_network(PaperSpec(20, filters=4, lstm=5, dense=6))
    assert [type(layer).__name__ for layer in model.layers] == [
        "Reshape", "Conv1D", "MaxPooling1D", "LSTM", "Dropout", "Dense", "Dense",
    ]  # fmt: skip
    result = np.asarray(model(np.random.default_rng(0).random((8, 20), np.float32)))
    assert result.shape == (8, 1)
    assert ((result > 0) & (result < 1)).all()
    assert tuple(model.get_layer("conv").output.shape) == (None, 20, 4)


@pytest.mark.parametrize("levels", [0, 6])
def test_an_embedding_is_of_each_feature_alone(levels: int) -> None:
    model = paper_network(PaperSpec(20, levels=levels, embedding=5, filters=4, lstm=5, dense=6))
    first = [layer.name for layer in model.layers[:3]]
    assert first == ["levels" if levels else "sequence", "embedding", "conv"]
    x = np.random.default_rng(0).random((1, 20), np.float32)
    embedding = model.get_layer("embedding")
    one = np.asarray(embedding(model.layers[0](x)))
    x[0, 7] = 1 - x[0, 7]
    other = np.asarray(embedding(model.layers[0](x)))
    assert one.shape == (1, 20, 5)
    assert set(np.flatnonzero((one != other).any(axis=(0, 2)))) == {7}


def test_specification_needs_no_keras() -> None:
    code = "import sys, models.network as n; n.NetworkSpec(4, 3, 2, 2); print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
