"""A fit by epochs: early stopping, weights of classes, and a stop after which it goes on the same way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import TrainingError
from models.training.checkpoints import Checkpoint
from models.training.epochs import EpochOptions, fit_epochs, make_deterministic, predict, sample_weights
from models.training.systems.networks import compiled
from tests.models.training.made_flows import arrays

X, Y = arrays(400)
HELD = arrays(100, seed=1)
OPTIONS = EpochOptions(epochs=6, batch_size=64, learning_rate=1e-2, patience=6)


@pytest.fixture(autouse=True)
def _needs() -> None:
    pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'ids-daemon[train]'")


def network(seed: int = 1) -> Any:
    """With dropout, whose seed has to go on as well."""
    from keras import Input, Sequential, layers

    make_deterministic(seed)
    hidden = [layers.Dense(16, activation="relu"), layers.Dropout(0.3)]
    return compiled(Sequential([Input((12,)), *hidden, layers.Dense(1, activation="sigmoid")]))


def fit(model: Any, options: EpochOptions = OPTIONS, **other: Any) -> list[dict[str, float]]:
    held = (HELD[0], HELD[1].astype(np.float32))
    return fit_epochs(model, X, Y.astype(np.float32), held, options, 1, **other)


def test_stopped_fit_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = network()
    history = fit(whole, weight=sample_weights(Y, "balanced"))
    checkpoint = Checkpoint(tmp_path / "network.npz")

    def stop(epoch: int, batch: int, batches: int) -> None:
        assert batches == 7
        if (epoch, batch) == (3, 4):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(network(), weight=sample_weights(Y, "balanced"), checkpoint=checkpoint, on_batch=stop)
    kept = checkpoint.load()
    assert kept is not None and json.loads(str(kept["state"]))["history"] == history[:3]

    said: list[str] = []
    again = network(seed=99)
    resumed = fit(again, weight=sample_weights(Y, "balanced"), checkpoint=checkpoint, log=said.append)
    assert said[0] == "going on after epoch 3"
    assert resumed == history
    for one, other in zip(whole.get_weights(), again.get_weights(), strict=True):
        assert one.tobytes() == other.tobytes()


def test_it_stops_when_validation_gets_worse_and_keeps_the_best_epoch() -> None:
    model = network()
    wrong = (X, 1 - Y.astype(np.float32))
    options = EpochOptions(epochs=30, batch_size=64, learning_rate=1e-2, patience=3)
    history = fit_epochs(model, X, Y.astype(np.float32), wrong, options, 1)
    losses = [entry["val_loss"] for entry in history]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + options.patience
    p = np.clip(predict(model, X), 1e-7, 1 - 1e-7)
    found = -np.mean(np.where(wrong[1] > 0, np.log(p), np.log1p(-p)))
    assert found == pytest.approx(losses[best], rel=1e-4)


def test_history_is_of_all_rows_of_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.training.epochs._SCORING_BATCH", 32)
    model = network()
    entry = fit(model, EpochOptions(epochs=1, batch_size=64, learning_rate=1e-9))[0]
    p = predict(model, HELD[0])
    assert entry["val_accuracy"] == pytest.approx(((p > 0.5) == HELD[1]).mean())
    loss = -np.where(HELD[1], np.log(p), np.log1p(-p)).mean()
    assert entry["val_loss"] == pytest.approx(loss, rel=1e-5)
    # Dropout moves the training figures; a rate of next to nothing leaves them near those without.
    assert entry["accuracy"] == pytest.approx(((predict(model, X) > 0.5) == Y).mean(), abs=0.1)


def test_without_validation_the_last_weights_stay() -> None:
    model = network()
    history = fit_epochs(model, X, Y.astype(np.float32), None, EpochOptions(epochs=3), 1)
    assert [set(entry) for entry in history] == [{"loss", "accuracy"}] * 3


def test_loss_that_is_no_number_is_an_error() -> None:
    with pytest.raises(TrainingError, match="no number in epoch 1: lower the learning rate"):
        fit_epochs(network(), np.full_like(X, np.nan), Y.astype(np.float32), None, OPTIONS, 1)


def test_rate_falls_along_a_cosine_to_a_fiftieth() -> None:
    options = EpochOptions(epochs=10, learning_rate=0.01, schedule="cosine")
    rates = [options.rate(epoch) for epoch in range(11)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[5] == pytest.approx(0.0051)
    assert rates[10] == pytest.approx(0.0002)
    assert EpochOptions(learning_rate=0.01).rate(7) == 0.01


def test_weights_make_the_classes_weigh_the_same() -> None:
    y = np.arange(10) >= 8
    balanced, root = sample_weights(y, "balanced"), sample_weights(y, "root")
    assert balanced[y].sum() == pytest.approx(balanced[~y].sum())
    assert balanced[y][0] / balanced[~y][0] == pytest.approx(4)
    assert root[y][0] / root[~y][0] == pytest.approx(2)
    assert balanced.mean() == pytest.approx(1) and root.mean() == pytest.approx(1)
    assert (sample_weights(y, "none") == 1).all()


def test_the_validation_loss_is_that_of_the_validation_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with a Keras whose `train_on_batch` and `test_on_batch` go on adding up."""
    model = network()

    def adding_up(call: Any) -> Any:
        def without_reset(*given: Any, **named: Any) -> Any:
            with monkeypatch.context() as patch:
                patch.setattr(type(model), "reset_metrics", lambda self: None)
                return call(*given, **named)

        return without_reset

    monkeypatch.setattr(model, "train_on_batch", adding_up(model.train_on_batch))
    monkeypatch.setattr(model, "test_on_batch", adding_up(model.test_on_batch))
    history = fit(model)
    # The weights of the epoch with the lowest loss were taken.
    likely, y = predict(model, HELD[0]).ravel().astype(float), HELD[1].astype(float)
    loss = -np.mean(y * np.log(likely) + (1 - y) * np.log(1 - likely))
    assert min(entry["val_loss"] for entry in history) == pytest.approx(loss, rel=1e-4)
