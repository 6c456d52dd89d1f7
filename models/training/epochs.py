"""Fitting a Keras network to flows: epochs, early stopping, learning curves; it can stop and go on.

Nothing here is of one backend of Keras, but for the switch that makes TensorFlow's operations
deterministic.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from models.errors import TrainingError
from models.training.checkpoints import Arrays, Checkpoint

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Targets = npt.NDArray[Any]
History = list[dict[str, float]]
Log = Callable[[str], None]
OnBatch = Callable[[int, int, int], None]

_SCORING_BATCH = 4096


def silent(text: str) -> None:
    """A log that nobody reads."""


@dataclass(frozen=True, slots=True)
class EpochOptions:
    """How to fit."""

    epochs: int = 60  #: at most
    patience: int = 8  #: epochs without a better validation loss before it stops
    batch_size: int = 256
    learning_rate: float = 1e-3  #: of Adam
    schedule: Literal["constant", "cosine"] = "constant"  #: cosine: falls to a fiftieth over `epochs`
    class_weights: Literal["none", "root", "balanced"] = "balanced"  #: root: the square root of balanced
    averaging: float = (
        0.0  #: the weights kept are a mean over steps, fading by this factor; 0: the last step's
    )

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0."""
        if self.schedule == "constant":
            return self.learning_rate
        falling = 0.5 * (1.0 + math.cos(math.pi * epoch / self.epochs))
        return self.learning_rate * (0.02 + 0.98 * falling)


def sample_weights(y: Bools, how: str) -> Floats:
    """(n,) weights of mean 1 that make the classes weigh the same (`balanced`), or half way (`root`)."""
    if how == "none":
        return np.ones(len(y), np.float32)
    attacks = int(y.sum())
    weight = np.where(y, len(y) / (2.0 * max(attacks, 1)), len(y) / (2.0 * max(len(y) - attacks, 1)))
    if how == "root":
        weight = np.sqrt(weight)
    return (weight / weight.mean()).astype(np.float32)


def make_deterministic(seed: int) -> None:
    """Fix every seed, and let TensorFlow add up in one order, so that the same fit gives the same weights."""
    import keras

    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def fit_epochs(
    model: Any,
    x: Floats,
    y: Targets,
    validation: tuple[Floats, Targets] | None,
    options: EpochOptions,
    seed: int,
    *,
    weight: Floats | None = None,
    checkpoint: Checkpoint | None = None,
    log: Log = silent,
    on_batch: OnBatch | None = None,
) -> History:
    """Fit a compiled model; it ends with the weights of the epoch that had the lowest validation loss.

    y: what `model` is to give for x, (n,) or (n, ...).  weight: (n,) of the training rows.
    checkpoint: where the state is kept after each epoch, and taken from at the start.
    on_batch: told the epoch, the batches done and the batches of an epoch.

    Without validation the last weights stay.  An entry of the history holds `loss`, the other metrics that
    the model was compiled with, and the same of validation with `val_` before.  Raises TrainingError when the
    loss is no number any more.
    """
    run = _Run(model, checkpoint)
    run.restore(log)
    while run.epoch < options.epochs and run.since_best < options.patience:
        # Each epoch's order hangs on seed and number alone, so that a fit taken up again goes the same way.
        order = np.random.default_rng([seed, run.epoch]).permutation(len(x))
        model.optimizer.learning_rate = options.rate(run.epoch)
        entry = _one_epoch(run, x, y, weight, order, options, on_batch)
        with run.averaged():
            if validation is not None:
                entry |= {f"val_{name}": value for name, value in _measured(model, *validation).items()}
            run.add(entry)
        run.save()
        log(f"epoch {run.epoch}: " + ", ".join(f"{k} {v:.4f}" for k, v in entry.items()))
    run.take_best()
    return run.history


