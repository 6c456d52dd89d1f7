"""Folds by origin, thresholds from benign captures, and a model that scores as the daemon will."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import TrainingError
from models.evidence import FAMILIES, RULES, CounterEvidence
from models.training.windows.dataset import CaptureWindows, Collector, collect
from models.training.windows.fitting import (
    COUNTER_WEIGHT,
    assign_folds,
    decisions,
    evidence_rule,
    network_spec,
    threshold_folds,
)
from models.training.windows.labels import CaptureLabel, Networks
from models.window_columns import COUNTER_NAMES, ROW_NAMES, WINDOW
from tests.models.flows import random_records

SMALL = {"filters": 4, "lstm": 4, "counter_units": 4, "dense": 4}


def label(path: str, *, attack: bool, origin: str, in_scope: bool = True) -> CaptureLabel:
    hosts = Networks(["10.0.0.1"] if attack else [])
    none = Networks([])
    return CaptureLabel(path, attack, origin, "scan", hosts, none, False, False, None, None, in_scope)


def corpus(sizes: dict[str, tuple[int, int]]) -> list[CaptureLabel]:
    """Labels of (attacks, benign) captures of each origin."""
    return [
        label(f"{origin}/{n}.pcap", attack=n < attacks, origin=origin)
        for origin, (attacks, benign) in sizes.items()
        for n in range(attacks + benign)
    ]


# -- folds


def test_an_origin_is_in_one_fold() -> None:
    random = np.random.default_rng(3)
    labels = corpus({f"o{n}": tuple(random.integers(0, 9, 2)) for n in range(40)})
    random.shuffle(labels)  # type: ignore[arg-type]
    folds = assign_folds(labels, 5, seed=1)
    assert set(folds) == set(range(5))
    of_origin: dict[str, set[int]] = {}
    for one, fold in zip(labels, folds, strict=True):
        of_origin.setdefault(one.origin, set()).add(int(fold))
    assert all(len(folds_of) == 1 for folds_of in of_origin.values())


def test_folds_are_alike_in_attacks_and_in_benign_captures() -> None:
    labels = corpus({f"o{n}": (2, 0) for n in range(20)} | {f"b{n}": (0, 6) for n in range(10)})
    folds = assign_folds(labels, 5, seed=1)
    attack = np.array([one.attack for one in labels])
    assert np.bincount(folds[attack]).tolist() == [8] * 5
    assert np.bincount(folds[~attack]).tolist() == [12] * 5


def test_one_large_origin_has_a_fold_nearly_alone() -> None:
    labels = corpus({"large": (30, 30)} | {f"o{n}": (1, 1) for n in range(30)})
    folds = assign_folds(labels, 3, seed=1)
    large = folds[[one.origin == "large" for one in labels]][0]
    others = np.bincount(folds[[one.origin != "large" for one in labels]], minlength=3)
    assert others[large] <= 2 and abs(int(np.delete(others, large) @ [1, -1])) <= 2


def test_folds_are_the_same_for_the_same_seed_in_any_order_of_captures() -> None:
    labels = corpus({f"o{n}": (n % 3, 1) for n in range(20)})
    folds = assign_folds(labels, 4, seed=1)
    np.testing.assert_array_equal(assign_folds(labels, 4, seed=1), folds)
    np.testing.assert_array_equal(assign_folds(labels[::-1], 4, seed=1), folds[::-1])
    assert not np.array_equal(assign_folds(labels, 4, seed=2), folds)


# -- folds for a threshold


def test_folds_for_a_threshold_are_by_origin_where_there_are_enough() -> None:
    labels = corpus({f"o{n}": (1, 2) for n in range(6)})
    np.testing.assert_array_equal(threshold_folds(labels, 3, 1), assign_folds(labels, 3, 1))


@pytest.mark.parametrize(
    "sizes", [{"home": (2, 5)}, {"home": (0, 5), "lab": (2, 0)}, {"a": (2, 3), "b": (0, 2)}]
)
def test_of_too_few_origins_benign_captures_are_left_out_in_turn_and_attacks_never(
    sizes: dict[str, tuple[int, int]],
) -> None:
    labels = corpus(sizes)
    folds = threshold_folds(labels, 3, 1)
    attack = np.array([one.attack for one in labels])
    assert set(folds[attack]) == {-1}
    assert folds[~attack].tolist() == [0, 0, 1, 1, 2]
    assert threshold_folds(labels, 9, 1)[~attack].tolist() == [0, 1, 2, 3, 4]


def test_one_benign_capture_or_no_attack_gives_no_threshold() -> None:
    with pytest.raises(TrainingError, match="one benign capture at most: .* cut a long one with --cut 3600"):
        threshold_folds(corpus({"home": (3, 1)}), 5, 1)
    with pytest.raises(TrainingError, match="no attack among the captures: `calibrate` sets"):
        threshold_folds(corpus({"home": (0, 3), "lab": (0, 3)}), 5, 1)


# -- a model


@pytest.fixture(scope="module")
def collected() -> tuple[Collector, list[CaptureWindows], list[np.ndarray]]:
    labels = corpus({"a": (1, 1), "b": (1, 1), "c": (0, 1)})
    records = {one.path: random_records(120, seed) for seed, one in enumerate(labels)}
    captures: list[CaptureWindows] = []
    collector = collect(labels, lambda one: records[one.path], captures.append)
    return collector, captures, [records[one.path] for one in labels]


def test_the_network_is_for_this_versions_windows() -> None:
    spec = network_spec(lstm=5)
    assert (spec.window, spec.row_features, spec.counters) == (WINDOW, len(ROW_NAMES), len(COUNTER_NAMES))
    assert (spec.families, spec.lstm) == (len(FAMILIES), 5)


@pytest.fixture(scope="module")
def model(collected: Any) -> Any:
    pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'ids-daemon[train]'")
    from models.training.windows.fitting import fit_model
    from models.training.windows.network_fit import Options

    chosen = np.array([True, True, True, True, False])
    return fit_model(collected[0], chosen, network_spec(**SMALL), Options(epochs=1))


@pytest.mark.slow
def test_a_model_is_calibrated_on_the_benign_captures_it_was_fitted_on(model: Any, collected: Any) -> None:
    collector, captures, _ = collected
    assert [one.label.attack for one in captures] == [True, False, True, False, False]
    for rule, entry in zip(RULES, model.counters, strict=True):
        benign = [collector.maxima(np.arange(5) == n)[rule.name][0] for n in (1, 3)]
        assert entry["captures"] == 2
        np.testing.assert_allclose(entry["maxima"], sorted(benign, reverse=True), atol=1e-4)
    calibration = model.calibration(4.5)
    assert calibration == evidence_rule(model.counters, 4.5)
    assert (calibration["threshold"], calibration["counter_weight"]) == (4.5, COUNTER_WEIGHT)


def test_without_a_benign_capture_nothing_is_fitted(collected: Any) -> None:
    from models.training.windows.fitting import fit_model
    from models.training.windows.network_fit import Options

    for chosen in (np.array([True, False, True, False, False]), np.zeros(5, bool)):
        with pytest.raises(TrainingError, match="no benign capture to learn from what is usual"):
            fit_model(collected[0], chosen, network_spec(**SMALL), Options())


@pytest.mark.slow
def test_the_network_learns_what_to_add_to_the_counters_unless_it_stands_alone(
    model: Any, collected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.training.windows import fitting
    from models.training.windows.network_fit import Arrays, FitResult, Options

    seen: list[Arrays] = []

    def fit_network(spec: Any, train: Arrays, *others: Any) -> FitResult:
        seen.append(train)
        return FitResult(model.weights, [])

    monkeypatch.setattr(fitting, "fit_network", fit_network)
    collector, chosen = collected[0], np.ones(5, bool)
    beside = fitting.fit_model(collector, chosen, model.spec, Options())
    fitting.fit_model(collector, chosen, model.spec, Options(), beside_counters=False)
    counters = collector.training_set().counters
    expected = CounterEvidence(beside.counters, COUNTER_WEIGHT).scores(counters)
    assert expected.max() > 0
    np.testing.assert_allclose(seen[0].offset, expected, rtol=1e-6)
    assert (seen[1].offset == 0).all()


@pytest.fixture(scope="module")
def of_eight(collected: Any) -> Any:
    """As `model`, of the newest eight rows."""
    pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'ids-daemon[train]'")
    from models.training.windows.fitting import fit_model
    from models.training.windows.network_fit import Options

    chosen = np.array([True, True, True, True, False])
    return fit_model(collected[0], chosen, replace(network_spec(**SMALL), window=8), Options(epochs=1))


@pytest.mark.slow
def test_of_fewer_rows_all_else_is_the_same(model: Any, of_eight: Any, collected: Any) -> None:
    from models.training.windows.fitting import Predictor

    assert of_eight.scaling.to_json() == model.scaling.to_json()
    assert of_eight.counters == model.counters
    windows = collected[1][4].windows
    older = windows.rows.copy()
    older[:, :8] = 0
    predict = Predictor(of_eight)
    logits, _ = predict(windows)
    assert np.ptp(logits) > 0.01
    for rows in (older, windows.rows[:, 8:]):
        np.testing.assert_array_equal(predict(replace(windows, rows=rows))[0], logits)


@pytest.mark.slow
@pytest.mark.parametrize("fitted", ["model", "of_eight"])
def test_the_trainer_decides_as_the_daemon_does(
    fitted: str, collected: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    from models import Scorer, save_bundle
    from models.training.convert import convert
    from models.training.windows.fitting import Predictor

    model = request.getfixturevalue(fitted)
    _, captures, records = collected
    logits, families = Predictor(model)(captures[4].windows)
    assert families.shape == (len(logits), len(FAMILIES))
    np.testing.assert_allclose(families.sum(axis=1), 1, rtol=1e-5)
    rule = model.calibration(0.0)
    threshold = float(np.median(decisions(captures[4], rule, logits, families)))
    expected = decisions(captures[4], rule, logits, families)
    bundle = save_bundle(
        tmp_path / "bundle", name="small", meter="native", spec=model.spec, scaling=model.scaling,
        calibration=model.calibration(threshold), families=FAMILIES, weights=model.weights,
        tflite=convert(model.spec, model.weights), training={}, metrics={}, created="2026-01-02",
    )  # fmt: skip
    findings = Scorer(bundle, runtime="litert").push(records[4])
    above = expected[expected > threshold + 1e-4]
    assert len(above) > 50
    scores = np.array([one.score for one in findings])
    np.testing.assert_allclose(scores[scores > threshold + 1e-4], above, atol=1e-5)
