from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import TrainingError
from models.network import NetworkSpec, Weights, arrays_to_weights, build, weights_to_arrays
from models.training.checkpoints import Checkpoint
from models.training.windows.network_fit import Arrays, Options, fit_network
from models.training.windows.rows import WindowRows

tensorflow = pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'ids-daemon[train]'")

SPEC = NetworkSpec(
    window=4, row_features=3, counters=2, families=2, filters=8, lstm=8, counter_units=4, dense=8,
    dropout=0.1, row_dropout=0.1, noise=0.01,
)  # fmt: skip
QUICK = Options(epochs=2, batch_size=64)


def data(count: int, *, seed: int = 0) -> Arrays:
    """Windows: an attack when feature 0 of the newest row is high, its family told by a counter."""
    generator = np.random.default_rng(seed)
    rows = generator.random((count, SPEC.window, SPEC.row_features), np.float32)
    counters = generator.random((count, SPEC.counters), np.float32)
    label = (rows[:, -1, 0] > 0.5).astype(np.float32)
    family = np.where(label > 0, counters[:, 0] > 0.5, -1).astype(np.int32)
    return Arrays(
        WindowRows.of(rows), counters, label, family, np.ones(count, np.float32), np.zeros(count, np.float32)
    )


def heads(weights: Weights, windows: Arrays) -> tuple[np.ndarray, np.ndarray]:
    model = build(SPEC, unroll=True)
    arrays_to_weights(model, weights)
    found = model([windows.rows.dense(), windows.counters], training=False)
    return np.asarray(found["logit"])[:, 0], np.asarray(found["family"])


def test_fit_learns_both_heads() -> None:
    options = Options(epochs=10, batch_size=32, learning_rate=1e-2, family_weight=1.0)
    result = fit_network(SPEC, data(2000), data(500, seed=1), options)
    test = data(1000, seed=2)
    logit, family = heads(result.weights, test)
    attacks = test.family >= 0
    assert ((logit > 0) == (test.label > 0)).mean() > 0.93
    assert (family.argmax(axis=1) == test.family)[attacks].mean() > 0.9
    losses = [epoch["validation_loss"] for epoch in result.history]
    assert losses[-1] < losses[0] / 2


def test_same_command_gives_the_same_weights_bit_by_bit() -> None:
    first, second = (fit_network(SPEC, data(300), data(100), QUICK) for _ in range(2))
    assert first.history == second.history
    for name, weights in first.weights.items():
        assert weights.tobytes() == second.weights[name].tobytes()


def test_seed_makes_another_network() -> None:
    first, second = (fit_network(SPEC, data(300), None, replace(QUICK, seed=seed)) for seed in (1, 2))
    assert (first.weights["dense.kernel"] != second.weights["dense.kernel"]).any()


def test_window_of_weight_0_changes_nothing() -> None:
    train = data(192)
    light = replace(train, weight=train.weight.copy(), label=train.label.copy())
    light.weight[:64] = 0
    other = replace(light, label=light.label.copy())
    other.label[:64] = 1 - other.label[:64]
    first, second = (fit_network(SPEC, one, None, QUICK) for one in (light, other))
    for name, weights in first.weights.items():
        assert weights.tobytes() == second.weights[name].tobytes()


def test_only_ratios_of_weights_matter() -> None:
    train = data(192)
    heavy = replace(train, weight=train.weight * 1024)
    first, second = (fit_network(replace(SPEC, l2=0.01), one, None, QUICK) for one in (train, heavy))
    for name, weights in first.weights.items():
        np.testing.assert_allclose(weights, second.weights[name], atol=1e-6)


def test_family_of_what_is_no_attack_is_not_learned() -> None:
    train = data(192)
    told = replace(train, family=np.where(train.label > 0, train.family, 1).astype(np.int32))
    first, second = (fit_network(SPEC, one, None, QUICK) for one in (train, told))
    assert first.weights["family.kernel"].tobytes() == second.weights["family.kernel"].tobytes()


def test_it_stops_when_validation_gets_worse_and_gives_the_best_epoch() -> None:
    train = data(256)
    against = replace(train, label=1 - train.label, family=np.full(256, -1, np.int32))
    options = Options(epochs=20, batch_size=32, patience=3, learning_rate=3e-3)
    result = fit_network(SPEC, train, against, options)
    losses = [epoch["validation_loss"] for epoch in result.history]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + options.patience
    logit, _ = heads(result.weights, against)
    found = np.mean(np.logaddexp(0, logit) - logit * against.label)
    assert found == pytest.approx(losses[best], rel=1e-4)


def test_last_batch_counts_no_window_twice() -> None:
    check = data(70)
    result = fit_network(SPEC, data(64), check, replace(QUICK, epochs=1, family_weight=0.0))
    logit, _ = heads(result.weights, check)
    wanted = np.mean(np.logaddexp(0, logit) - logit * check.label)
    assert result.history[0]["validation_loss"] == pytest.approx(wanted, rel=1e-5)


def test_without_averaging_weights_are_those_of_the_last_step() -> None:
    results = [fit_network(SPEC, data(300), None, replace(QUICK, averaging=a)) for a in (0.0, 0.99)]
    assert results[0].history == results[1].history  # the averaged twin has no part in the fit
    assert (results[0].weights["conv.kernel"] != results[1].weights["conv.kernel"]).any()