def _one_epoch(
    run: _Run,
    x: Floats,
    y: Targets,
    weight: Floats | None,
    order: npt.NDArray[np.int64],
    options: EpochOptions,
    on_batch: OnBatch | None,
) -> dict[str, float]:
    """Steps over all rows in this order; the model's metrics, means over the epoch.

    By batch and not by `model.fit`, which builds a pipeline anew each time and costs more than a small
    network's epoch.
    """
    means = _Means()
    size = options.batch_size
    batches = -(-len(order) // size)
    for number in range(batches):
        index = order[number * size : (number + 1) * size]
        weighed = None if weight is None else weight[index]
        run.model.reset_metrics()
        means.add(run.model.train_on_batch(x[index], y[index], weighed, return_dict=True), len(index))
        run.average(options.averaging, run.epoch * batches + number)
        if on_batch is not None:
            on_batch(run.epoch, number + 1, batches)
    return means.values()


def _measured(model: Any, x: Floats, y: Targets) -> dict[str, float]:
    """The model's metrics on rows that it does not learn from."""
    means = _Means()
    for start in range(0, len(x), _SCORING_BATCH):
        part = slice(start, start + _SCORING_BATCH)
        model.reset_metrics()
        means.add(model.test_on_batch(x[part], y[part], return_dict=True), len(x[part]))
    return means.values()


class _Means:
    """Means of a model's metrics over batches, each by its rows.

    Of one batch at a time, so the metrics are reset before each: older versions of Keras go on adding up.
    """

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._rows = 0

    def add(self, metrics: dict[str, Any], rows: int) -> None:
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + rows * float(value)
        self._rows += rows

    def values(self) -> dict[str, float]:
        return {name: value / self._rows for name, value in self._sums.items()}


class _Run:
    """The state of a fit: network, optimizer, history, best weights so far."""

    def __init__(self, model: Any, checkpoint: Checkpoint | None) -> None:
        self.model, self.checkpoint = model, checkpoint
        model.optimizer.build(model.trainable_variables)
        self.epoch, self.since_best, self.best_loss = 0, 0, math.inf
        self.history: History = []
        self.best: list[npt.NDArray[Any]] | None = None
        self.means: list[npt.NDArray[Any]] | None = None

    def average(self, fading: float, step: int) -> None:
        """Take the weights after a step, counted from 0, into their mean."""
        if not fading:
            return
        weights = self.model.get_weights()
        if self.means is None:
            self.means = weights
        # The fresh weights are soon forgotten: the mean goes over a tenth of the steps at most.
        share = 1.0 - min(fading, step / (9.0 + step))
        for mean, one in zip(self.means, weights, strict=True):
            mean += share * (one - mean)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The model has the mean weights, and then its own again."""
        if self.means is None:
            yield
            return
        own = self.model.get_weights()
        self.model.set_weights(self.means)
        yield
        self.model.set_weights(own)

    def add(self, entry: dict[str, float]) -> None:
        self.history.append(entry)
        self.epoch += 1
        loss = entry.get("val_loss")
        if not math.isfinite(entry["loss"]) or (loss is not None and not math.isfinite(loss)):
            raise TrainingError(f"the loss is no number in epoch {self.epoch}: lower the learning rate")
        if loss is not None:
            self.since_best += 1
            if loss < self.best_loss:
                self.best_loss, self.since_best, self.best = loss, 0, self.model.get_weights()

    def save(self) -> None:
        """Keep the state on disk, where there is a place for it."""
        if self.checkpoint is not None:
            self.checkpoint.save(self._arrays())

    def restore(self, log: Log) -> None:
        """Take up what the checkpoint holds."""
        arrays = None if self.checkpoint is None else self.checkpoint.load()
        if arrays is None:
            return
        state = json.loads(str(arrays["state"]))
        for name, variable in self._variables().items():
            variable.assign(arrays[name])
        self.epoch, self.since_best, self.history = state["epoch"], state["since_best"], state["history"]
        self.best, self.means = _numbered(arrays, "best"), _numbered(arrays, "mean")
        if self.best is not None:
            self.best_loss = min(entry["val_loss"] for entry in self.history)
        log(f"going on after epoch {self.epoch}")

    def take_best(self) -> None:
        kept = self.best or self.means
        if kept is not None:
            self.model.set_weights(kept)

    def _variables(self) -> dict[str, Any]:
        # The states of the dropout layers' seeds are among the model's variables.
        together = [*self.model.variables, *self.model.optimizer.variables]
        return {f"variable{i:04d}": variable for i, variable in enumerate(together)}

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        from keras import ops

        state = {"epoch": self.epoch, "since_best": self.since_best, "history": self.history}
        arrays: dict[str, npt.NDArray[Any]] = {"state": np.array(json.dumps(state))}
        arrays |= {name: np.array(ops.convert_to_numpy(v)) for name, v in self._variables().items()}
        for name, weights in (("best", self.best), ("mean", self.means)):
            arrays |= {f"{name}{i:04d}": one for i, one in enumerate(weights or [])}
        return arrays


def _numbered(arrays: Arrays, name: str) -> list[npt.NDArray[Any]] | None:
    """The arrays of this name in their order; None where there are none."""
    return [arrays[key] for key in sorted(key for key in arrays if key.startswith(name))] or None


def predict(model: Any, x: Floats) -> npt.NDArray[np.float64]:
    """What the model gives for (n, D), as (n,) of its one output or (n, ...)."""
    starts = range(0, max(1, len(x)), _SCORING_BATCH)
    parts = [model.predict_on_batch(x[start : start + _SCORING_BATCH]) for start in starts]
    found = np.concatenate(parts).astype(np.float64)
    return found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found
