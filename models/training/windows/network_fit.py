"""Fitting the CNN-LSTM: both heads, Adam, early stopping, the same weights for the same command."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.errors import TrainingError
from models.network import NetworkSpec, Weights, build, weights_to_arrays
from models.training.adam import adam
from models.training.windows.rows import WindowRows


@dataclass(frozen=True, slots=True)
class Arrays:
    """Scaled windows to fit or check with."""

    rows: WindowRows  #: (W, N, F)
    counters: npt.NDArray[np.float32]  #: (W, C)
    label: npt.NDArray[np.float32]  #: (W,) in [0, 1], 1 = attack
    family: npt.NDArray[np.int32]  #: (W,) index of the family, -1 where none is known
    weight: npt.NDArray[np.float32]  #: (W,) not below 0; only their ratios matter
    offset: npt.NDArray[np.float32]  #: (W,) added to the logit in the loss: what other evidence says

    def __len__(self) -> int:
        return len(self.label)

    def batch(self, index: npt.NDArray[np.int64]) -> tuple[npt.NDArray[Any], ...]:
        """The chosen windows as plain arrays, in the order of the fields."""
        return (self.rows.take(index).dense(), *(one[index] for one in self._others()))

    def newest(self, count: int) -> Arrays:
        """The same windows, of each so many rows, the newest."""
        return replace(self, rows=self.rows.newest(count))

    def joined(self, other: Arrays) -> Arrays:
        """These windows and then those."""
        pairs = zip(self._others(), other._others(), strict=True)
        return Arrays(WindowRows.joined([self.rows, other.rows]), *map(np.concatenate, pairs))

    def _others(self) -> list[npt.NDArray[Any]]:
        return [getattr(self, name) for name in self.__slots__ if name != "rows"]


@dataclass(frozen=True, slots=True)
class Options:
    """How to fit."""

    seed: int = 1
    epochs: int = 12
    batch_size: int = 256
    learning_rate: float = 1e-3  #: of the first steps; falls along a cosine to a twentieth
    patience: int = 4  #: epochs without a better validation loss before it stops
    family_weight: float = 0.2  #: of the family head's loss beside the malicious head's
    averaging: float = 0.99  #: weights are an exponential mean over steps with this factor; 0: none


class Resumable(Protocol):
    """Where a fit leaves what it has after each epoch, see `models.training.checkpoints`."""

    def load(self) -> dict[str, npt.NDArray[Any]] | None: ...

    def save(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None: ...


@dataclass(frozen=True, slots=True)
class FitResult:
    """The network's weights and how they came about."""

    weights: Weights
    history: list[dict[str, float]]  #: an epoch each: `loss` and, if there is one, `validation_loss`


