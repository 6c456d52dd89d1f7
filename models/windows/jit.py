"""The kernels of this package, and where they are kept."""

from __future__ import annotations

from pathlib import Path

from capture import columns
from capture.jit import Kernels, Store
from models import window_columns

_SOURCES = (
    *sorted(Path(__file__).parent.glob("*.py")),
    Path(columns.__file__),
    Path(window_columns.__file__),
)

KERNELS = Kernels(Store("windows", _SOURCES))
kernel = KERNELS.kernel


def kernel_folder() -> Path:
    """Where compiled kernels of these very sources are kept."""
    return KERNELS.store.folder


def kernels_are_cached() -> bool:
    """Whether `load_kernels` came to its end before, with these very sources."""
    return KERNELS.are_cached()
