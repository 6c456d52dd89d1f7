"""Records by label from a folder, whole or in pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.training.windows.record_folder import RecordReader
from tests.models.flows import record, table
from tests.models.training.windows.test_dataset import label


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """benign.pcap and attack.pcap: a flow every 10 s for 250 s."""
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'ids-daemon[parquet]'")
    from capture import FlowWriter

    for name in ("benign", "attack"):
        with FlowWriter(str(tmp_path / f"{name}.pcap.parquet"), records=True) as writer:
            writer.write(table([record("10.0.0.1", "192.0.2.1", 10.0 * n) for n in range(26)]))
    return tmp_path


def test_a_benign_capture_is_cut_and_a_short_rest_joined(folder: Path) -> None:
    reader = RecordReader(folder, "native")
    labels = [label("benign.pcap", attack=False), label("attack.pcap"), label("none.pcap", attack=False)]
    cut = list(reader.cut(labels, 60.0))  # 250 s: three pieces of 60 and one of 70
    assert [one.path for one in cut] == ["benign.pcap"] * 4 + ["attack.pcap", "none.pcap"]
    parts = [reader.read(one) for one in cut]
    assert [len(part) for part in parts] == [6, 6, 6, 8, 26, 0]
    whole = reader.again(labels[0])
    assert np.concatenate(parts[:4]).tobytes() == whole.tobytes()
    assert reader.missing == ["none.pcap"]
    assert list(reader.cut(labels, 200.0)) == labels  # 250 s are nearer to one piece than to two


def test_reading_again_counts_for_nothing(folder: Path) -> None:
    reader, other = RecordReader(folder, "native"), RecordReader(folder, "native")
    one = label("benign.pcap", attack=False)
    for by in (reader, other):
        by.read(one)
    other.again(one)
    assert reader.digest() == other.digest()
    other.read(one)
    assert reader.digest() != other.digest()
