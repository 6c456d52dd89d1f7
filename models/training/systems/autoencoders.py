"""Systems that learn to give their input back, and decide on what is in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.training.adam import adam
from models.training.epochs import (
    Bools,
    EpochOptions,
    Floats,
    History,
    Log,
    fit_epochs,
    make_deterministic,
    predict,
    sample_weights,
)
from models.training.systems.base import Part, Scores, check_part
from models.training.systems.classical import forest
from models.training.systems.networks import compiled


@dataclass
class AutoencoderClassifier:
    """A deep autoencoder fitted on the training flows without labels, then a sigmoid on its code.

    In the second step the encoder is fitted on as well.  The paper does not say how its autoencoder decides.
    By the error of reconstruction of benign flows, precision and recall of 99 % at once are out of
    reach, so that a classifier on the code is taken.
    """

    sizes: Sequence[int] = (64, 32, 16)  #: of the encoder, the code last; the decoder mirrors it
    pretraining: EpochOptions = EpochOptions(epochs=30, patience=4, class_weights="none")
    options: EpochOptions = EpochOptions()
    threshold: float = 0.5
    model: Any = field(default=None, repr=False)

    def fit(self, x: Floats, y: Bools, validation: Part | None, seed: int, log: Log) -> History:
        check_part(x, y)
        make_deterministic(seed)
        encoder, autoencoder = _autoencoder(x.shape[1], self.sizes)
        autoencoder.compile(adam(), "mean_squared_error")
        held = None if validation is None else (validation[0], validation[0])
        fit_epochs(autoencoder, x, x, held, self.pretraining, seed, log=log)
        from keras import Sequential, layers

        self.model = compiled(Sequential([encoder, layers.Dense(1, activation="sigmoid")]))
        held = None if validation is None else (validation[0], validation[1].astype(np.float32))
        weight = sample_weights(y, self.options.class_weights)
        return fit_epochs(
            self.model, x, y.astype(np.float32), held, self.options, seed, weight=weight, log=log
        )

    def scores(self, x: Floats) -> Scores:
        return predict(self.model, x)


def _autoencoder(features: int, sizes: Sequence[int]) -> tuple[Any, Any]:
    """The encoder, and the whole: (B, D) to (B, D) in [0, 1]."""
    from keras import Input, Model, layers

    start = x = Input((features,), dtype="float32")
    for size in sizes:
        x = layers.Dense(size, activation="relu")(x)
    encoder = Model(start, x)
    for size in reversed(sizes[:-1]):
        x = layers.Dense(size, activation="relu")(x)
    return encoder, Model(start, layers.Dense(features, activation="sigmoid")(x))


@dataclass
class StackedForest:
    """Non-symmetric autoencoders one upon the other, each fitted on the code before it, then a forest.

    Non-symmetric: an encoder of several layers and no decoder but the one layer that gives the input back.
    """

    sizes: Sequence[int] = (14, 28, 28)  #: of each autoencoder's encoder, its code last
    stacked: int = 2
    options: EpochOptions = EpochOptions(epochs=30, patience=4, class_weights="none")
    threshold: float = 0.5
    encoders: list[Any] = field(default_factory=list, repr=False)
    model: Any = field(default=None, repr=False)

    def fit(self, x: Floats, y: Bools, validation: Part | None, seed: int, log: Log) -> History:
        check_part(x, y)
        make_deterministic(seed)
        from keras import Input, Model, layers

        self.encoders = []
        code, held = x, None if validation is None else validation[0]
        for _ in range(self.stacked):
            start = inner = Input((code.shape[1],), dtype="float32")
            for size in self.sizes:
                inner = layers.Dense(size, activation="sigmoid")(inner)
            whole = Model(start, layers.Dense(code.shape[1], activation="sigmoid")(inner))
            whole.compile(adam(), "mean_squared_error")
            pair = None if held is None else (held, held)
            fit_epochs(whole, code, code, pair, self.options, seed, log=log)
            encoder = Model(start, inner)
            self.encoders.append(encoder)
            code, held = _code(encoder, code), None if held is None else _code(encoder, held)
        self.model = forest(seed).fit(code, y)
        return []

    def scores(self, x: Floats) -> Scores:
        for encoder in self.encoders:
            x = _code(encoder, x)
        return np.asarray(self.model.predict_proba(x)[:, 1], np.float64)


def _code(encoder: Any, x: Floats) -> Floats:
    return predict(encoder, x).astype(np.float32)
