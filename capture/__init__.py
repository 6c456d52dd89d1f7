"""Packets to flow records: the face of the package.

Names are resolved on first use, so that `import capture.columns` loads neither numba nor a
capture library.
"""

from __future__ import annotations

import importlib
from typing import Any

_FACE = {
    "CaptureError": "capture.errors",
    "FilterError": "capture.errors",
    "ExtraMissing": "capture.errors",
    "FlowFileError": "capture.errors",
    "PacketBatch": "capture.packets",
    "COLUMNS": "capture.columns",
    "CSV_HEADER": "capture.columns",
    "Close": "capture.columns",
    "FEATURES": "capture.columns",
    "FLOW_DTYPE": "capture.columns",
    "Kind": "capture.columns",
    "feature_hash": "capture.columns",
    "feature_matrix": "capture.columns",
    "FlowMeter": "capture.meter",
    "MeterStats": "capture.meter",
    "CicFlowMeter": "capture.cicflowmeter",
    "kernel_folder": "capture.jit",
    "kernels_are_cached": "capture.jit",
    "load_kernels": "capture.loading",
    "open_capture": "capture.files",
    "CaptureWriter": "capture.files",
    "compile_filter": "capture.live.bpf",
    "open_interface": "capture.live.opening",
    "open_shared": "capture.live.opening",
    "SharedCapture": "capture.live.live_capture",
    "LiveOptions": "capture.live.opening",
    "LiveCapture": "capture.live.live_capture",
    "FlowWriter": "capture.flowfile",
    "read_records": "capture.records",
}

__all__ = sorted(_FACE)


def __getattr__(name: str) -> Any:
    try:
        module = _FACE[name]
    except KeyError:
        raise AttributeError(f"module 'capture' has no attribute {name!r}") from None
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return __all__
