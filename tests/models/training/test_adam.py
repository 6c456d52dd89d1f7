"""The optimizer steps as Keras's own, and a fit leaves nothing behind."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

from models.training.adam import adam
from models.training.epochs import make_deterministic

pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'ids-daemon[train]'")

X = np.random.default_rng(1).random((64, 3), np.float32)
Y = (X[:, :1] > 0.5).astype(np.float32)


def fitted(optimizer: Any) -> Any:
    """A network after a few steps."""
    from keras import Input, Sequential, layers

    make_deterministic(1)
    model = Sequential([Input((3,)), layers.Dense(4, activation="relu"), layers.Dense(1)])
    model.compile(optimizer, "mean_squared_error")
    for _ in range(3):
        model.train_on_batch(X, Y)
    return model


def test_the_weights_are_those_of_keras_adam_bit_by_bit() -> None:
    from keras.optimizers import Adam

    both = (optimizer(learning_rate=0.1, clipnorm=0.01) for optimizer in (adam, Adam))
    ours, keras = (fitted(one).get_weights() for one in both)
    assert [one.tobytes() for one in ours] == [one.tobytes() for one in keras]


def test_the_graphs_of_a_network_go_with_it() -> None:
    def graphs() -> set[int]:
        gc.collect()
        return {id(one) for one in gc.get_objects() if type(one).__name__ == "FuncGraph"}

    before = graphs()
    model = fitted(adam(clipnorm=1.0))
    assert graphs() - before
    del model
    assert not graphs() - before
