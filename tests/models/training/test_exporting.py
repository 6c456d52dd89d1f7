"""A network in another form gives the bundle's logits; 8 bits say what they cost."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.bundle import Bundle
from models.errors import BundleError, PackageMissing, TrainingError
from models.flow_bundle import FlowBundle
from models.litert import Interpreted, builtin_only, operators
from models.training import exporting
from models.training.exporting import Examples, random_inputs, run_onnx, to_int8, to_keras, to_onnx

Save = Callable[..., Bundle]
SaveFlows = Callable[..., FlowBundle]


def need_onnx() -> None:
    for package in ("tf2onnx", "onnx", "onnxruntime"):
        pytest.importorskip(package, reason="needs ONNX: pip install 'ids-daemon[onnx]'")


@pytest.mark.slow
def test_onnx_gives_the_logits_of_the_bundle(save: Save, save_flows: SaveFlows) -> None:
    need_onnx()
    for bundle in (save(), save_flows()):
        inputs = random_inputs(bundle, 64)
        found = run_onnx(to_onnx(bundle), inputs)
        shapes = {name: values.shape[1:] for name, values in inputs.items()}
        wanted = Interpreted(bundle.tflite, "", shapes, {"logit": (1,)}).run(**inputs)
        assert found.keys() == wanted.keys()
        for name, values in wanted.items():
            assert np.abs(found[name] - values).max() < 1e-5
            assert np.std(values) > 1e-3


@pytest.mark.slow
def test_onnx_that_differs_is_not_written(save_flows: SaveFlows, monkeypatch: pytest.MonkeyPatch) -> None:
    need_onnx()
    monkeypatch.setattr(exporting, "run_onnx", lambda data, inputs: {"logit": np.full((100, 1), 1e9)})
    with pytest.raises(TrainingError, match=r"ONNX differs from Keras by .* in logit, more than 1e-05"):
        to_onnx(save_flows())


def test_missing_onnx_is_told_with_the_line_that_installs_it(
    save_flows: SaveFlows, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = save_flows()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PackageMissing, match=r"^tf2onnx is missing: pip install 'ids-daemon\[onnx\]'$"):
        to_onnx(bundle)


def test_keras_gets_a_file_of_its_own_kind(save_flows: SaveFlows, tmp_path: Path) -> None:
    import keras

    bundle = save_flows()
    data = to_keras(bundle)
    assert "config.json" in zipfile.ZipFile(io.BytesIO(data)).namelist()
    path = tmp_path / "network.keras"
    path.write_bytes(data)
    inputs = random_inputs(bundle, 5)
    logits = np.asarray(keras.saving.load_model(path)(inputs)["logit"], np.float64)[:, 0]
    assert 1 / (1 + np.exp(-logits)) == pytest.approx(bundle.score(inputs["features"]), abs=1e-5)


@pytest.mark.slow
def test_8_bits_say_what_they_cost(save_flows: SaveFlows) -> None:
    bundle = save_flows()
    x = random_inputs(bundle, 512)["features"]
    scores = bundle.score(x)
    threshold = float(np.median(scores))
    bundle, attack = save_flows(threshold=threshold), scores > np.quantile(scores, 0.4)
    flatbuffer, lines = to_int8(bundle, Examples({"features": x}, attack))
    builtin_only(flatbuffer, "int8")
    assert {"QUANTIZE", "DEQUANTIZE"} <= operators(flatbuffer)
    assert lines[0] == f"{len(flatbuffer):,} bytes, {len(bundle.tflite):,} in float32"
    assert lines[1].startswith("logits of 256 examples not used for it: off by 0.")
    assert [line.split(":")[0] for line in lines[2:]] == ["decided otherwise", "recall", "false alarms"]
    recall = (scores[1::2] > threshold)[attack[1::2]].mean()
    assert lines[3].startswith(f"recall: {recall:.4%} in float32, ")
    assert lines[4].startswith("false alarms: 0.0000% in float32, ")


def test_too_few_examples_for_8_bits_are_refused(save_flows: SaveFlows) -> None:
    bundle = save_flows()
    with pytest.raises(TrainingError, match="100 examples are too few to quantise by: give 256 or more"):
        to_int8(bundle, Examples(random_inputs(bundle, 100)))


def test_examples_are_filled_up_to_whole_batches() -> None:
    examples = Examples({"features": np.arange(200, dtype=np.float32).reshape(100, 2)})
    first, second = examples.batches(np.arange(5, 75))
    assert np.array_equal(first["features"], examples.inputs["features"][5:69])
    assert np.array_equal(second["features"][:6], examples.inputs["features"][69:75])
    assert not second["features"][6:].any()


def test_a_flatbuffer_of_other_outputs_is_refused(save_flows: SaveFlows) -> None:
    tflite = save_flows().tflite
    with pytest.raises(BundleError, match=r"^x: cannot be run \('score'\): convert the network again$"):
        Interpreted(tflite, "x", {"features": (9,)}, {"score": (1,)})
    with pytest.raises(BundleError, match=r"^x: not the manifest's network"):
        Interpreted(tflite, "x", {"features": (9,)}, {"logit": (2,)})
