"""The paper's network saved for the trainer: rebuilt alike, and never taken for the daemon's kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.bundle import Bundle, load_bundle
from models.errors import BundleError
from models.flow_bundle import FlowBundle, load_flow_bundle
from models.litert import operators
from models.network import PaperSpec
from tests.models.conftest import FLOW_SPEC as SPEC
from tests.models.conftest import Parts


def refusal(path: Path) -> str:
    with pytest.raises(BundleError) as caught:
        load_flow_bundle(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def flows(count: int) -> np.ndarray:
    return np.random.default_rng(5).random((count, SPEC.features), np.float32)


def test_a_bundle_of_flows_comes_back_as_it_was_saved(
    save_flows: Callable[..., FlowBundle], flow_parts: Parts
) -> None:
    bundle = load_flow_bundle(save_flows(report_files={"index.html": b"<p>"}, calibration={"of": "x"}).path)
    assert (bundle.name, bundle.spec, bundle.threshold) == ("paper-1", SPEC, 0.75)
    assert (bundle.classes, bundle.preprocessing) == (("BENIGN", "DoS"), flow_parts["preprocessing"])
    assert bundle.calibration == {"of": "x", "threshold": 0.75}
    assert (bundle.manifest["training"], bundle.manifest["metrics"]) == ({"rows": 100}, {"f1": 0.5})
    assert (bundle.path / "report" / "index.html").read_bytes() == b"<p>"
    weights = bundle.weights()
    assert weights.keys() == flow_parts["weights"].keys()
    assert all(np.array_equal(weights[name], flow_parts["weights"][name]) for name in weights)


def test_a_score_is_the_papers_sigmoid_on_either_runtime(save_flows: Callable[..., FlowBundle]) -> None:
    bundle, x = save_flows(), flows(150)
    scores = bundle.score(x)
    assert (scores.shape, scores.dtype) == ((150,), np.float64)
    assert scores.max() - scores.min() > 0.01
    assert np.abs(scores - np.asarray(bundle.network()(x))[:, 0]).max() < 1e-5
    assert np.abs(scores - bundle.score(x, "keras")).max() < 1e-5


def test_a_flow_is_scored_the_same_whoever_shares_its_batch(save_flows: Callable[..., FlowBundle]) -> None:
    bundle, x = save_flows(), flows(150)
    scores = bundle.score(x)
    for size in (1, 63, 65):
        parts = [bundle.score(x[i : i + size]) for i in range(0, 150, size)]
        assert np.array_equal(np.concatenate(parts), scores)
    assert bundle.score(x[:0]).shape == (0,)


def test_scores_near_one_stay_apart(save_flows: Callable[..., FlowBundle], flow_parts: Parts) -> None:
    from models.training.convert import convert_flows

    weights = flow_parts["weights"] | {"malicious.bias": np.array([20], np.float32)}
    bundle = save_flows(weights=weights, tflite=convert_flows(SPEC, weights))
    scores = bundle.score(flows(50))
    assert scores.min() > 1 - 1e-6
    assert len(np.unique(scores)) > 40
    assert len(np.unique(scores.astype(np.float32))) < 10


def test_flows_of_another_width_are_refused(save_flows: Callable[..., FlowBundle]) -> None:
    with pytest.raises(ValueError, match=r"flows of \(3, 8\): \(n, 9\) wanted"):
        save_flows().score(flows(3)[:, 1:])


def test_its_flatbuffer_has_no_loop(flow_parts: Parts) -> None:
    found = operators(flow_parts["tflite"])
    assert {"CONV_2D", "FULLY_CONNECTED", "LOGISTIC", "TANH"} <= found
    assert "WHILE" not in found


def test_levels_and_embedding_score_alike_in_both_runtimes(
    save_flows: Callable[..., FlowBundle], flow_parts: Parts
) -> None:
    from models.network import paper_network, weights_to_arrays
    from models.training.convert import convert_flows
    from models.training.systems.levels import set_levels

    x = flows(500) ** 8  # crowded near 0, where a level is narrow
    spec = PaperSpec(SPEC.features, levels=32, embedding=3, filters=4, lstm=4, dense=4)
    network = paper_network(spec)
    set_levels(network, x)
    weights = weights_to_arrays(network)
    bundle = save_flows(spec=spec, weights=weights, tflite=convert_flows(spec, weights))
    assert bundle.spec == spec
    scores = bundle.score(x)
    assert len(np.unique(scores)) > 400
    np.testing.assert_allclose(scores, bundle.score(x, "keras"), atol=1e-5)
    assert operators(bundle.tflite) <= operators(flow_parts["tflite"]) | {
        "BATCH_MATMUL", "ADD", "MUL", "TRANSPOSE", "RELU6", "RELU", "MAXIMUM", "MINIMUM"
    }  # fmt: skip


def test_the_same_input_gives_the_same_bytes(save_flows: Callable[..., FlowBundle]) -> None:
    one, two = save_flows("one").path, save_flows("two").path
    files = sorted(path.relative_to(one) for path in one.rglob("*"))
    assert {str(name) for name in files} == {
        "calibration.json", "manifest.json", "model.tflite", "preprocessing.json", "weights.npz"
    }  # fmt: skip
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in files)


def test_the_daemon_refuses_a_bundle_of_flows_by_name(save_flows: Callable[..., FlowBundle]) -> None:
    path = save_flows().path
    with pytest.raises(BundleError) as caught:
        load_bundle(path)
    assert str(caught.value) == (
        f"{path}: scores single flows (kind 'flows'): the daemon needs one of host windows: "
        "train it with 'ids-train fit --records'"
    )


def test_a_bundle_of_windows_is_refused_by_name(save: Callable[..., Bundle]) -> None:
    path = save().path
    assert refusal(path) == (
        f"{path}: scores host windows (kind 'windows'): one of single flows is needed here: "
        "train it with 'ids-train fit DATA'"
    )


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda m: m.update(kind="pixels"), "manifest.json: kind: Input should be 'flows'"),
        (lambda m: m.update(meter="native"), "manifest.json: meter: Extra inputs are not permitted"),
        (lambda m: m["network"].update(lstm=10**9), "manifest.json: network: lstm is 1000000000"),
        (lambda m: m["network"].update(layers="Lambda"), "manifest.json: network: unknown: layers"),
        (lambda m: m["files"].pop("preprocessing.json"), "no hash of preprocessing.json"),
        (lambda m: m.update(schema_version=2), "schema 2 is newer than 1"),
    ],
)
def test_a_manifest_that_cannot_be_right_is_refused(
    save_flows: Callable[..., FlowBundle], edit: Callable[[dict[str, Any]], None], said: str
) -> None:
    path = save_flows().path
    manifest = json.loads((path / "manifest.json").read_text())
    edit(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert said in refusal(path)


@pytest.mark.parametrize("name", ["model.tflite", "weights.npz", "preprocessing.json", "calibration.json"])
def test_a_changed_file_is_refused_by_name(save_flows: Callable[..., FlowBundle], name: str) -> None:
    path = save_flows().path
    data = (path / name).read_bytes()
    (path / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert refusal(path).startswith(f"{path}/{name}: its SHA-256 is not the manifest's")


def test_files_beside_the_manifests_are_refused(save_flows: Callable[..., FlowBundle]) -> None:
    path = save_flows().path
    (path / "extra.py").write_bytes(b"")
    (path / "model.keras").write_bytes(b"")
    said = f"{path}/extra.py and 1 more: not in the manifest: nothing vouches for it, remove it"
    assert refusal(path) == said


@pytest.mark.parametrize("threshold", [True, "0.5", -0.1, 1.5, None])
def test_a_threshold_that_is_no_probability_is_refused(
    save_flows: Callable[..., FlowBundle], threshold: object
) -> None:
    with pytest.raises(BundleError, match=r"calibration\.json: no number from 0 to 1 as threshold"):
        save_flows(threshold=threshold)


def test_the_network_has_definitions_that_are_held_against_sense() -> None:
    assert PaperSpec.from_dict(json.loads(json.dumps(SPEC.to_dict()))) == SPEC
    for change, said in (
        ({"features": 1}, "pooling 2 is longer than the 1 features"),
        ({"filters": 0}, "filters is 0"),
        ({"embedding": -1}, "embedding is -1"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"attention": 1}, "unknown: attention"),
    ):
        with pytest.raises(ValueError, match=said):
            PaperSpec.from_dict(SPEC.to_dict() | change)
