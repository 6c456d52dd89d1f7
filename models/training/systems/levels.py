"""Where the levels of the paper's network begin: at the quantiles of the training flows.

A level is 0 below its range, 1 above, and rises in between: the piecewise linear encoding of numbers of
Gorishniy, Rubachev and Babenko (2022), here with weights that are fitted on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_NARROWEST = 1e-4  # of a range, in a feature of 0 to 1


def set_levels(model: Any, x: npt.NDArray[np.float32]) -> None:
    """Give the layer `levels` of a fresh network its slopes from training flows (n, D) in [0, 1].

    Nothing happens to a network without one.
    """
    layer = next((layer for layer in model.layers if layer.name == "levels"), None)
    if layer is None:
        return
    count = layer.kernel.shape[1]
    low, width = np.empty((2, x.shape[1], count))
    for i in range(x.shape[1]):
        edges = level_edges(x[:, i], count)
        low[i], width[i] = edges[:-1], np.maximum(np.diff(edges), _NARROWEST)
    # Keras' hard sigmoid rises from 0 at -3 to 1 at 3.
    layer.set_weights([6.0 / width, -6.0 * low / width - 3.0])


def level_edges(values: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.float64]:
    """`count` + 1 rising edges: the quantiles, and where many are the same the widest range cut in half."""
    edges = np.unique(np.quantile(values, np.linspace(0.0, 1.0, count + 1))).astype(np.float64)
    if len(edges) == 1:
        edges = np.array([0.0, 1.0])
    while len(edges) <= count:
        widest = int(np.argmax(np.diff(edges)))
        edges = np.insert(edges, widest + 1, (edges[widest] + edges[widest + 1]) / 2.0)
    return edges
