"""Flow records to time-ordered windows per host: the same for training and daemon.

A flow lands in two streams: `actor`, of the host that began it, and `target`, of the host that it
was meant for.  A window is a stream's last rows in order of first appearance (short ones padded at
the old end with zeros) and the host's counters.
"""

from models.windows.jit import kernel_folder, kernels_are_cached
from models.windows.windows import WindowBatch, Windows, load_kernels

__all__ = [
    "WindowBatch",
    "Windows",
    "kernel_folder",
    "kernels_are_cached",
    "load_kernels",
]
