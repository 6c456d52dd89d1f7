"""How kernels are compiled, cached and run un-jitted."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path

import numba
import numpy as np
import pytest

from capture import jit


def test_kernels_are_cached_once_all_of_them_were_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kernels"
    monkeypatch.setattr(jit, "_FOLDER", str(folder))
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 0)
    jit.mark_cached()  # a folder that could not be made: nothing is kept, nothing is said
    assert not jit.kernels_are_cached()
    (folder / "meter").mkdir(parents=True)
    (folder / "meter" / "kernels.process-1.nbi").touch()  # an interrupted start leaves some
    assert not jit.kernels_are_cached()
    jit.mark_cached()
    assert jit.kernels_are_cached()
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))  # the user's own: NUMBA_CACHE_DIR
    assert not jit.kernels_are_cached()
    assert jit.kernel_folder() == tmp_path


def test_unjitted_kernels_wrap_around_as_compiled_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    square = jit.kernel(lambda value: value * value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert square(np.uint64(1 << 33)) == 0
    row = jit.structured(np.zeros(1, [("count", np.int64)]))[0]
    row.count = 3
    assert row.count == 3
    assert jit.kernels_are_cached()


def test_the_cache_folder_is_named_after_the_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/ids-daemon")
    folder = jit._cache_folder()
    assert folder.startswith("/var/cache/ids-daemon/ids-daemon/kernels-") and folder == jit._cache_folder()


@pytest.mark.skipif(importlib.util.find_spec("scipy") is None, reason="needs scipy")
def test_numba_is_loaded_without_linear_algebra_and_others_still_get_it() -> None:
    program = (
        "import sys, numba; numba.config.DISABLE_JIT = 0; import capture.jit; import numba.np.arraymath;"
        "print('scipy.linalg' in sys.modules);"
        "import scipy.linalg; print(round(scipy.linalg.det([[2, 0], [0, 3]])))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "6"]
