"""Memory for a flow table: zeros that are taken from the system only where they are used."""

from __future__ import annotations

import contextlib
import mmap
from typing import Any

import numpy as np

from capture.jit import structured


def zeros(count: int, dtype: np.dtype[Any], *, scattered: bool = False) -> np.ndarray:
    """(count,) zeros, their first at the start of a page.

    scattered: each packet touches entries anywhere.  Then huge pages are asked for, because a processor
    that has to look up where a page of 4 KiB lies waits for that as long as for what is in it.
    """
    room = mmap.mmap(-1, max(1, count * dtype.itemsize), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if scattered and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a system built without them
            room.madvise(mmap.MADV_HUGEPAGE)
    array = np.frombuffer(room, dtype, count)
    return structured(array) if dtype.names else array
