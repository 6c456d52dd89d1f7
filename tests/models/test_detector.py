"""One result whichever runtime scores, and no window scored otherwise because of its neighbours."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.bundle import Bundle
from models.detector import Detector, runtimes, softmax
from models.detector.network import keras_forward
from models.errors import BundleError, RuntimeUnavailable
from models.flow_bundle import FlowBundle
from models.training.convert import convert
from tests.models.conftest import SPEC, raw_windows

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bundle(save: Callable[..., Bundle]) -> Bundle:
    return save()


def refusal(*arguments: Any) -> str:
    with pytest.raises(BundleError) as caught:
        Detector(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def hide(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """As if a package were not installed."""
    monkeypatch.setitem(sys.modules, module, None)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *a: None if name == module else find_spec(name, *a)
    )


def with_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, visible: bool) -> None:
    """A machine with a GPU's device file, which TensorFlow sees or not."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidia0").touch()
    folder = tmp_path / "dev"
    has_gpu_file = runtimes.has_gpu_file
    monkeypatch.setattr(runtimes, "has_gpu_file", lambda: has_gpu_file(folder))
    import tensorflow

    monkeypatch.setattr(tensorflow.config, "list_physical_devices", lambda kind: [kind] if visible else [])


def test_a_window_is_scored_the_same_whoever_shares_its_batch(bundle: Bundle) -> None:
    rows, counters = raw_windows(300)
    detector = Detector(bundle, "litert")
    logits, families = detector.score(rows, counters)
    for size in (1, 7, 63, 64, 65, 200):
        parts = [detector.score(rows[i : i + size], counters[i : i + size]) for i in range(0, 300, size)]
        assert np.array_equal(np.concatenate([part[0] for part in parts]), logits)
        assert np.array_equal(np.concatenate([part[1] for part in parts]), families)
    order = np.random.default_rng(1).permutation(300)
    shuffled = detector.score(rows[order], counters[order])
    assert np.array_equal(shuffled[0], logits[order])
    assert np.array_equal(shuffled[1], families[order])


def test_scores_are_logits_and_probabilities_in_float32(bundle: Bundle) -> None:
    logits, families = Detector(bundle).score(*raw_windows(70))
    assert (logits.shape, logits.dtype) == ((70,), np.float32)
    assert (families.shape, families.dtype) == ((70, SPEC.families), np.float32)
    assert len(np.unique(logits)) == 70
    assert (families >= 0).all()
    assert families.sum(axis=1) == pytest.approx(np.ones(70), abs=1e-6)


def test_no_window_gives_no_score(bundle: Bundle) -> None:
    logits, families = Detector(bundle).score(*raw_windows(0))
    assert (logits.shape, families.shape) == ((0,), (0, SPEC.families))


def test_windows_of_another_shape_are_refused(bundle: Bundle) -> None:
    rows, counters = raw_windows(2)
    detector = Detector(bundle)
    for wrong in ((rows[:, 1:], counters), (rows, counters[:1]), (rows[..., 1:], counters)):
        with pytest.raises(ValueError, match="wanted"):
            detector.score(*wrong)


@pytest.fixture
def of_eight(save: Callable[..., Bundle]) -> Bundle:
    """A bundle whose network sees the newest eight rows."""
    from models.network import build, weights_to_arrays

    spec = replace(SPEC, window=8)
    weights = weights_to_arrays(build(spec, unroll=True))
    return save("eight", spec=spec, weights=weights, tflite=convert(spec, weights))


