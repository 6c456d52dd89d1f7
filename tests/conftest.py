"""What every test shares: markers that skip with a reason, quiet libraries, patient properties."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

# Set before the first import of TensorFlow, whose C++ side logs to standard error.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Boosting on a few rows waits for its threads longer than it computes where something else runs.
os.environ.setdefault("OMP_NUM_THREADS", "1")

#: Data beside the checkout; tests that use it are marked `shared`.
SHARED = Path(__file__).parents[1].parent / "shared"

# A property's first example may compile a kernel, so no example has a deadline.
# The same examples in every run: what passes before a change lands passes after it.  `./dev fuzz`
# draws fresh ones.
hypothesis.settings.register_profile("ids-daemon", deadline=None, print_blob=True, derandomize=True)
hypothesis.settings.load_profile("ids-daemon")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root for network namespaces or packet sockets")
    if item.get_closest_marker("shared") and not SHARED.is_dir():
        pytest.skip(f"no data beside the checkout ({SHARED.name}/)")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data beside the checkout; skips where there is none."""
    if not SHARED.is_dir():
        pytest.skip(f"no data beside the checkout ({SHARED.name}/)")
    return SHARED