def fit_network(
    spec: NetworkSpec,
    train: Arrays,
    validation: Arrays | None,
    options: Options,
    log: Callable[[int, dict[str, float]], None] = lambda epoch, losses: None,
    checkpoint: Resumable | None = None,
) -> FitResult:
    """Fit from fresh weights; with `validation` the best epoch's weights are those returned.

    The loss is binary cross-entropy from logits, the offset added, plus, for attacks of a known family,
    `family_weight` times that head's cross-entropy, each window by its weight.  While fitting,
    whole rows are zeroed at random (`spec.row_dropout`) and inputs get noise
    (`spec.noise`).  The weights returned are means over the last steps, which steadies them from
    seed to seed.

    log: called after each epoch with its number, from 1, and its entry of the history.
    checkpoint: takes all there is after each epoch; what it holds of the same data and options is
        gone on with, to the same weights.

    Seeds are fixed and operations deterministic: the same data and options give the same
    weights, bit by bit, on one machine type.  Raises TrainingError for data that fits no network.
    """
    for name, data in (("training", train), ("validation", validation)):
        if data is not None:
            _check(data, spec, name)
    import keras
    import tensorflow as tf

    random.seed(options.seed)
    keras.utils.set_random_seed(options.seed)
    tf.config.experimental.enable_op_determinism()
    machine = _Machine(spec, options, len(train), float(train.weight.mean()))
    shuffler = np.random.default_rng(options.seed)
    history: list[dict[str, float]] = []
    best, best_loss, since_best = weights_to_arrays(machine.averaged), np.inf, 0
    if checkpoint is not None and (saved := checkpoint.load()) is not None:
        best, best_loss, since_best, history = machine.restore(saved)
        for _ in history:
            shuffler.permutation(len(train))
    for epoch in range(len(history), options.epochs):
        if since_best >= options.patience:
            break
        losses = [float(machine.step(*b)) for b in _batches(train, options, shuffler)]
        history.append({"loss": float(np.mean(losses))})
        if validation is None:
            best = weights_to_arrays(machine.averaged)
        else:
            loss = sum(float(machine.weighed_loss(*b)) for b in _batches(validation, options))
            loss /= float(validation.weight.sum(dtype=np.float64))
            history[-1]["validation_loss"] = loss
            since_best += 1
            if loss < best_loss:
                best, best_loss, since_best = weights_to_arrays(machine.averaged), loss, 0
        log(epoch + 1, history[-1])
        if not np.isfinite(history[-1]["loss"]):
            raise TrainingError(f"the loss is no number in epoch {epoch + 1}: lower the learning rate")
        if checkpoint is not None:
            checkpoint.save(machine.state(best, best_loss, since_best, history))
    return FitResult(best, history)


class _Machine:
    """Network, its averaged twin, optimizer, and the two compiled functions on them."""

    def __init__(self, spec: NetworkSpec, options: Options, windows: int, mean_weight: float) -> None:
        import keras
        import tensorflow as tf

        network = build(spec, unroll=True)
        self.averaged = build(spec, unroll=True)
        fitted, means = network.trainable_variables, self.averaged.trainable_variables
        for mean, variable in zip(means, fitted, strict=True):
            mean.assign(variable)
        steps = options.epochs * -(-windows // options.batch_size)
        schedule = keras.optimizers.schedules.CosineDecay(options.learning_rate, steps, alpha=0.05)
        optimizer = adam(schedule, clipnorm=1.0)
        optimizer.build(fitted)
        # Not by the weights of the batch at hand: a batch of light windows stays a light batch.
        per_batch = 1.0 / (mean_weight * options.batch_size)

        @tf.function
        def step(rows: Any, counters: Any, *others: Any) -> Any:
            done = optimizer.iterations + 0
            draw = 3 * tf.cast(done, tf.int32)
            rows = _add_noise(rows, spec.noise, [options.seed, draw])
            rows = _drop_rows(rows, spec.row_dropout, [options.seed, draw + 1])
            counters = _add_noise(counters, spec.noise, [options.seed, draw + 2])
            with tf.GradientTape() as tape:
                loss = _weighed_loss(network, options, (rows, counters, *others), training=True) * per_batch
                total = tf.add_n([loss, *network.losses])
            optimizer.apply(tape.gradient(total, [v.value for v in fitted]), fitted)
            # The fresh weights are soon forgotten: the mean goes over a tenth of the steps at most.
            seen = tf.cast(done, tf.float32)
            share = 1.0 - tf.minimum(options.averaging, seen / (9.0 + seen))
            for mean, variable in zip(means, fitted, strict=True):
                mean.assign_add(share * (variable - mean))
            return loss

        @tf.function
        def weighed_loss(*batch: Any) -> Any:
            return _weighed_loss(self.averaged, options, batch, training=False)

        self.step, self.weighed_loss = step, weighed_loss
        self._variables = [*network.variables, *self.averaged.variables, *optimizer.variables]

    def state(
        self, best: Weights, best_loss: float, since_best: int, history: list[dict[str, float]]
    ) -> dict[str, npt.NDArray[Any]]:
        """All that the next epoch depends on, as arrays."""
        arrays = {f"variable.{i}": np.asarray(one) for i, one in enumerate(self._variables)}
        arrays |= {f"best.{name}": weight for name, weight in best.items()}
        arrays |= {f"history.{name}": np.array([one[name] for one in history]) for name in history[0]}
        return arrays | {"best_loss": np.array(best_loss), "since_best": np.array(since_best)}

    def restore(
        self, arrays: Mapping[str, npt.NDArray[Any]]
    ) -> tuple[Weights, float, int, list[dict[str, float]]]:
        """The inverse of `state`; what is not kept in the variables is returned."""
        for i, variable in enumerate(self._variables):
            variable.assign(arrays[f"variable.{i}"])
        best = {k.removeprefix("best."): v for k, v in arrays.items() if k.startswith("best.")}
        columns = {k.removeprefix("history."): v for k, v in arrays.items() if k.startswith("history.")}
        history = [
            dict(zip(columns, map(float, row), strict=True)) for row in zip(*columns.values(), strict=True)
        ]
        return best, float(arrays["best_loss"]), int(arrays["since_best"]), history


def _weighed_loss(model: Any, options: Options, batch: tuple[Any, ...], training: bool) -> Any:
    """Sum over a batch's windows of weight times loss."""
    import tensorflow as tf

    rows, counters, label, family, weight, offset = batch
    heads = model([rows, counters], training=training)
    loss = tf.nn.sigmoid_cross_entropy_with_logits(label, heads["logit"][:, 0] + offset)
    told = tf.cast((family >= 0) & (label > 0), tf.float32) * options.family_weight
    loss += told * tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(family, 0), heads["family"])
    return tf.reduce_sum(weight * loss)


