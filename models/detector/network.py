"""A bundle's network rebuilt in Keras from our own code: the file gives weights, never code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from models.bundle import Bundle
from models.bundle_files import AGAIN, WEIGHTS
from models.errors import BundleError, RuntimeUnavailable
from models.network import arrays_to_weights, build

Floats = npt.NDArray[np.float32]


def restore(bundle: Bundle, *, unroll: bool) -> Any:
    """The bundle's network as a keras.Model; BundleError when the weights are another network's."""
    try:
        network = build(bundle.spec, unroll=unroll)
    except ImportError as error:
        raise RuntimeUnavailable(
            f"Keras cannot be loaded ({error}): pip install 'ids-daemon[train]'"
        ) from None
    try:
        arrays_to_weights(network, bundle.weights())
    except ValueError as error:
        raise BundleError(f"{bundle.path}/{WEIGHTS}: {error}: {AGAIN}") from None
    return network


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
