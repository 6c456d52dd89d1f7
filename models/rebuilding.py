"""A saved network in Keras, rebuilt from our own code: the file gives weights, never code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle_files import AGAIN, WEIGHTS
from models.errors import BundleError, RuntimeUnavailable
from models.network import arrays_to_weights


def rebuilt(build: Callable[[], Any], weights: Callable[[], Mapping[str, np.ndarray]], bundle: Path) -> Any:
    """The keras.Model that `build` makes, with the bundle's weights in it.

    Raises RuntimeUnavailable without Keras, BundleError when the weights are another network's.
    """
    try:
        network = build()
    except ImportError as error:
        raise RuntimeUnavailable(
            f"Keras cannot be loaded ({error}): pip install 'ids-daemon[train]'"
        ) from None
    try:
        arrays_to_weights(network, weights())
    except ValueError as error:
        raise BundleError(f"{bundle}/{WEIGHTS}: {error}: {AGAIN}") from None
    return network
