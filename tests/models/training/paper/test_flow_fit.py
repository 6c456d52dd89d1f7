"""Fitting the paper's network to a table: parts, levels, threshold, the same again and after a stop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.errors import TrainingError
from models.training.checkpoints import Checkpoint
from models.training.epochs import EpochOptions
from models.training.paper.flow_fit import Settings, best_threshold, cut_and_scale, fit_flows, with_sizes
from models.training.systems.levels import level_edges, set_levels
from tests.models.training.flows.making import flow_table
from tests.models.training.made_flows import table

SMALL = Settings(
    sizes={"levels": 4, "embedding": 3, "filters": 8, "lstm": 8, "dense": 8, "pooling": 2, "dropout": 0.1},
    options=EpochOptions(epochs=12, batch_size=32, learning_rate=1e-2, averaging=0.9, schedule="cosine"),
)


@pytest.fixture
def keras() -> None:
    pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'ids-daemon[train]'")


def test_fit_finds_made_attacks_and_goes_on_after_a_stop_to_the_same_network(
    keras: None, tmp_path: Path
) -> None:
    flows = table(600)
    whole = fit_flows(flows, SMALL)
    assert whole.test.accuracy > 0.85 and whole.test.benign + whole.test.attacks == 90
    assert (whole.spec.features, whole.parts.preprocessing.protocol) == (16, True)
    assert [set(entry) for entry in whole.history] == [{"loss", "accuracy", "val_loss", "val_accuracy"}] * 12

    checkpoint = Checkpoint(tmp_path / "network.npz")

    def stop(epoch: int, batch: int, batches: int) -> None:
        if (epoch, batch) == (7, 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_flows(flows, SMALL, checkpoint=checkpoint, on_batch=stop)
    said: list[str] = []
    again = fit_flows(flows, SMALL, checkpoint=checkpoint, log=said.append)
    assert said[0] == "going on after epoch 7"
    assert again.history == whole.history
    assert (again.threshold, again.test) == (whole.threshold, whole.test)
    assert again.scores.tobytes() == whole.scores.tobytes()
    for name, weights in whole.weights.items():
        assert weights.tobytes() == again.weights[name].tobytes()


def test_levels_are_how_far_a_value_is_in_each_range_and_stay_so(keras: None) -> None:
    from models.network import PaperSpec, paper_network
    from models.training.systems.networks import compiled

    x = np.linspace(0, 1, 9, dtype=np.float32)[:, None] ** np.array([1, 2], np.float32)
    spec = PaperSpec(2, levels=4, embedding=3, pooling=1, filters=2, lstm=2, dense=2)
    model = compiled(paper_network(spec))
    set_levels(model, x)
    before = model.get_layer("embedding").get_weights()
    model.train_on_batch(x, np.arange(9) % 2)
    found = np.asarray(model.get_layer("levels")(x))
    assert found.shape == (9, 2, 4)
    for feature in range(2):
        edges = level_edges(x[:, feature], 4)
        wanted = np.clip((x[:, feature, None] - edges[:-1]) / np.diff(edges), 0, 1)
        np.testing.assert_allclose(found[:, feature], wanted, atol=1e-5)
    assert (before[0] != model.get_layer("embedding").get_weights()[0]).any()
    plain = paper_network(PaperSpec(2, pooling=1, filters=2, lstm=2, dense=2))
    before = plain.get_weights()
    set_levels(plain, x)
    assert all((one == other).all() for one, other in zip(before, plain.get_weights(), strict=True))


def test_levels_tell_a_millisecond_of_two_minutes_from_none(keras: None) -> None:
    from models.network import PaperSpec, paper_network

    x = np.array([0, 1, 2, 120e3], np.float32)[:, None] / np.float32(120e3)
    model = paper_network(PaperSpec(1, levels=3, pooling=1, filters=2, lstm=2, dense=2))
    set_levels(model, x)
    found = np.asarray(model.get_layer("levels")(x))[:, 0]
    np.testing.assert_allclose(found, np.tri(4, 3, -1), atol=1e-4)


def test_far_from_0_a_level_is_no_narrower_than_float32_can_tell(keras: None) -> None:
    from models.network import PaperSpec, paper_network

    near = np.nextafter(np.float32(0.9), np.float32(1))
    x = np.array([0, 0.9, near, 1], np.float32)[:, None]
    model = paper_network(PaperSpec(1, levels=3, pooling=1, filters=2, lstm=2, dense=2))
    set_levels(model, x)
    found = np.asarray(model.get_layer("levels")(x))[:, 0]
    np.testing.assert_allclose(found, [[0, 0, 0], [1, 0, 0], [1, 0, 0], [1, 1, 1]], atol=0.02)


def test_edges_are_values_or_quantiles_and_halves_where_there_are_few() -> None:
    few = np.array([0, 0, 0, 0.5, 0.51, 1], np.float32)
    np.testing.assert_allclose(level_edges(few, 3), [0, 0.5, 0.51, 1], atol=1e-6)
    np.testing.assert_allclose(level_edges(few, 4), [0, 0.25, 0.5, 0.51, 1], atol=1e-6)
    even = level_edges(np.linspace(0, 1, 101, dtype=np.float32), 4)
    np.testing.assert_allclose(even, [0, 0.25, 0.5, 0.75, 1], atol=1e-6)
    zeros = np.zeros(100, np.float32)
    zeros[:10] = 1
    np.testing.assert_allclose(level_edges(zeros, 4), [0, 0.25, 0.5, 0.75, 1], atol=1e-6)
    np.testing.assert_allclose(level_edges(np.zeros(5, np.float32), 2), [0, 0.5, 1])


def test_edges_go_where_the_different_values_are() -> None:
    # Nine rows in ten are 0, so the quantiles are 0 and 1 alone; the others crowd below a hundredth.
    values = np.zeros(1000, np.float32)
    values[:99], values[99] = np.linspace(0.0001, 0.0099, 99), 1
    edges = level_edges(values, 8)
    assert len(edges) == 9 and (edges[0], edges[-1]) == (0, 1)
    assert (edges[:-1] < 0.0099).all()
    inside = np.histogram(np.unique(values), edges)[0]
    assert inside.max() <= 14  # of 101 values in 8 levels


def test_threshold_has_the_highest_f1_and_is_near_a_half() -> None:
    truth = np.array([False, False, False, True, True])
    assert best_threshold(truth, np.array([0.1, 0.2, 0.4, 0.6, 0.9])) == 0.5
    assert best_threshold(truth, np.array([0.1, 0.2, 0.3, 0.4, 0.45])) == pytest.approx(0.35)
    assert best_threshold(truth, np.array([0.1, 0.2, 0.95, 0.9, 0.9])) == 0.5
    assert best_threshold(truth, np.zeros(5)) == 0.0
    # Equal scores are flagged together: both or none.
    flagged = np.array([0.1, 0.2, 0.7, 0.7, 0.9]) > best_threshold(truth, np.array([0.1, 0.2, 0.7, 0.7, 0.9]))
    assert flagged.tolist() == [False, False, True, True, True]


def test_part_without_a_class_is_refused() -> None:
    flows = table(40)
    few = flows.take(np.concatenate([np.flatnonzero(flows.attack)[:2], np.flatnonzero(~flows.attack)]))
    with pytest.raises(TrainingError, match=r"made.csv: the validation part has no attacks; give more flows"):
        cut_and_scale(few, SMALL)


def test_parts_are_scaled_by_training_rows_and_best_features_kept() -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'ids-daemon[train]'")
    parts = cut_and_scale(table(400), replace(SMALL, best=2, cut="matrix"))
    assert len(parts.preprocessing.features) == 2
    assert parts.x["train"][:, :2].min() == 0 and parts.x["train"][:, :2].max() == 1
    assert {name: len(y) for name, y in parts.y.items()} == {"train": 237, "validation": 42, "test": 121}


def test_leaks_are_counted_on_the_features_that_are_kept() -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'ids-daemon[train]'")
    # No two flows are the same, but of the feature that tells there are but ten values.
    random = np.random.default_rng(1)
    flows = flow_table(np.c_[np.arange(200) % 10, random.random(200)], np.arange(200) % 10 >= 5)
    all_of_them, best = (cut_and_scale(flows, replace(SMALL, best=best)) for best in (None, 1))
    assert all_of_them.split.leaked == 0
    assert best.preprocessing.features == flows.features[:1]
    assert best.split.leaked == len(best.split.test) == 30


def test_best_features_of_a_split_by_time_are_refused() -> None:
    with pytest.raises(TrainingError, match="leave --best-features out or take another --split"):
        replace(SMALL, best=2, cut="time")


def test_sizes_and_options_are_changed_by_name() -> None:
    changed = with_sizes(SMALL, {"filters": 9, "batch_size": 7})
    assert (changed.sizes["filters"], changed.sizes["lstm"], changed.options.batch_size) == (9, 8, 7)
    assert SMALL.sizes["filters"] == 8
    with pytest.raises(ValueError, match="no size or option colour"):
        with_sizes(SMALL, {"colour": 1})
    with pytest.raises(TrainingError, match="no network of these sizes: pooling 99 is longer"):
        fit_flows(table(200), with_sizes(SMALL, {"pooling": 99}))
