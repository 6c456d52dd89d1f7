"""The bench of scoring runs to its end and names what it leaves out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import score

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_each_runtime_is_measured_or_said_to_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(score, "RUNTIMES", (*score.RUNTIMES[:1], score.Runtime("other", "no_such_package")))
    out = tmp_path / "figures.json"
    batches = ["--batches", "1", "70", "--seconds", "0.03"]
    monkeypatch.setattr(sys, "argv", ["score", *batches, "--out", str(out)])
    score.main()
    lines = capsys.readouterr().out.splitlines()
    figures = json.loads(out.read_text())
    assert list(figures) == ["LiteRT on CPU"]
    rates, cpu = figures["LiteRT on CPU"]["windows_s"], figures["LiteRT on CPU"]["windows_cpu_s"]
    assert rates.keys() == {"1", "70"} and min(rates.values()) > 0
    assert lines[2].split() == ["1", f"{rates['1']:,.0f}", "(1.00)"]
    assert lines[3].split() == ["70", f"{rates['70']:,.0f}", "(1.00)"]
    assert lines[4] == "windows a CPU second (ratio to the first)"
    assert lines[7].split() == ["70", f"{cpu['70']:,.0f}", "(1.00)"]
    assert lines[8] == "other: left out, no_such_package is not installed"


@pytest.mark.slow
def test_jax_is_measured_without_tensorflow_or_the_base(tmp_path: Path) -> None:
    pytest.importorskip("jax", reason="needs jax beside Keras")
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "for name in ('tensorflow', 'ai_edge_litert', 'pydantic', 'numba'):\n"
        "    sys.modules[name] = None\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.score", "--runtime", "jax", "--batches", "3", "--seconds", "0"],
        cwd=ROOT, env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["device"].startswith("Keras and JAX ")
    assert found["windows_s"]["3"] > 0
