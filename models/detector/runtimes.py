"""Which runtime scores, and on which device."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from models.bundle import Bundle
from models.errors import RuntimeUnavailable
from models.quiet import no_remarks

Choice = Literal["auto", "litert", "tensorflow"]
Device = Literal["auto", "cpu", "gpu"]

#: Device files of GPUs: NVIDIA, its boards, AMD, and either under WSL.
_GPU_FILES = ("nvidia[0-9]*", "nvhost-gpu", "nvgpu", "kfd", "dxg")

_DEV = Path("/dev")


class Runtime(Protocol):
    """Runs a network over batches of one size."""

    batch_size: int
    description: str

    def forward(
        self, rows: npt.NDArray[np.float32], counters: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Scaled (batch_size, N, F) and (batch_size, C) to logits (batch_size, 1) and family logits
        (batch_size, K)."""
        ...


def choose(runtime: Choice, device: Device) -> tuple[Literal["litert", "tensorflow"], Literal["cpu", "gpu"]]:
    """What to run, and where; RuntimeUnavailable when what was asked for is not there.

    `auto` looks for a GPU's device file first: a gateway without one never loads TensorFlow.
    """
    if runtime == "litert":
        if device == "gpu":
            raise RuntimeUnavailable("LiteRT scores on the CPU: choose the runtime tensorflow for a GPU")
        return "litert", "cpu"
    if runtime == "tensorflow":
        _need_tensorflow(device)
    if device == "cpu":
        return ("litert" if runtime == "auto" else "tensorflow"), "cpu"
    if device == "gpu":
        _need_tensorflow(device)
        if not _tensorflow_sees_gpu():
            raise RuntimeUnavailable(
                "no GPU is visible to TensorFlow: install its driver and pip install 'ids-daemon[gpu]', "
                "or choose the device cpu"
            )
        return "tensorflow", "gpu"
    if has_gpu_file() and _has_tensorflow() and _tensorflow_sees_gpu():
        return "tensorflow", "gpu"
    return ("litert" if runtime == "auto" else "tensorflow"), "cpu"


def start(bundle: Bundle, runtime: Literal["litert", "tensorflow"], device: Literal["cpu", "gpu"]) -> Runtime:
    """The chosen runtime with the bundle's network in it."""
    if runtime == "tensorflow":
        from models.detector.tensorflow import TensorFlowRuntime

        return TensorFlowRuntime(bundle, device)
    from models.detector.litert import LiteRtRuntime

    return LiteRtRuntime(bundle)


def has_gpu_file(folder: Path = _DEV) -> bool:
    """Whether the kernel shows a GPU that TensorFlow might use."""
    return any(next(folder.glob(pattern), None) is not None for pattern in _GPU_FILES)


def _has_tensorflow() -> bool:
    return importlib.util.find_spec("tensorflow") is not None


def _need_tensorflow(device: Device) -> None:
    if not _has_tensorflow():
        extra = "train" if device == "cpu" else "gpu"
        raise RuntimeUnavailable(f"TensorFlow is not installed: pip install 'ids-daemon[{extra}]'")


def _tensorflow_sees_gpu() -> bool:
    with no_remarks():
        try:
            import tensorflow
        except ImportError:  # installed, but broken: as good as without
            return False
        return bool(tensorflow.config.list_physical_devices("GPU"))
