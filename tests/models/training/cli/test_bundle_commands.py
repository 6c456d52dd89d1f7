"""`ids-train calibrate`, `inspect`, `export` and `sign`, as a person types them."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture import FlowWriter
from capture.columns import COLUMNS, FEATURES
from models.bundle import Bundle, load_bundle
from models.calibration import covered_days
from models.flow_bundle import FlowBundle, load_flow_bundle
from models.litert import operators
from models.scorer import Scorer
from models.training.cli import main
from tests.models.flows import SECOND, random_records

Save = Callable[..., Bundle]
SaveFlows = Callable[..., FlowBundle]

HOUR_NS = 3600 * SECOND


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> list[str]:
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out.splitlines()


def refusal(capsys: pytest.CaptureFixture[str], code: int, *arguments: str | Path) -> str:
    assert main([str(argument) for argument in arguments]) == code
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("ids-train: ")


def write_records(path: Path, records: np.ndarray) -> Path:
    with FlowWriter(str(path), records=True) as writer:
        writer.write(records)
    return path


@pytest.fixture
def traffic() -> np.ndarray:
    """Records of five hours."""
    return random_records(300, 3, seconds=5 * 3600.0)


def highest_by_host_hour(bundle: Bundle, records: np.ndarray) -> dict[tuple[bytes, int], float]:
    """What every finding of the daemon's scorer says, were its threshold below all."""
    found: dict[tuple[bytes, int], float] = {}
    for finding in Scorer(bundle, threshold=-1e9).push(records):
        key = finding.host, finding.time_ns // HOUR_NS
        found[key] = max(found.get(key, -np.inf), finding.score)
    return found