def _drop_rows(rows: Any, rate: float, seed: Any) -> Any:
    """Zero whole rows of (B, N, F) at random, and raise the others so that sums stay."""
    import tensorflow as tf

    if not rate:
        return rows
    kept = tf.cast(tf.random.stateless_uniform([*rows.shape[:2], 1], seed) >= rate, tf.float32)
    return rows * kept / (1.0 - rate)


def _add_noise(values: Any, deviation: float, seed: Any) -> Any:
    """Gaussian noise, so that no decision hangs on the last digit of a feature or on bare padding."""
    import tensorflow as tf

    if not deviation:
        return values
    return values + tf.random.stateless_normal(values.shape, seed, stddev=deviation)


def _batches(
    data: Arrays, options: Options, shuffler: np.random.Generator | None = None
) -> Iterator[tuple[np.ndarray, ...]]:
    """Batches of one shape, for which a function compiles once: the last is filled up with weight 0."""
    order = np.arange(len(data)) if shuffler is None else shuffler.permutation(len(data))
    for start in range(0, len(order), options.batch_size):
        index = order[start : start + options.batch_size]
        batch = data.batch(np.resize(index, options.batch_size))
        batch[data.__slots__.index("weight")][len(index) :] = 0
        yield batch


def _check(data: Arrays, spec: NetworkSpec, name: str) -> None:
    """TrainingError for what would otherwise end in a loss that means nothing."""
    count = len(data)
    shapes = {
        "rows": (count, spec.window, spec.row_features),
        "counters": (count, spec.counters),
        "label": (count,),
        "family": (count,),
        "weight": (count,),
        "offset": (count,),
    }
    for field, shape in shapes.items():
        if (found := getattr(data, field).shape) != shape:
            raise TrainingError(f"{name} data: {field} has shape {found}, the network wants {shape}")
    if not count or not data.weight.sum() > 0 or (data.weight < 0).any():
        raise TrainingError(f"{name} data: no window has a weight above 0, or one is below")
    if not ((data.label >= 0) & (data.label <= 1)).all():
        raise TrainingError(f"{name} data: a label is not in 0 to 1")
    if data.family.max() >= spec.families:
        raise TrainingError(f"{name} data: family {data.family.max()} of {spec.families}")
    if not (np.isfinite(data.rows.table).all() and np.isfinite(data.counters).all()):
        raise TrainingError(f"{name} data: a feature is not finite; scale the windows first")
