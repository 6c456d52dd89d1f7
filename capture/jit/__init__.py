"""How kernels are compiled, kept and called.  What is kept on disk is loaded without numba."""

from __future__ import annotations

from pathlib import Path

from capture.jit.kernels import DISABLED, Kernels, structured
from capture.jit.store import Store

__all__ = [
    "DISABLED",
    "KERNELS",
    "Kernels",
    "Store",
    "helper",
    "inlined",
    "kernel",
    "kernel_folder",
    "kernels_are_cached",
    "structured",
]

#: Those of this package.
KERNELS = Kernels(Store("kernels", sorted(Path(__file__).parents[1].rglob("*.py"))))
kernel, helper, inlined = KERNELS.kernel, KERNELS.helper, KERNELS.inlined


def kernel_folder() -> Path:
    """Where compiled kernels of these very sources are kept."""
    return KERNELS.store.folder


def kernels_are_cached() -> bool:
    """Whether `capture.load_kernels` came to its end before, with these very sources."""
    return KERNELS.are_cached()
