"""The bench of the meter runs to its end on a small capture of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import meter
from tests.bench.traffic import write_many_flows

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_meter_is_measured_beside_what_is_installed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.meter", "--packets", "2000", "--rounds", "1"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "140"},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [
        [cell.strip() for cell in line.split("│")[1:]] for line in done.stdout.splitlines() if "│" in line
    ]
    ours = [row for row in rows if row[1] == "ids-daemon's meter"]
    assert [row[0] for row in ours] == ["mixed", "SYN flood", "666 live flows"]
    assert all(row[2] == "2,000" for row in ours)
    # Every peer is measured or said to be left out.
    for peer in ("cicflowmeter", "tcpdump", "argus", "NFStream"):
        assert peer in done.stdout
    for line in ("Warm start", "flows -o F.csv", "flows -o F.parquet"):
        assert line in done.stdout


def test_a_capture_with_blanks_in_its_name_is_given_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    meter.OUT.mkdir(parents=True)
    named = tmp_path / "a b.pcap"
    write_many_flows(named, 12, 4)
    given = meter.without_blanks(named)
    assert " " not in str(given) and given.read_bytes() == named.read_bytes()
    assert meter.without_blanks(meter.OUT / "c.pcap") == meter.OUT / "c.pcap"


def test_a_slice_has_the_first_packets_of_a_classic_capture(tmp_path: Path) -> None:
    whole, piece = tmp_path / "whole.pcap", tmp_path / "piece.pcap"
    write_many_flows(whole, 12, 4)
    assert meter.copy_packets(whole, piece, 5)
    assert (meter.count_packets(whole), meter.count_packets(piece)) == (12, 5)
    assert whole.read_bytes().startswith(piece.read_bytes())
    whole.write_bytes(b"\x0a\x0d\x0d\x0a" + bytes(60))
    assert not meter.copy_packets(whole, piece, 5)


@pytest.mark.slow
def test_an_epoch_of_synthetic_windows_is_measured_at_each_batch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'ids-daemon[train]'")
    from tests.bench import fit

    data = fit.synthetic(300, 40)
    assert data.rows.shape == (300, 16, 85) and not data.rows.table[0].any()
    assert (data.family >= 0).sum() == data.label.sum() == 150
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")  # what the bench sets goes with the test
    monkeypatch.setattr(fit, "epoch_seconds", lambda data, batch, epochs: ([2.0, 1.5], [3.0, 1.0]))
    monkeypatch.setattr(sys, "argv", ["fit", "--windows", "300", "--rows", "40", "--batch", "64,128"])
    fit.main()
    rows = [line.split(" | ")[:5] for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows == [["| 300", batch, "2", "1", "300"] for batch in ("64", "128")]
