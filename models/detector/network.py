"""A bundle's network in Keras, on whichever backend Keras runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from models.bundle import Bundle
from models.network import build
from models.rebuilding import rebuilt

Floats = npt.NDArray[np.float32]


def restore(bundle: Bundle, *, unroll: bool) -> Any:
    """The bundle's network as a keras.Model; raises as `rebuilt` does."""
    return rebuilt(lambda: build(bundle.spec, unroll=unroll), bundle.weights, bundle.path)


def keras_forward(bundle: Bundle) -> Callable[[Floats, Floats], tuple[Floats, Floats]]:
    """The bundle's network on whichever backend Keras runs (KERAS_BACKEND=jax needs no TensorFlow).

    The function takes scaled (B, N, F) and (B, C) of any B to logits (B, 1) and family logits (B, K).
    """
    network = restore(bundle, unroll=True)

    def forward(rows: Floats, counters: Floats) -> tuple[Floats, Floats]:
        from keras import ops

        heads = network([rows, counters], training=False)
        return ops.convert_to_numpy(heads["logit"]), ops.convert_to_numpy(heads["family"])

    return forward
