"""The optimizer of all fits with Keras: Adam on one device, which leaves nothing behind."""

from __future__ import annotations

import functools
from typing import Any


def adam(learning_rate: Any = 1e-3, **options: Any) -> Any:
    """A `keras.optimizers.Adam` with these options; its steps are the same, bit by bit."""
    return _kind()(learning_rate, **options)


@functools.cache
def _kind() -> Any:
    import keras

    class OneDeviceAdam(keras.optimizers.Adam):  # type: ignore[misc, name-defined]
        """Adds nothing up over replicas, of which there is one.

        On TensorFlow that sum, which changes nothing here, enters a gradient of its own into a list that
        is never emptied, and with it the whole graph of the step: several MiB for every network that a
        process fits.  Other backends do not call this.
        """

        def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
            return grads_and_vars

    return OneDeviceAdam
