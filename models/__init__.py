"""Flow records to windows to scores to evidence about hosts: the face of the package.

Names are resolved on first use, so that `import models` loads neither numba nor LiteRT.
"""

from __future__ import annotations

import importlib
from typing import Any

_FACE = {
    "Bundle": "models.bundle",
    "BundleError": "models.errors",
    "CalibrationError": "models.errors",
    "Detector": "models.detector",
    "Finding": "models.evidence",
    "HOME_NETWORKS": "models.home_networks",
    "HostEvidence": "models.evidence",
    "RuntimeUnavailable": "models.errors",
    "Scorer": "models.scorer",
    "WindowBatch": "models.windows",
    "Windows": "models.windows",
    "PackageMissing": "models.errors",
    "describe_bundle": "models.bundle_text",
    "kernel_folder": "models.windows",
    "kernels_are_cached": "models.windows",
    "load_bundle": "models.bundle",
    "load_kernels": "models.windows",
    "save_bundle": "models.bundle",
    "verify_bundle": "models.bundle_text",
}

__all__ = sorted(_FACE)


def __getattr__(name: str) -> Any:
    try:
        module = _FACE[name]
    except KeyError:
        raise AttributeError(f"module 'models' has no attribute {name!r}") from None
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return __all__