def test_calibrate_keeps_the_budget_on_what_the_daemon_would_have_found(
    save: Save, parts: dict[str, Any], traffic: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    low = {**parts["calibration"], "threshold": -9.0}
    bundle, out = save(report={"index.html": b"<p>"}, calibration=low), tmp_path / "site"
    flows = write_records(tmp_path / "benign.parquet", traffic)
    first, *warning, was, wrote = told(
        capsys, "calibrate", bundle.path, flows, "--budget", "24/day", "--out", out
    )
    new = load_bundle(out)
    days = covered_days(traffic["time_ns"])
    hours = int(days * 24)
    scores = np.array(list(highest_by_host_hour(bundle, traffic).values()))
    threshold = new.calibration["threshold"]
    # One false alarm an hour of traffic: so many host hours may be above, and the next is the threshold.
    assert threshold == np.sort(scores)[::-1][hours]
    assert first.startswith(f"threshold {threshold:.4f}: {hours} false alarms in {days:.3g} days, so ")
    assert (was, wrote) == ("it was -9.0000", f"wrote {out}")
    assert all(line.startswith("warning: so little traffic does not rule out ") for line in warning)
    made_of = new.calibration["made_of"]
    assert (made_of["budget"], made_of["alarms"], made_of["hours"]) == ("24/day", hours, round(days * 24, 2))
    assert made_of["count"] == len(scores)
    assert made_of["hosts"] == len({host for host, _ in highest_by_host_hour(bundle, traffic)})
    assert made_of["flows_sha256"] == {"benign.parquet": hashlib.sha256(flows.read_bytes()).hexdigest()}
    # All else is the old bundle's, which stays as it was.
    assert (new.name, new.tflite, new.weights_file) == ("site", bundle.tflite, bundle.weights_file)
    assert (out / "report" / "index.html").read_bytes() == b"<p>"
    assert new.manifest["versions"] == bundle.manifest["versions"]
    assert load_bundle(bundle.path).calibration["threshold"] == -9.0
    kept = {k: v for k, v in new.calibration.items() if k not in ("threshold", "made_of")}
    assert kept == {k: v for k, v in bundle.calibration.items() if k != "threshold"}


def test_calibrate_lowers_no_threshold_by_a_few_quiet_hours(
    save: Save, traffic: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = save()
    flows = write_records(tmp_path / "benign.parquet", traffic)
    above = sum(score > 1.0 for score in highest_by_host_hour(bundle, traffic).values())
    said = told(capsys, "calibrate", bundle.path, flows, "--budget", "5/day", "--out", tmp_path / "site")
    assert above == 0
    assert said[0].startswith("threshold 1.0000: 0 false alarms in ")
    assert said[-2] == "it stays: so little traffic does not show that a lower one keeps the budget"
    assert load_bundle(tmp_path / "site").calibration["threshold"] == 1.0


def test_calibrate_takes_traffic_in_several_files_in_order_of_time(
    save: Save, traffic: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = save()
    parts = [
        write_records(tmp_path / f"{i}.parquet", part) for i, part in enumerate(np.array_split(traffic, 3))
    ]
    whole = write_records(tmp_path / "whole.parquet", traffic)
    options = ["--budget", "10%", "--out"]
    told(capsys, "calibrate", bundle.path, *parts, *options, tmp_path / "parts")
    told(capsys, "calibrate", bundle.path, whole, *options, tmp_path / "whole")
    found = [load_bundle(tmp_path / name).calibration for name in ("parts", "whole")]
    assert found[0]["threshold"] == found[1]["threshold"]
    line = refusal(capsys, 1, "calibrate", bundle.path, *parts[::-1], *options, tmp_path / "other")
    assert line == f"{parts[1]}: begins before the records in front of it end: give them in order"


def test_calibrate_refuses_what_gives_no_threshold(
    save: Save, traffic: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = save().path, tmp_path / "out"
    flows = write_records(tmp_path / "benign.parquet", traffic)
    line = refusal(capsys, 1, "calibrate", path, flows, "--budget", "1/day", "--out", out)
    assert line.startswith("a budget of 1/day cannot be told from 0.")
    none = write_records(tmp_path / "none.parquet", traffic[:0])
    line = refusal(capsys, 1, "calibrate", path, none, "--budget", "1/day", "--out", out)
    assert line == f"{none}: no window falls due in it: give longer traffic"
    line = refusal(
        capsys, 1, "calibrate", path, flows, "--budget", "1/day", "--out", out, "--home", "10.0.0.0/99"
    )
    assert "10.0.0.0/99" in line
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"")
    line = refusal(capsys, 1, "calibrate", path, flows, "--budget", "1/day", "--out", tmp_path / "photos")
    assert line.endswith("photos: is there and no bundle: name a new folder")
    assert not out.exists()
    with pytest.raises(SystemExit) as stopped:
        main(["calibrate", str(path), str(flows), "--budget", "often", "--out", str(out)])
    assert stopped.value.code == 2
    assert "'often' is no budget: 3/day, or a share" in capsys.readouterr().err


@pytest.fixture
def flow_bundle(save_flows: SaveFlows) -> FlowBundle:
    """A bundle of flows that reads a data set of nine features."""
    low, high = [0.0] * 9, [1.0] * 9
    preprocessing = {
        "features": list(FEATURES[:9]),
        "protocol": False,
        "scale": "minmax",
        "columns": {"low": low, "high": high},
        "left_out": {},
    }
    return save_flows(preprocessing=preprocessing)


def write_set(path: Path, values: np.ndarray, labels: list[str]) -> Path:
    lines = [",".join([*(column.name for column in COLUMNS), "Label"])]
    lines += [",".join([*(f"{value:.6f}" for value in row), label]) for row, label in zip(values, labels)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_calibrate_sets_the_threshold_of_flows_by_the_benign_ones(
    flow_bundle: FlowBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.random.default_rng(2).random((400, len(COLUMNS))).astype(np.float32).round(6)
    labels = ["BENIGN"] * 300 + ["DoS Hulk"] * 100
    flows = write_set(tmp_path / "set.csv", values, labels)
    lines = told(capsys, "calibrate", flow_bundle.path, flows, "--budget", "0.01", "--out", tmp_path / "new")
    new = load_flow_bundle(tmp_path / "new")
    benign = flow_bundle.score(np.ascontiguousarray(values[:300, :9]))
    assert new.threshold == pytest.approx(np.sort(benign)[::-1][3], abs=1e-6)
    assert lines[0].startswith(f"threshold {new.threshold:.4f}: 3 false alarms in 300 benign flows, so ")
    assert lines[1].startswith("warning: so little traffic does not rule out 0.0")
    assert lines[2] == "it was 0.75"
    assert new.calibration["made_of"]["count"] == 300
    line = refusal(
        capsys, 1, "calibrate", flow_bundle.path, flows, "--budget", "3/day", "--out", tmp_path / "other"
    )
    assert line == "a budget by the day needs times, which these flows lack: give a share, such as 0.001"


def test_calibrate_refuses_a_bundle_whose_preprocessing_is_another_networks(
    save_flows: SaveFlows, flow_bundle: FlowBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flows = write_set(tmp_path / "set.csv", np.zeros((9, len(COLUMNS))), ["BENIGN"] * 9)
    data = json.loads(json.dumps(flow_bundle.preprocessing))
    data["features"], data["columns"] = data["features"][1:], {"low": [0.0] * 8, "high": [1.0] * 8}
    path = save_flows("other", preprocessing=data).path
    line = refusal(capsys, 1, "calibrate", path, flows, "--budget", "0.5", "--out", tmp_path / "new")
    assert line == f"{path}/preprocessing.json: gives 8 features, the network takes 9: fit the bundle again"
    path = save_flows("odd", preprocessing={"names": []}).path
    line = refusal(capsys, 1, "calibrate", path, flows, "--budget", "0.5", "--out", tmp_path / "new")
    assert line == f"{path}/preprocessing.json: features is no list of names: fit the bundle again"


def test_inspect_tells_of_a_bundle(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = save()
    lines = told(capsys, "inspect", bundle.path)
    assert lines[0] == "bundle:    small-1"
    (bundle.path / "weights.npz").write_bytes(b"")
    assert "weights.npz: its SHA-256 is not the manifest's" in refusal(capsys, 1, "inspect", bundle.path)


def test_a_reader_that_leaves_is_no_error_of_ours() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = "import sys; from models.training.cli import main; sys.exit(main(['inspect', 'native']))"
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_inspect_loads_no_tensorflow() -> None:
    code = """
import sys
from models.training.cli import main
assert main(["inspect", "native"]) == 0
print([name for name in ("tensorflow", "keras", "numba", "sklearn", "pyarrow") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_export_writes_the_flatbuffer_as_it_is(
    save: Save, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, out = save(), tmp_path / "model.tflite"
    lines = told(capsys, "export", bundle.path, "--format", "litert", "--out", out)
    assert lines == [f"wrote {out}"]
    assert out.read_bytes() == bundle.tflite


@pytest.mark.slow
def test_export_in_8_bits_learns_its_ranges_from_traffic(
    save: Save, traffic: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, out = save(), tmp_path / "model.tflite"
    flows = write_records(tmp_path / "flows.parquet", traffic)
    lines = told(capsys, "export", bundle.path, "--format", "int8", "--data", flows, "--out", out)
    assert "QUANTIZE" in operators(out.read_bytes())
    assert lines[0] == f"{len(out.read_bytes()):,} bytes, {len(bundle.tflite):,} in float32"
    assert [line.split(":")[0] for line in lines[2:]] == ["decided otherwise", f"wrote {out}"]


def test_export_refuses_in_one_line(save: Save, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save().path
    line = refusal(capsys, 1, "export", path, "--format", "int8", "--out", tmp_path / "x")
    assert line == "int8 needs the traffic that the ranges of its numbers come from: give --data"
    line = refusal(capsys, 1, "export", path, "--format", "litert", "--out", tmp_path)
    assert line == f"{tmp_path}: is a folder: name a file in it"


def test_sign_and_inspect_with_the_public_half(
    save: Save,
    traffic: np.ndarray,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("cryptography", reason="needs cryptography: pip install 'ids-daemon[signing]'")
    from tests.models.test_signing import write_pair

    private, public = write_pair(tmp_path, "ours")
    path = save().path
    assert told(capsys, "sign", path, "--key", private) == [f"signed small-1: wrote {path}/manifest.sig"]
    assert f"signature: by {public}" in told(capsys, "inspect", path, "--key", public)
    flows = write_records(tmp_path / "benign.parquet", traffic)
    said = told(capsys, "calibrate", path, flows, "--budget", "10%", "--out", tmp_path / "site")
    assert said[-1] == "the signature does not hold for it: `ids-train sign` signs it anew"
    assert not (tmp_path / "site" / "manifest.sig").exists()
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    line = refusal(capsys, 2, "sign", path, "--key", private)
    assert line.endswith("pip install 'ids-daemon[signing]'")
