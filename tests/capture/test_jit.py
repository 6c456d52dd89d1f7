"""How kernels are compiled, cached and run un-jitted."""

from __future__ import annotations

import warnings
from pathlib import Path

import numba
import numpy as np
import pytest

from capture import jit


def test_kernels_are_cached_once_their_folder_holds_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kernels"
    monkeypatch.setattr(jit, "_FOLDER", str(folder))
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 0)
    assert not jit.kernels_are_cached()
    (folder / "meter").mkdir(parents=True)  # which numba makes before it compiles
    assert not jit.kernels_are_cached()
    (folder / "meter" / "kernels.process-1.nbi").touch()
    assert jit.kernels_are_cached()


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