def test_a_network_of_eight_rows_sees_the_newest_of_a_window(
    of_eight: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, counters = raw_windows(150)
    scaled = of_eight.scaling.transform_rows(rows[:, 8:]), of_eight.scaling.transform_counters(counters)
    expected, _ = keras_forward(of_eight)(*scaled)
    assert np.ptp(expected) > 0.01
    older = rows.copy()
    older[:, :8] = raw_windows(150, seed=5)[0][:, :8]
    newer = rows.copy()
    newer[:, 8] *= 3
    monkeypatch.setattr(runtimes, "_tensorflow_sees_gpu", lambda: True)
    for runtime, device in (("litert", "cpu"), ("tensorflow", "cpu"), ("tensorflow", "gpu")):
        detector = Detector(of_eight, runtime, device)  # type: ignore[arg-type]
        logits, families = detector.score(rows, counters)
        assert np.abs(logits - expected[:, 0]).max() < 1e-5
        assert np.array_equal(detector.score(older, counters)[0], logits)
        assert np.array_equal(detector.score(older, counters)[1], families)
        assert (detector.score(newer, counters)[0] != logits).any()
        with pytest.raises(ValueError, match=r"\(150, 16, "):
            detector.score(rows[:, 8:], counters)


def test_tensorflow_gives_the_results_of_litert(bundle: Bundle) -> None:
    rows, counters = raw_windows(150)
    litert, tensorflow = Detector(bundle, "litert"), Detector(bundle, "tensorflow", "cpu")
    assert (litert.description, tensorflow.description) == ("LiteRT on CPU", "TensorFlow on CPU")
    for one, other in zip(litert.score(rows, counters), tensorflow.score(rows, counters), strict=True):
        assert np.abs(one - other).max() < 1e-5


def test_the_path_of_a_gpu_gives_the_results_of_litert(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the CPU, where TensorFlow places it when there is no GPU: large batches, a loop for cuDNN."""
    monkeypatch.setattr(runtimes, "_tensorflow_sees_gpu", lambda: True)
    gpu = Detector(bundle, "tensorflow", "gpu")
    assert gpu.description == "TensorFlow on GPU"
    assert gpu._runtime.batch_size == 512
    rows, counters = raw_windows(600)
    for one, other in zip(
        Detector(bundle, "litert").score(rows, counters), gpu.score(rows, counters), strict=True
    ):
        assert np.abs(one - other).max() < 1e-5


def test_keras_alone_gives_the_results_of_litert(bundle: Bundle) -> None:
    rows, counters = raw_windows(20)
    scaling = bundle.scaling
    logits, _ = keras_forward(bundle)(scaling.transform_rows(rows), scaling.transform_counters(counters))
    assert np.abs(logits[:, 0] - Detector(bundle, "litert").score(rows, counters)[0]).max() < 1e-5


_ON_ANOTHER_BACKEND = """
import sys
import numpy as np
from models.bundle import load_bundle
from models.detector.network import keras_forward, restore
from models.flow_bundle import load_flow_bundle
windows, flows, given, out = sys.argv[1:]
data, bundle = np.load(given), load_bundle(windows)
inputs = [data["rows"], data["counters"]]
logits, families = keras_forward(bundle)(*inputs)
loop = restore(bundle, unroll=False).predict(inputs, verbose=0)["logit"]
scores = load_flow_bundle(flows).score(data["flows"], "keras")
np.savez(out, logits=logits, families=families, loop=loop, scores=scores)
assert "tensorflow" not in sys.modules
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_another_backend_of_keras_gives_the_results_of_litert(
    bundle: Bundle, save_flows: Callable[..., FlowBundle], tmp_path: Path, backend: str
) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs {backend} beside Keras")
    flow_bundle, scaling = save_flows(), bundle.scaling
    rows, counters = raw_windows(20)
    flows = np.random.default_rng(1).random((20, flow_bundle.spec.features), np.float32)
    given, out = tmp_path / "in.npz", tmp_path / "out.npz"
    np.savez(given, rows=scaling.transform_rows(rows), counters=scaling.transform_counters(counters),
             flows=flows)  # fmt: skip
    subprocess.run(
        [sys.executable, "-c", _ON_ANOTHER_BACKEND, bundle.path, flow_bundle.path, given, out],
        cwd=ROOT, check=True, env={**os.environ, "KERAS_BACKEND": backend},
    )  # fmt: skip
    found = np.load(out)
    logits, families = Detector(bundle, "litert").score(rows, counters)
    assert np.abs(found["logits"][:, 0] - logits).max() < 1e-5
    assert np.abs(found["loop"][:, 0] - logits).max() < 1e-5
    assert np.abs(softmax(found["families"]) - families).max() < 1e-5
    assert np.abs(found["scores"] - flow_bundle.score(flows)).max() < 1e-5


def test_a_gateway_without_gpu_never_loads_tensorflow(bundle: Bundle) -> None:
    code = f"""
import sys
from models import Detector, load_bundle
from models.detector import runtimes
runtimes.has_gpu_file = lambda: False
assert Detector(load_bundle({str(bundle.path)!r})).description == "LiteRT on CPU"
print([name for name in ("tensorflow", "keras", "numba") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("name", ["nvidia0", "kfd", "dxg", "nvhost-gpu"])
def test_a_gpu_shows_by_its_device_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "nvidiactl").touch()
    assert not runtimes.has_gpu_file(tmp_path)
    (tmp_path / name).touch()
    assert runtimes.has_gpu_file(tmp_path)


def test_auto_takes_tensorflow_where_it_sees_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_gpu(monkeypatch, tmp_path, visible=True)
    assert runtimes.choose("auto", "auto") == ("tensorflow", "gpu")
    assert runtimes.choose("auto", "cpu") == ("litert", "cpu")
    assert runtimes.choose("litert", "auto") == ("litert", "cpu")
    assert runtimes.choose("tensorflow", "auto") == ("tensorflow", "gpu")
    assert runtimes.choose("tensorflow", "cpu") == ("tensorflow", "cpu")


def test_auto_takes_litert_where_tensorflow_sees_no_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_gpu(monkeypatch, tmp_path, visible=False)
    assert runtimes.choose("auto", "auto") == ("litert", "cpu")
    assert runtimes.choose("tensorflow", "auto") == ("tensorflow", "cpu")


def test_auto_takes_litert_where_tensorflow_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_gpu(monkeypatch, tmp_path, visible=True)
    hide(monkeypatch, "tensorflow")
    assert runtimes.choose("auto", "auto") == ("litert", "cpu")


@pytest.mark.parametrize(
    ("runtime", "device", "extra"),
    [("tensorflow", "auto", "gpu"), ("tensorflow", "cpu", "train"), ("auto", "gpu", "gpu")],
)
def test_a_missing_tensorflow_is_told_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle, runtime: str, device: str, extra: str
) -> None:
    hide(monkeypatch, "tensorflow")
    said = refusal(bundle, runtime, device)
    assert said == f"TensorFlow is not installed: pip install 'ids-daemon[{extra}]'"


def test_a_missing_litert_is_told_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    assert refusal(bundle, "litert").endswith(": pip install ai-edge-litert")


@pytest.mark.parametrize("runtime", ["auto", "tensorflow"])
def test_a_gpu_that_is_not_there_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bundle: Bundle, runtime: str
) -> None:
    with_gpu(monkeypatch, tmp_path, visible=False)
    with pytest.raises(RuntimeUnavailable, match=r"no GPU is visible to TensorFlow.*ids-daemon\[gpu\]"):
        Detector(bundle, runtime, "gpu")  # type: ignore[arg-type]


def test_litert_is_not_asked_for_a_gpu(bundle: Bundle) -> None:
    assert refusal(bundle, "litert", "gpu").startswith("LiteRT scores on the CPU")


def test_keras_on_another_backend_is_told(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    import keras

    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert refusal(bundle, "tensorflow", "cpu") == "Keras runs on jax: unset KERAS_BACKEND"


def test_weights_of_another_network_are_refused(bundle: Bundle) -> None:
    other = replace(bundle, spec=replace(SPEC, dense=5))
    assert f"{bundle.path}/weights.npz: weight dense.kernel has shape" in refusal(other, "tensorflow", "cpu")


def test_a_flatbuffer_of_another_network_is_refused(bundle: Bundle) -> None:
    families = replace(bundle, spec=replace(SPEC, families=3))
    assert refusal(families, "litert").startswith(f"{bundle.path}/model.tflite: not the manifest's network")
    counters = replace(bundle, spec=replace(SPEC, counters=5))
    assert refusal(counters, "litert").startswith(f"{bundle.path}/model.tflite: cannot be run (")
    assert "no LiteRT model" in refusal(replace(bundle, tflite=b"nothing"), "litert")


def test_a_network_converted_for_any_batch_scores_alike(bundle: Bundle) -> None:
    import tensorflow as tf

    from models.network import arrays_to_weights, build

    network = build(SPEC, unroll=True)
    arrays_to_weights(network, bundle.weights())
    free = replace(bundle, tflite=tf.lite.TFLiteConverter.from_keras_model(network).convert())
    assert free.tflite != convert(SPEC, bundle.weights())
    rows, counters = raw_windows(70)
    found, wanted = (Detector(b, "litert").score(rows, counters)[0] for b in (free, bundle))
    assert np.abs(found - wanted).max() < 1e-5
