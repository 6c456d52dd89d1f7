"""Networks that give the probability of an attack: the paper's CNN-LSTM and those before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from models.training.systems.levels import set_levels

Build = Callable[[int], Any]  #: a keras.Model from (B, D) to (B, 1) in [0, 1], by D


@dataclass
class Network:
    """A network with a sigmoid, fitted by Adam on binary cross-entropy, classes weighed, stopped early."""

    build: Build
    options: EpochOptions = EpochOptions()
    chosen: Sequence[int] | None = None  #: the features it reads; all where None
    threshold: float = 0.5
    model: Any = field(default=None, repr=False)

    def fit(self, x: Floats, y: Bools, validation: Part | None, seed: int, log: Log) -> History:
        check_part(x, y)
        make_deterministic(seed)
        self.model = compiled(self.build(self._seen(x).shape[1]))
        set_levels(self.model, self._seen(x))
        held = None if validation is None else (self._seen(validation[0]), validation[1].astype(np.float32))
        return fit_epochs(
            self.model,
            self._seen(x),
            y.astype(np.float32),
            held,
            self.options,
            seed,
            weight=sample_weights(y, self.options.class_weights),
            log=log,
        )

    def scores(self, x: Floats) -> Scores:
        return predict(self.model, self._seen(x))

    def _seen(self, x: Floats) -> Floats:
        return x if self.chosen is None else x[:, list(self.chosen)]


def compiled(model: Any) -> Any:
    """The model with Adam, binary cross-entropy and accuracy."""
    # One step of a recurrent network can be far too long; a norm of 1 is not reached otherwise.
    model.compile(adam(clipnorm=1.0), "binary_crossentropy", metrics=["accuracy"])
    return model


def simple_rnn(features: int, units: int = 80) -> Any:
    """One simple recurrent layer; a flow is one step of all its features."""
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input((features,), dtype="float32"),
            layers.Reshape((1, features)),
            layers.SimpleRNN(units),
            layers.Dense(1, activation="sigmoid"),
        ],
        name="simple_rnn",
    )


def lstm(features: int, units: int = 80) -> Any:
    """One LSTM layer; a flow is one step of all its features."""
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input((features,), dtype="float32"),
            layers.Reshape((1, features)),
            layers.LSTM(units),
            layers.Dense(1, activation="sigmoid"),
        ],
        name="lstm",
    )


def dense_network(features: int, sizes: Sequence[int] = (12, 6, 3)) -> Any:
    """Dense layers one after the other."""
    from keras import Input, Sequential, layers

    hidden = [layers.Dense(size, activation="relu") for size in sizes]
    return Sequential(
        [Input((features,), dtype="float32"), *hidden, layers.Dense(1, activation="sigmoid")], name="dense"
    )


def deep_cnn_lstm(features: int) -> Any:
    """Two convolutions with pooling along the features, then an LSTM, as hybrids before the paper have it."""
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input((features,), dtype="float32"),
            layers.Reshape((features, 1)),
            layers.Conv1D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling1D(2, padding="same"),
            layers.Conv1D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling1D(2, padding="same"),
            layers.LSTM(70),
            layers.Dropout(0.1),
            layers.Dense(1, activation="sigmoid"),
        ],
        name="deep_cnn_lstm",
    )


#: In the place of Tang's duration, protocol_type, src_bytes, dst_bytes, count and srv_count: the four that
#: a flow has, and of the two that count connections over time what CICIDS2017 has nearest, packets a second.
TANG_FEATURES = (
    "flow_duration",
    "protocol_tcp",
    "total_length_of_fwd_packet",
    "total_length_of_bwd_packet",
    "flow_packets_s",
    "flow_iat_mean",
)
#: Taken in this order for those of the six that a data set lacks or that cleaning has put away.
_TANG_SUBSTITUTES = (
    "subflow_fwd_bytes",
    "subflow_bwd_bytes",
    "fwd_packets_s",
    "bwd_packets_s",
    "fwd_iat_total",
    "flow_iat_max",
    "total_fwd_packet",
    "total_bwd_packets",
    "average_packet_size",
)


def six_of(names: Sequence[str]) -> list[int]:
    """Places of the six features for Tang's network; fewer only where a table has fewer."""
    wanted = [name for name in (*TANG_FEATURES, *_TANG_SUBSTITUTES, *names) if name in names]
    return [list(names).index(name) for name in dict.fromkeys(wanted)][:6]
