"""A small saved model, made once: fresh weights, converted as the trainer converts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.bundle import Bundle, save_bundle
from models.evidence import FAMILIES
from models.flow_bundle import FlowBundle, save_flow_bundle
from models.network import NetworkSpec, PaperSpec
from models.scaling import Scaling
from models.window_columns import COUNTER_NAMES, ROW_NAMES, WINDOW

Parts = dict[str, Any]

SPEC = NetworkSpec(
    window=WINDOW,
    row_features=len(ROW_NAMES),
    counters=len(COUNTER_NAMES),
    families=len(FAMILIES),
    filters=4,
    lstm=4,
    counter_units=4,
    dense=4,
)

FLOW_SPEC = PaperSpec(9, filters=4, lstm=4, dense=4)


def raw_windows(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows (count, N, F) with 1 to N rows present, and counters (count, C), unscaled."""
    generator = np.random.default_rng(seed)
    rows = generator.exponential(1000, (count, WINDOW, len(ROW_NAMES))).astype(np.float32)
    rows[..., ROW_NAMES.index("present")] = 1
    present = generator.integers(1, WINDOW + 1, count)
    rows[np.arange(WINDOW) < WINDOW - present[:, None]] = 0
    return rows, generator.exponential(50, (count, len(COUNTER_NAMES))).astype(np.float32)


@pytest.fixture(scope="session")
def parts() -> Parts:
    """What `save_bundle` takes, all but the folder."""
    keras = pytest.importorskip("keras", reason="needs Keras and TensorFlow to convert a network")
    pytest.importorskip("tensorflow", reason="needs Keras and TensorFlow to convert a network")
    from models.network import build, weights_to_arrays
    from models.training.convert import convert

    keras.utils.set_random_seed(7)
    weights = weights_to_arrays(build(SPEC, unroll=True))
    return {
        "name": "small-1",
        "meter": "native",
        "spec": SPEC,
        "scaling": Scaling.fit(*raw_windows(200)),
        "calibration": {
            "threshold": 1.0,
            "target_cap": 0.0,
            "counter_weight": 2.0,
            "average": 0.3,
            "counters": [],
        },
        "families": FAMILIES,
        "weights": weights,
        "tflite": convert(SPEC, weights),
        "training": {"records_sha256": "0" * 64},
        "metrics": {"named": 0.5},
        "created": "2026-01-02T03:04:05Z",
    }


@pytest.fixture
def save(parts: Parts, tmp_path: Path) -> Callable[..., Bundle]:
    """Save the small bundle as `folder` below the test's own folder, with other parts where named."""

    def save_as(folder: str = "bundle", **other: Any) -> Bundle:
        return save_bundle(tmp_path / folder, **{**parts, **other})

    return save_as


@pytest.fixture(scope="session")
def flow_parts() -> Parts:
    """What `save_flow_bundle` takes, all but the folder."""
    keras = pytest.importorskip("keras", reason="needs Keras and TensorFlow to convert a network")
    pytest.importorskip("tensorflow", reason="needs Keras and TensorFlow to convert a network")
    from models.network import paper_network, weights_to_arrays
    from models.training.convert import convert_flows

    keras.utils.set_random_seed(7)
    weights = weights_to_arrays(paper_network(FLOW_SPEC))
    weights["malicious.kernel"] *= 40  # logits far from 0, as a fitted network's are
    return {
        "name": "paper-1",
        "preprocessing": {"names": [f"feature {i}" for i in range(9)]},
        "spec": FLOW_SPEC,
        "weights": weights,
        "threshold": 0.75,
        "classes": ("BENIGN", "DoS"),
        "training": {"rows": 100},
        "metrics": {"f1": 0.5},
        "tflite": convert_flows(FLOW_SPEC, weights),
        "created": "2026-01-02",
    }


@pytest.fixture
def save_flows(flow_parts: Parts, tmp_path: Path) -> Callable[..., FlowBundle]:
    def save_as(folder: str = "flows", **other: Any) -> FlowBundle:
        return save_flow_bundle(tmp_path / folder, **{**flow_parts, **other})

    return save_as
