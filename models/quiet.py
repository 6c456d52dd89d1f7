"""Loading TensorFlow without what it says to itself."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def no_remarks() -> Iterator[None]:
    """Standard error of this process goes nowhere, also what native code writes there.

    TensorFlow tells of its instruction set and of missing CUDA drivers while it is loaded, before
    any setting of its log level counts.  What fails is an exception all the same.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if sys.stderr is None:
        yield
        return
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # started with it closed
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)