def test_noise_is_another_each_step() -> None:
    from models.training.windows.network_fit import _add_noise

    values = np.full((300, 4, 3), 0.5, np.float32)
    first, again, other = (np.asarray(_add_noise(values, 0.1, [1, step])) for step in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()
    assert first.mean() == pytest.approx(0.5, abs=0.02)
    assert first.std() == pytest.approx(0.1, rel=0.1)
    assert _add_noise(values, 0.0, [1, 0]) is values


def test_row_dropout_zeroes_whole_rows_and_keeps_the_mean() -> None:
    from models.training.windows.network_fit import _drop_rows

    rows = np.ones((400, 4, 3), np.float32)
    kept = np.asarray(_drop_rows(rows, 0.5, [1, 2]))
    assert set(np.unique(kept)) == {0, 2}
    assert (kept.min(axis=2) == kept.max(axis=2)).all()
    assert kept.mean() == pytest.approx(1.0, abs=0.1)


def test_every_epoch_is_told() -> None:
    told: list[tuple[int, dict[str, float]]] = []
    result = fit_network(SPEC, data(100), data(100), QUICK, lambda *epoch: told.append(epoch))
    assert told == [(1, result.history[0]), (2, result.history[1])]


class Broken(Checkpoint):
    """A checkpoint after whose second state the fit is interrupted."""

    saved = 0

    def save(self, arrays: Mapping[str, np.ndarray]) -> None:
        super().save(arrays)
        self.saved += 1
        if self.saved == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("validation", [None, data(50, seed=1)])
def test_a_fit_that_was_broken_off_goes_on_to_the_same_weights(
    validation: Arrays | None, tmp_path: Path
) -> None:
    options = replace(QUICK, epochs=4, patience=2)
    whole = fit_network(SPEC, data(150), validation, options)
    with pytest.raises(KeyboardInterrupt):
        fit_network(SPEC, data(150), validation, options, checkpoint=Broken(tmp_path / "fit.npz"))
    checkpoint = Checkpoint(tmp_path / "fit.npz")
    told: list[int] = []
    again = fit_network(
        SPEC, data(150), validation, options, lambda epoch, losses: told.append(epoch), checkpoint
    )
    assert told == [3, 4]
    assert again.history == whole.history
    for name, weights in whole.weights.items():
        assert weights.tobytes() == again.weights[name].tobytes(), name
    done = fit_network(SPEC, data(150), validation, options, lambda *epoch: told.append(0), checkpoint)
    assert 0 not in told and done.weights["conv.bias"].tobytes() == whole.weights["conv.bias"].tobytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"rows": WindowRows.of(np.zeros((8, 5, 3), np.float32))},
            r"rows has shape \(8, 5, 3\), the network wants \(8, 4, 3\)",
        ),
        ({"weight": np.zeros(8, np.float32)}, "no window has a weight above 0"),
        ({"weight": np.linspace(-1, 9, 8).astype(np.float32)}, "or one is below"),
        ({"label": np.full(8, 1.5, np.float32)}, "a label is not in 0 to 1"),
        ({"label": np.full(8, math.nan, np.float32)}, "a label is not in 0 to 1"),
        ({"family": np.full(8, 2, np.int32)}, "family 2 of 2"),
        ({"counters": np.full((8, 2), math.inf, np.float32)}, "a feature is not finite"),
    ],
)
def test_data_that_fits_no_network_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(TrainingError, match="training data: .*" + said):
        fit_network(SPEC, replace(data(8), **change), None, QUICK)
    with pytest.raises(TrainingError, match="validation data: .*" + said):
        fit_network(SPEC, data(8), replace(data(8), **change), QUICK)


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        replace(SPEC, counters_in=False),
        replace(SPEC, window=5, pooling=3),
        replace(SPEC, window=1, pooling=1),
    ],
)
def test_conversion_has_built_in_operators_only_and_the_batch_fixed(spec: NetworkSpec) -> None:
    from ai_edge_litert.interpreter import Interpreter

    from models.training.convert import convert

    weights = weights_to_arrays(build(spec, unroll=False))
    interpreter = Interpreter(model_content=convert(spec, weights), num_threads=1)
    interpreter.allocate_tensors()
    signature = interpreter.get_signature_runner()
    shapes = {name: tuple(d["shape"]) for name, d in signature.get_input_details().items()}
    assert shapes == {"rows": (64, spec.window, 3), "counters": (64, 2)}
    assert set(signature.get_output_details()) == {"logit", "family"}
    operators = Counter(one["op_name"] for one in interpreter._get_ops_details())
    assert operators["CONV_2D"] == 1
    assert not [name for name in operators if name.startswith("Flex") or name in ("CUSTOM", "WHILE")]


def test_conversion_gives_the_same_bytes_again() -> None:
    from models.training.convert import convert

    weights = weights_to_arrays(build(SPEC, unroll=True))
    assert convert(SPEC, weights) == convert(SPEC, weights)


def test_conversion_that_differs_from_keras_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from models.training import convert as module

    model = build(SPEC, unroll=True)
    flatbuffer = module.convert(SPEC, weights_to_arrays(model))
    assert module.difference_from_keras(model, flatbuffer, SPEC) < 1e-6
    weights = weights_to_arrays(model)
    weights["family.bias"][1] += 0.01
    arrays_to_weights(model, weights)
    assert module.difference_from_keras(model, flatbuffer, SPEC) == pytest.approx(0.01, rel=1e-3)
    monkeypatch.setattr(module, "TOLERANCE", -1.0)
    with pytest.raises(TrainingError, match="LiteRT differs from Keras by"):
        module.convert(SPEC, weights)
