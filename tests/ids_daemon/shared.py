"""The data that is shared beside the checkout, where there is any."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def shared(name: str) -> Path:
    """A folder of the shared data; skips the test where there is none."""
    path = ROOT.parent / "shared" / name
    if not path.exists():
        pytest.skip(f"no {path}: shared data is not there")
    return path
