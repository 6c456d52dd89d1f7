"""How the kernels of this package are compiled and cached.

numba looks at the file of the compiled function alone and would miss a change in another file
that it calls.  So the cache folder is named after all sources that the kernels are made of.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numba
import numpy as np

from capture import columns
from models import window_columns

#: Kernels own no memory, so no references are counted; division by zero gives infinity or NaN.
_OPTIONS = {"nogil": True, "error_model": "numpy", "_nrt": False}


def _cache_folder() -> Path:
    """In the user's cache folder (systemd's where there is one), one for each state of the sources."""
    here = Path(__file__).parent
    digest = hashlib.sha256(str(here).encode())
    for source in (columns.__file__, window_columns.__file__, *map(str, sorted(here.glob("*.py")))):
        digest.update(Path(source).read_bytes())
    base = os.environ.get("CACHE_DIRECTORY") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ids-daemon" / f"windows-{digest.hexdigest()[:16]}"


_FOLDER = _cache_folder()


def kernel(function: Any) -> Any:
    """Compile `function` with numba at its first call and keep the result on disk.

    Where no cache folder can be written the kernel is compiled at each start instead.
    """
    if numba.config.DISABLE_JIT:
        return np.errstate(over="ignore")(function)  # hashes wrap around, as compiled ones do
    chosen = numba.config.CACHE_DIR
    try:
        numba.config.CACHE_DIR = chosen or str(_FOLDER)
        return numba.njit(cache=True, **_OPTIONS)(function)
    except (RuntimeError, OSError):
        return numba.njit(**_OPTIONS)(function)
    finally:
        numba.config.CACHE_DIR = chosen


def compile_for(compiled: Any, *arguments: Any) -> None:
    """Compile a kernel, or load it from the cache, for arguments of these types and no others.

    Without it numba would compile anew in the middle of the traffic, for an array of one record:
    that is contiguous, a larger one with the same strides is not.
    """
    if not numba.config.DISABLE_JIT and not compiled.signatures:
        compiled.compile(tuple(numba.typeof(argument) for argument in arguments))
        compiled.disable_compile()


def kernel_folder() -> Path:
    """Where compiled kernels of these very sources are kept."""
    return Path(numba.config.CACHE_DIR or _FOLDER)


def kernels_are_cached() -> bool:
    """Whether the kernel that calls all others was compiled before, from these very sources."""
    return bool(numba.config.DISABLE_JIT) or any(kernel_folder().rglob("kernels.push-*.nbi"))


def structured(array: np.ndarray) -> np.ndarray:
    """An array whose kernels write `row.field`: numba's own way, and a recarray's un-jitted."""
    return array.view(np.recarray) if numba.config.DISABLE_JIT else array
