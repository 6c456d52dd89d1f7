"""What a search on flow records fits at a point: windows of its length, judged by origins not fitted on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.errors import TrainingError
from models.evidence import CounterEvidence, calibrate
from models.training.searching import points, search
from models.training.windows import searching
from models.training.windows.dataset import Collector, TrainingSet, collect, weights
from models.training.windows.fitting import COUNTER_WEIGHT, assign_folds, network_spec
from models.training.windows.labels import CaptureLabel, Networks
from models.training.windows.network_fit import Arrays, FitResult, Options
from models.training.windows.searching import (
    GRID,
    Sides,
    average_precision,
    changed,
    sides,
    validation_part,
    window_task,
    with_point,
)
from tests.models.flows import random_records
from tests.models.training.windows.test_fitting import SMALL, corpus, label

SPEC, OPTIONS = network_spec(**SMALL), Options(epochs=1)


def collected(labels: list[CaptureLabel]) -> Collector:
    """Traffic at random, in which the hosts that `label` names attack."""
    records = {one.path: random_records(60, seed) for seed, one in enumerate(labels)}
    return collect(labels, lambda one: records[one.path], limit=30)


@pytest.fixture(scope="module")
def four() -> Collector:
    """An attack and a benign capture of each of four origins."""
    return collected(corpus(dict.fromkeys("abcd", (1, 1))))


@pytest.fixture(scope="module")
def dealt(four: Collector) -> Sides:
    return sides(four, 3, 1)


# -- points


def test_the_built_in_grid_is_around_the_defaults() -> None:
    spec, options = network_spec(), Options()
    for name in GRID:
        assert getattr(spec if hasattr(spec, name) else options, name) in GRID[name]
    assert GRID["window"] == (4, 8, 16)
    assert len(points(GRID, 1)) == 3 * 3 * 3 * 3 * 2 * 3


def test_a_point_takes_its_place_among_sizes_and_options() -> None:
    spec, options = with_point(SPEC, OPTIONS, {"batch_size": 32, "lstm": 7, "window": 8})
    assert spec == replace(SPEC, lstm=7, window=8)
    assert options == replace(OPTIONS, batch_size=32)
    assert with_point(SPEC, OPTIONS, {}) == (SPEC, OPTIONS)


def test_no_more_rows_become_one_than_the_network_sees() -> None:
    assert with_point(SPEC, OPTIONS, {"window": 1})[0].pooling == 1
    assert with_point(SPEC, OPTIONS, {"window": 2})[0].pooling == SPEC.pooling == 2


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ({"window": 17}, "a window of 17 rows: the daemon keeps the newest 16 of a host"),
        ({"window": 0}, "no network of these sizes: window is 0"),
        ({"filters": 0}, "no network of these sizes: filters is 0"),
        ({"colour": 1}, "no network of these sizes: .*colour"),
    ],
)
def test_a_point_that_makes_no_network_is_refused(point: dict[str, Any], said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        with_point(SPEC, OPTIONS, point)


def test_of_a_point_what_is_as_always_is_not_told() -> None:
    point = {"batch_size": 256, "learning_rate": 2e-3, "lstm": 4, "window": 8}
    assert changed(SPEC, OPTIONS, point) == {"learning_rate": 2e-3, "window": 8}


# -- the sides


def test_what_judges_is_of_other_origins_than_what_is_fitted_on(four: Collector) -> None:
    held, how = validation_part(four, four.training_set(), 3, 1)
    np.testing.assert_array_equal(held, assign_folds(four.labels, 3, 1) == 0)
    origins = np.array([one.origin for one in four.labels])
    fitted_on, judging = set(origins[~held]), set(origins[held])
    assert fitted_on and judging and fitted_on | judging == set("abcd") and not fitted_on & judging
    assert how == "of origins that no network of the search is fitted on"


def test_the_next_fold_judges_where_the_first_lacks_a_class() -> None:
    # The origin with most attacks is dealt out first, into fold 0; of two folds the other has the rest.
    labels = corpus({"attacks": (3, 0), "x": (1, 2), "y": (1, 2)})
    collector = collected(labels)
    folds = assign_folds(labels, 3, 1)
    attack = np.array([one.attack for one in labels])
    assert (attack | (folds != 0)).all()
    held, _ = validation_part(collector, collector.training_set(), 3, 1)
    np.testing.assert_array_equal(held, folds == 1)


@pytest.mark.parametrize("sizes", [{"home": (4, 6)}, {"home": (0, 6), "lab": (4, 0)}])
def test_of_too_few_origins_captures_of_both_classes_are_left_out(sizes: dict[str, tuple[int, int]]) -> None:
    collector = collected(corpus(sizes))
    held, how = validation_part(collector, collector.training_set(), 3, 1)
    attack = np.array([one.attack for one in collector.labels])
    assert held[attack].tolist() == [True, False, False, False]
    assert held[~attack].tolist() == [True, True, False, False, False, False]
    assert how.startswith("too few origins to leave one out: ")


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        (
            {"home": (4, 1)},
            r"too few benign captures \(1\): .*; label more, or cut a long one",
        ),
        ({"home": (1, 4)}, r"too few captures with windows of attack \(1\): .*; label more"),
    ],
)
def test_one_capture_of_a_class_cannot_fit_and_judge(sizes: dict[str, tuple[int, int]], said: str) -> None:
    collector = collected(corpus(sizes))
    with pytest.raises(TrainingError, match=said):
        validation_part(collector, collector.training_set(), 3, 1)


def test_an_attack_that_is_not_located_does_not_judge() -> None:
    nobody = replace(label("x", attack=True, origin="home"), attackers=Networks([]))
    collector = collected([*corpus({"home": (1, 4)}), nobody])
    with pytest.raises(TrainingError, match=r"windows of attack \(1\)"):
        validation_part(collector, collector.training_set(), 3, 1)


def test_benign_windows_beside_an_attack_that_is_fitted_on_do_not_judge() -> None:
    drill = [
        replace(label("drill", attack=True, origin="home"), family=name) for name in ("scan", "dos", "c2")
    ]
    labels = [*corpus({"home": (0, 4)}), *drill]
    collector = collected(labels)
    data = collector.training_set()
    held, _ = validation_part(collector, data, 3, 1)
    assert held.tolist() == [True, False, False, False, True, False, False]
    found = sides(collector, 3, 1)
    of = [data.truth[data.capture == number] for number in (0, 4)]
    assert (of[1] == 0).any() and (of[1] == 1).any()
    assert len(found.validation) == len(of[0]) + (of[1] == 1).sum()
    assert len(found.train) == len(data.of(~held))


def test_scaling_and_counters_are_of_the_training_side_alone(four: Collector, dealt: Sides) -> None:
    held, _ = validation_part(four, four.training_set(), 3, 1)
    changed = Collector(limit=30)
    vars(changed).update({**vars(four), "_parts": [*four._parts], "_maxima": [*four._maxima]})
    for number, (rows, counters, truth, capture) in enumerate(four._parts):
        if held[capture[0]]:
            changed._parts[number] = rows, counters * 1000, truth, capture
    for number in np.flatnonzero(held):
        changed._maxima[number] = [1e6 * value for value in four._maxima[number]]
    other = sides(changed, 3, 1)
    np.testing.assert_array_equal(other.train.counters, dealt.train.counters)
    np.testing.assert_array_equal(other.train.offset, dealt.train.offset)
    assert (other.validation.counters != dealt.validation.counters).any()


def test_each_side_is_weighed_and_offset_as_in_training(four: Collector, dealt: Sides) -> None:
    held, _ = validation_part(four, four.training_set(), 3, 1)
    data = four.training_set()
    benign = np.array([not one.attack for one in four.labels])
    counters = CounterEvidence(calibrate(four.maxima(~held & benign)), COUNTER_WEIGHT)
    for side, mask in ((dealt.train, ~held), (dealt.validation, held)):
        mine: TrainingSet = data.of(mask)
        np.testing.assert_allclose(side.weight, weights(mine), rtol=1e-6)
        np.testing.assert_allclose(side.offset, counters.scores(mine.counters), rtol=1e-6)
    assert dealt.validation.offset.max() > 0


def test_it_is_said_what_is_on_each_side(four: Collector, dealt: Sides) -> None:
    held, how = validation_part(four, four.training_set(), 3, 1)
    data = four.training_set()
    for line, name, mask in zip(dealt.lines, ("training", "validation"), (~held, held), strict=True):
        mine = data.of(mask)
        origins = {four.labels[i].origin for i in np.flatnonzero(mask)}
        assert line.startswith(
            f"{name}: {len(mine)} windows ({(mine.truth == 1).sum()} of attack) of {mask.sum()} captures,"
            f" {len(origins)} origins"
        )
    assert dealt.lines[1].endswith(how)


# -- fits


def test_every_point_is_fitted_on_the_same_windows_cut_to_its_own_length(
    dealt: Sides, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    seen: list[tuple[Any, Arrays, Arrays, Options]] = []

    def fit_network(spec: Any, train: Arrays, validation: Arrays, options: Options) -> FitResult:
        seen.append((spec, train, validation, options))
        losses = [0.5, spec.window / 100 + options.learning_rate, 0.6]
        return FitResult({}, [{"loss": 9.0, "validation_loss": loss} for loss in losses])

    monkeypatch.setattr(searching, "fit_network", fit_network)
    monkeypatch.setattr(searching, "average_precision", lambda spec, weights, data: data.rows.shape[1] / 16)
    from models.training.searching import journal

    task = window_task(dealt, {"records": "x"}, SPEC, OPTIONS)
    grid = {"learning_rate": (0.01, 0.02), "window": (4, 16)}
    tried = search(task, grid, journal(tmp_path, "windows"))
    assert [(one.point["window"], one.point["learning_rate"]) for one in tried] == [
        (4, 0.01), (4, 0.02), (16, 0.01), (16, 0.02),
    ]  # fmt: skip
    assert [one.loss for one in tried] == pytest.approx([0.05, 0.06, 0.17, 0.18])
    assert tried[0].figures == {"average_precision": 0.25} and tried[0].epochs == 3
    assert [spec.window for spec, *_ in seen] == [point["window"] for point in points(grid, OPTIONS.seed)]
    for spec, train, validation, options in seen:
        assert options.learning_rate in grid["learning_rate"] and options.epochs == 1
        for side, whole in ((train, dealt.train), (validation, dealt.validation)):
            assert side.rows.table is whole.rows.table
            np.testing.assert_array_equal(side.rows.index, whole.rows.index[:, 16 - spec.window :])
            assert side.label is whole.label and side.offset is whole.offset


@pytest.mark.slow
def test_average_precision_is_of_logit_and_counters_by_weight(dealt: Sides) -> None:
    pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'ids-daemon[train]'")
    metrics = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn")
    from models.network import build, weights_to_arrays

    spec = replace(SPEC, window=8)
    network = build(spec, unroll=True)
    part = dealt.validation.newest(8)
    inputs = [part.rows.dense(), part.counters]
    logits = np.asarray(network(inputs, training=False)["logit"])[:, 0] + part.offset
    expected = metrics.average_precision_score(part.label > 0, logits, sample_weight=part.weight)
    assert average_precision(spec, weights_to_arrays(network), part) == pytest.approx(expected, abs=1e-9)
    # By hand: each attack's weight times the weighed precision where it is found.
    order = np.argsort(-logits, kind="stable")
    weight, attack = part.weight[order].astype(float), part.label[order] > 0
    precision = np.cumsum(weight * attack) / np.cumsum(weight)
    assert expected == pytest.approx((precision * weight * attack).sum() / (weight * attack).sum(), rel=1e-3)


@pytest.mark.slow
def test_a_point_is_fitted_for_real_and_the_same_again(dealt: Sides) -> None:
    pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'ids-daemon[train]'")
    pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'ids-daemon[train]'")
    task = window_task(dealt, "d", SPEC, replace(OPTIONS, epochs=2))
    found = task.fit({"window": 4, "batch_size": 128})
    assert found.epochs == 2 and 0 < found.loss < 10
    assert 0 < found.figures["average_precision"] <= 1
    assert task.fit({"window": 4, "batch_size": 128}) == found
