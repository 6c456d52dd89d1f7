"""Raw windows to logits and family probabilities: one face, whichever runtime computes them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.bundle import Bundle
from models.detector.runtimes import Choice, Device, Runtime, choose, start
from models.window_columns import WINDOW

__all__ = ["Choice", "Detector", "Device"]

Floats = npt.NDArray[np.float32]


class Detector:
    """A bundle's network, ready to score; its scaling is applied inside.

    runtime: `litert`, `tensorflow`, or `auto`: TensorFlow where it sees a GPU, else LiteRT.
    device: `cpu`, `gpu`, or `auto`: a GPU where the runtime sees one.

    Raises RuntimeUnavailable when what was asked for is not there, BundleError when the bundle's
    network cannot be run.  Not for use by several threads at once.
    """

    def __init__(self, bundle: Bundle, runtime: Choice = "auto", device: Device = "auto") -> None:
        self._bundle = bundle
        self._runtime: Runtime = start(bundle, *choose(runtime, device))

    @property
    def description(self) -> str:
        """What computes, and where: `LiteRT on CPU`."""
        return self._runtime.description

    def score(self, rows: Floats, counters: Floats) -> tuple[Floats, Floats]:
        """Logits (B,) and family probabilities (B, K) of B windows, float32.

        rows: (B, 16, F) raw, as `WindowBatch.rows`; the network sees the newest `spec.window` of them.
        counters: (B, C) raw.

        LiteRT's result for a window is the same to the last bit whoever shares its batch.
        """
        spec = self._bundle.spec
        wanted = (len(rows), WINDOW, spec.row_features), (len(rows), spec.counters)
        if (rows.shape, counters.shape) != wanted:
            raise ValueError(
                f"windows of {rows.shape} and {counters.shape}; {wanted[0]} and {wanted[1]} wanted"
            )
        size = self._runtime.batch_size
        scaled_rows = self._bundle.scaling.transform_rows(spec.newest(rows))
        scaled_counters = self._bundle.scaling.transform_counters(counters)
        logits = np.empty(len(rows), np.float32)
        families = np.empty((len(rows), spec.families), np.float32)
        # The network always sees batches of one shape, so no window meets another kernel because of
        # how many there are.
        full_rows = np.zeros((size, *scaled_rows.shape[1:]), np.float32)
        full_counters = np.zeros((size, counters.shape[1]), np.float32)
        for start_at in range(0, len(rows), size):
            part = slice(start_at, start_at + size)
            n = len(rows[part])
            full_rows[:n], full_counters[:n] = scaled_rows[part], scaled_counters[part]
            full_rows[n:], full_counters[n:] = 0, 0
            logit, family = self._runtime.forward(full_rows, full_counters)
            logits[part], families[part] = logit[:n, 0], softmax(family[:n])
        return logits, families


def softmax(logits: Floats) -> Floats:
    """(B, K) logits to probabilities."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
