"""The CNN-LSTM in Keras 3, on whichever backend Keras runs.

Over a window of N flow rows: convolution and pooling along time, LSTM, dropout; the host's counters
go through a small dense layer and join before the dense layers; two heads, `malicious` and family.
The heads give logits: the paper's sigmoid stands outside (`1 / (1 + exp(-logit))`), where evidence
is added up as logits and a loss from logits keeps its precision.

`paper_network` is the network as the paper has it, one flow's features taken for a sequence.

Keras is imported when a network is built: a gateway that scores with LiteRT has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Weights = dict[str, npt.NDArray[np.float32]]

_LARGEST = 4096  # of any size in a specification, which may come from a file


class _Spec:
    """A network's definition as a file holds it."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)  # type: ignore[call-overload, no-any-return]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; ValueError for unknown or missing names."""
        known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        if unknown := sorted(set(data) - known):
            raise ValueError(f"unknown: {', '.join(unknown)}")
        if missing := sorted(known - set(data)):
            raise ValueError(f"missing: {', '.join(missing)}")
        return cls(**data)

    def _check_sizes(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= _LARGEST:
                raise ValueError(f"{name} is {value!r}: a whole number from 1 to {_LARGEST} wanted")

    def _check_below(self, **limits: float) -> None:
        for name, below in limits.items():
            value = getattr(self, name)
            if type(value) not in (int, float) or not 0 <= value < below:
                raise ValueError(f"{name} is {value!r}: a number from 0 to less than {below:g} wanted")


@dataclass(frozen=True, slots=True)
class NetworkSpec(_Spec):
    """Shape and regularisation of the network.  ValueError for sizes that make no network."""

    window: int  #: N, rows that it sees: the newest of a host's window
    row_features: int  #: F
    counters: int  #: C, also given as input where counters_in is false, then unused
    families: int  #: K, classes of the family head
    counters_in: bool = True  #: False: the network on rows alone
    filters: int = 48
    kernel: int = 3  #: rows a filter sees
    pooling: int = 2  #: rows that become one; 1: none
    lstm: int = 48
    counter_units: int = 48  #: of the layer that the counters go through
    dense: int = 48
    dropout: float = 0.5  #: of units, before and after the dense layer
    row_dropout: float = 0.2  #: of whole rows, while fitting
    noise: float = 0.05  #: deviation of Gaussian noise on the scaled inputs, while fitting
    l2: float = 1e-4  #: of the kernels

    def __post_init__(self) -> None:
        self._check_sizes(
            "window",
            "row_features",
            "counters",
            "filters",
            "kernel",
            "pooling",
            "lstm",
            "counter_units",
            "dense",
        )
        if type(self.families) is not int or not 2 <= self.families <= _LARGEST:
            raise ValueError(f"families is {self.families!r}: two classes or more wanted")
        if self.pooling > self.window:
            raise ValueError(f"pooling {self.pooling} is longer than the window of {self.window} rows")
        if type(self.counters_in) is not bool:
            raise ValueError(f"counters_in is {self.counters_in!r}: true or false wanted")
        self._check_below(dropout=1.0, row_dropout=1.0, noise=1e6, l2=1e6)

    @property
    def steps(self) -> int:
        """Time steps that reach the LSTM."""
        return -(-self.window // self.pooling)

    def newest(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """What the network sees, (B, N, F), of windows of N rows or more, newest last; a view."""
        return rows[:, -self.window :]


@dataclass(frozen=True, slots=True)
class PaperSpec(_Spec):
    """Shape and regularisation of the paper's network for single flows.  ValueError as NetworkSpec."""

    features: int  #: D, of one flow: the sequence
    levels: int = 0  #: of each feature: how far it is in each of so many ranges; 0: its value as it is
    embedding: int = 0  #: numbers made of a feature's levels, by weights of its own; 0: none
    filters: int = 64
    kernel: int = 3  #: features a filter sees
    pooling: int = 2  #: features that become one; 1: none
    lstm: int = 64
    dense: int = 64
    dropout: float = 0.3

    def __post_init__(self) -> None:
        self._check_sizes("features", "filters", "kernel", "pooling", "lstm", "dense")
        for name in ("levels", "embedding"):
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value <= _LARGEST:
                raise ValueError(f"{name} is {value!r}: a whole number from 0 to {_LARGEST} wanted")
        if self.pooling > self.features:
            raise ValueError(f"pooling {self.pooling} is longer than the {self.features} features")
        self._check_below(dropout=1.0)


def build(spec: NetworkSpec, *, unroll: bool, batch_size: int | None = None) -> Any:
    """The network as a keras.Model, its weights fresh.

    Inputs: `rows` (B, N, F) and `counters` (B, C), scaled, float32.  Outputs: a dict of
    `logit` (B, 1) and `family` (B, K), both linear.

    unroll: True lays the LSTM's steps out one by one (LiteRT needs it, CPUs like it), False leaves
        the loop that cuDNN replaces.  The weights are the same.
    batch_size: fixed B, or None for any.
    """
    from keras import Input, Model, layers, regularizers

    penalty = regularizers.L2(spec.l2) if spec.l2 else None
    rows = Input((spec.window, spec.row_features), batch_size, dtype="float32", name="rows")
    counters = Input((spec.counters,), batch_size, dtype="float32", name="counters")

    x = layers.Conv1D(
        spec.filters, spec.kernel, padding="same", activation="relu", kernel_regularizer=penalty, name="conv"
    )(rows)
    if spec.pooling > 1:
        # Filled up at the old end, so that the newest row is always in the last step; 0 is neutral
        # for a maximum after relu.
        if fill := spec.steps * spec.pooling - spec.window:
            x = layers.ZeroPadding1D((fill, 0), name="fill")(x)
        x = layers.MaxPooling1D(spec.pooling, name="pool")(x)
    x = layers.LSTM(spec.lstm, kernel_regularizer=penalty, unroll=unroll, name="lstm")(x)
    if spec.counters_in:
        side = layers.Dense(
            spec.counter_units, activation="relu", kernel_regularizer=penalty, name="counter_dense"
        )(counters)
        x = layers.Concatenate(name="join")([x, side])
    x = layers.Dropout(spec.dropout, name="dropout")(x)
    x = layers.Dense(spec.dense, activation="relu", kernel_regularizer=penalty, name="dense")(x)
    x = layers.Dropout(spec.dropout, name="dense_dropout")(x)
    heads = {
        "logit": layers.Dense(1, name="logit")(x),
        "family": layers.Dense(spec.families, name="family")(x),
    }
    return Model([rows, counters], heads, name="cnn_lstm")


def paper_network(
    spec: PaperSpec, *, unroll: bool = False, batch_size: int | None = None, linear: bool = False
) -> Any:
    """The paper's network for single flows as a keras.Model: (B, D) scaled to (B, 1).

    The features of one flow are the sequence: convolution and pooling along them, LSTM, dropout,
    dense, and a sigmoid, so the output is a probability.

    Two layers before the convolution are not the paper's, and are there where `spec` asks for them.  A filter
    goes over all features alike, and what a tree cuts at one place of one feature's range is far below what
    it can tell in one number.  So with `spec.levels` each feature comes as so many numbers from 0 to 1, each
    with a slope of its own, which training flows give and fitting leaves as it is (`set_levels`); and with
    `spec.embedding` so many numbers are made of those, by weights that each feature has of its own.

    unroll, batch_size: as in `build`.
    linear: without the sigmoid, the output is the logit; the weights are the same.
    """
    from keras import Input, Sequential, initializers, layers

    first = [
        layers.EinsumDense(
            "bd,dl->bdl",
            (spec.features, spec.levels),
            bias_axes="dl",
            activation="hard_sigmoid",
            trainable=False,
            name="levels",
        )
        if spec.levels
        else layers.Reshape((spec.features, 1), name="sequence")
    ]
    if spec.embedding:
        # Keras' own rule would count all features as inputs of each, and begin far too low.
        limit = (6.0 / max(spec.levels, 1)) ** 0.5
        first.append(
            layers.EinsumDense(
                "bdl,dlk->bdk",
                (spec.features, spec.embedding),
                bias_axes="dk",
                activation="relu",
                kernel_initializer=initializers.RandomUniform(-limit, limit),
                name="embedding",
            )
        )
    pool = [layers.MaxPooling1D(spec.pooling, name="pool")] if spec.pooling > 1 else []
    return Sequential(
        [
            Input((spec.features,), batch_size, dtype="float32", name="features"),
            *first,
            layers.Conv1D(spec.filters, spec.kernel, padding="same", activation="relu", name="conv"),
            *pool,
            layers.LSTM(spec.lstm, unroll=unroll, name="lstm"),
            layers.Dropout(spec.dropout, name="dropout"),
            layers.Dense(spec.dense, activation="relu", name="dense"),
            layers.Dense(1, activation=None if linear else "sigmoid", name="malicious"),
        ],
        name="paper_cnn_lstm",
    )


def weights_to_arrays(model: Any) -> Weights:
    """The weights by `layer.weight`, such as `lstm.recurrent_kernel`, float32 copies."""
    return {name: np.array(variable, np.float32) for name, variable in _named(model).items()}


def arrays_to_weights(model: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Put weights into a model of the same shape; ValueError names the first that does not fit."""
    variables = _named(model)
    if set(arrays) != set(variables):
        odd = sorted(set(arrays) ^ set(variables))
        raise ValueError(f"weight {odd[0]} is {'missing' if odd[0] in variables else 'not of this network'}")
    for name, variable in variables.items():
        if tuple(variable.shape) != arrays[name].shape:
            raise ValueError(f"weight {name} has shape {arrays[name].shape}, not {tuple(variable.shape)}")
        variable.assign(arrays[name])


def _named(model: Any) -> dict[str, Any]:
    return {f"{layer.name}.{w.name}": w for layer in model.layers for w in layer.weights}
