"""Packet times in microseconds, as the features count them.  Pure kernels."""

from __future__ import annotations

import numpy as np

from capture.jit import helper

_BIAS_US = 4_611_686_018_427_387
_BIAS_NS = np.int64(_BIAS_US * 1000)
_THOUSAND = np.uint64(1000)


@helper
def microseconds(ns):
    """Whole microseconds of a time, rounded down; a division without a sign is a multiplication."""
    return np.int64(np.uint64(ns + _BIAS_NS) // _THOUSAND) - _BIAS_US
