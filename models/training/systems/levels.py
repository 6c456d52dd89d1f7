"""Where the levels of the paper's network begin: at values of the training flows.

A level is 0 below its range, 1 above, and rises in between: the piecewise linear encoding of numbers of
Gorishniy, Rubachev and Babenko (2022).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# The narrowest range, in a feature from 0 to 1: and farther from 0 what float32, which multiplies before it
# subtracts, still tells to a hundredth of a range.
_NARROWEST = 1e-6
_TO_START = 2e-5


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
        low[i] = edges[:-1]
        width[i] = np.maximum(np.diff(edges), np.maximum(_NARROWEST, _TO_START * low[i]))
    # Keras' hard sigmoid rises from 0 at -3 to 1 at 3.
    layer.set_weights([6.0 / width, -6.0 * low / width - 3.0])


def level_edges(values: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.float64]:
    """`count` + 1 rising edges, of a feature from 0 to 1.

    Every value where there are no more of them.  Else the quantiles, and what is left over because many rows
    have the same value goes, half by half, to the range that holds most different values: where nine rows in
    ten have one value, the rest would have to share a level or two.  Edges that there are no values for cut
    the widest range in half.
    """
    distinct = np.unique(values).astype(np.float64)
    if len(distinct) <= count + 1:
        edges = distinct
    else:
        places = np.quantile(values, np.linspace(0.0, 1.0, count + 1), method="lower").astype(np.float64)
        at = np.unique(np.searchsorted(distinct, places))
        while len(at) <= count:
            fullest = int(np.argmax(np.diff(at)))
            at = np.insert(at, fullest + 1, (at[fullest] + at[fullest + 1]) // 2)
        edges = distinct[at]
    if len(edges) == 1:
        edges = np.array([0.0, 1.0])
    while len(edges) <= count:
        widest = int(np.argmax(np.diff(edges)))
        edges = np.insert(edges, widest + 1, (edges[widest] + edges[widest + 1]) / 2.0)
    return edges
