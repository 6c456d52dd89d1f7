"""Flow files: text as CICFlowMeter writes it, Parquet, whole records, and failures to write."""

from __future__ import annotations

import csv
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from capture.columns import COLUMNS, CSV_HEADER, FEATURES, FLOW_DTYPE, Close, Kind, feature_matrix
from capture.errors import ExtraMissing, FlowFileError
from capture.flowfile import FlowWriter, address_column
from capture.records import read_records
from tests.packets import START_NS

ROOT = Path(__file__).parents[2]
MAPPED = bytes(10) + b"\xff\xff"


def records_of(count: int, *, seed: int = 1) -> np.ndarray:
    """Random records that use every field; whole numbers in the columns of counts."""
    random = np.random.default_rng(seed)
    records = np.frombuffer(random.bytes(count * FLOW_DTYPE.itemsize), FLOW_DTYPE).copy()
    records["start_ns"] = START_NS + random.integers(0, 10**15, count)
    records["kind"] = random.choice([Kind.FINAL, Kind.SNAPSHOT, Kind.EVICTED], count)
    records["close"] = Close.EXPIRED
    matrix = feature_matrix(records)
    for index, column in enumerate(COLUMNS):
        values = random.random(count) * 10.0 ** random.integers(-3, 12, count)
        matrix[:, index] = np.rint(values) if column.integer else values
    return records


def one_record() -> np.ndarray:
    """A final TCP flow 10.0.0.1:40000 -> 10.0.0.2:80 of one packet."""
    records = np.zeros(1, FLOW_DTYPE)
    records["src"] = np.frombuffer(MAPPED + bytes([10, 0, 0, 1]), np.uint8)
    records["dst"] = np.frombuffer(MAPPED + bytes([10, 0, 0, 2]), np.uint8)
    records["src_port"], records["dst_port"] = 40000, 80
    records["protocol"] = records["csv_protocol"] = 6
    records["start_ns"] = START_NS + 1_234_567
    records["flow_bytes_s"], records["flow_packets_s"] = np.nan, np.inf
    records["total_fwd_packet"] = 1
    records["fwd_packet_length_mean"] = 0.1
    return records


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_has_cicflowmeters_header_and_line_ends(tmp_path):
    with FlowWriter(tmp_path / "flows.csv") as writer:
        writer.write(one_record())
    header, row, rest = (tmp_path / "flows.csv").read_bytes().split(b"\n")
    assert header.decode() == ",".join(CSV_HEADER)
    assert row.count(b",") == 88
    assert rest == b""


def test_csv_row_is_written_as_cicflowmeter_writes_it(tmp_path):
    with FlowWriter(tmp_path / "flows.csv") as writer:
        writer.write(one_record())
        assert writer.rows == 1
    (row,) = rows_of(tmp_path / "flows.csv")
    assert row["Flow ID"] == "10.0.0.1-10.0.0.2-40000-80-6"
    assert (row["Src IP"], row["Src Port"]) == ("10.0.0.1", "40000")
    assert (row["Dst IP"], row["Dst Port"]) == ("10.0.0.2", "80")
    assert row["Protocol"] == "6"
    assert row["Timestamp"] == "2017-07-07 13:00:00.001234"
    assert row["Total Fwd Packet"] == "1"
    assert row["Fwd Packet Length Mean"] == "0.1"
    assert row["Flow Bytes/s"] == "NaN"
    assert row["Flow Packets/s"] == "Infinity"
    assert row["Flow IAT Mean"] == "0.0"
    assert row["Label"] == "NeedManualLabel"


def test_flow_id_follows_the_key_and_protocol_is_the_one_of_the_csv(tmp_path):
    records = one_record()
    records["key_reversed"], records["protocol"], records["csv_protocol"] = 1, 132, 0
    with FlowWriter(tmp_path / "flows.csv") as writer:
        writer.write(records)
    (row,) = rows_of(tmp_path / "flows.csv")
    assert row["Flow ID"] == "10.0.0.2-10.0.0.1-80-40000-0"
    assert row["Src IP"] == "10.0.0.1"
    assert row["Protocol"] == "0"


def test_snapshots_stay_out_and_evicted_flows_are_final(tmp_path):
    records = np.repeat(one_record(), 3)
    records["kind"] = [Kind.SNAPSHOT, Kind.EVICTED, Kind.FINAL]
    records["src_port"] = [1, 2, 3]
    with FlowWriter(tmp_path / "flows.csv") as writer:
        writer.write(records)
        writer.write(records[:1])
        writer.write(records[:0])
        assert writer.rows == 2
    assert [row["Src Port"] for row in rows_of(tmp_path / "flows.csv")] == ["2", "3"]


def test_every_number_of_the_csv_reads_back_as_it_was(tmp_path):
    records = records_of(500)
    records["kind"] = Kind.FINAL
    matrix = feature_matrix(records)
    matrix[0] = np.nan
    matrix[1] = -np.inf
    matrix[2] = -0.5
    with FlowWriter(tmp_path / "flows.csv") as writer:
        writer.write(records)
    words = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
    for row, expected in zip(rows_of(tmp_path / "flows.csv"), matrix):
        texts = [row[column.name] for column in COLUMNS]
        values = [words[text] if text in words else float(text) for text in texts]
        np.testing.assert_array_equal(values, expected)
    assert rows_of(tmp_path / "flows.csv")[5]["Flow Duration"] == str(int(matrix[5, 0]))


def test_counts_have_no_fraction_and_real_numbers_always_one(tmp_path):
    records = one_record()
    feature_matrix(records)[:] = 3
    with FlowWriter(tmp_path / "flows.csv") as writer:
        writer.write(records)
    (row,) = rows_of(tmp_path / "flows.csv")
    assert {row[column.name] for column in COLUMNS if column.integer} == {"3"}
    assert {row[column.name] for column in COLUMNS if not column.integer} == {"3.0"}


@pytest.mark.parametrize(
    ("packed", "text"),
    [
        (MAPPED + bytes([192, 0, 2, 255]), "192.0.2.255"),
        (bytes(16), "::"),
        (bytes(15) + b"\1", "::1"),
        (bytes.fromhex("20010db8000000000001000000000001"), "2001:db8::1:0:0:1"),
        (bytes.fromhex("20010db800010001000100010001000f"), "2001:db8:1:1:1:1:1:f"),
    ],
)
def test_addresses_are_dotted_or_rfc_5952(packed, text):
    assert address_column(np.frombuffer(packed, np.uint8).reshape(1, 16)).to_pylist() == [text]


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01 00:00:00"),
        (START_NS, "2017-07-07 13:00:00"),
        (START_NS + 999, "2017-07-07 13:00:00"),
        (START_NS + 120_000_000, "2017-07-07 13:00:00.120"),
        (START_NS + 120_001_000, "2017-07-07 13:00:00.120001"),
        (START_NS + 1_000, "2017-07-07 13:00:00.000001"),
        (-1, "1969-12-31 23:59:59.999999"),
    ],
)
def test_time_has_only_the_digits_that_java_prints(tmp_path, nanoseconds, text):
    records = one_record()
    records["start_ns"] = nanoseconds
    with FlowWriter(tmp_path / "flows.csv") as writer:
        writer.write(records)
    assert rows_of(tmp_path / "flows.csv")[0]["Timestamp"] == text


def test_community_id_is_a_last_column_of_the_rows_written(tmp_path):
    records = np.repeat(one_record(), 3)
    records["kind"] = [Kind.SNAPSHOT, Kind.FINAL, Kind.FINAL]
    records["src_port"] = [7, 8, 9]

    def community_id(rows: np.ndarray) -> list[str]:
        return [f"1:{port}" for port in rows["src_port"].tolist()]

    with FlowWriter(tmp_path / "flows.csv", community_id=community_id) as writer:
        writer.write(records)
    rows = rows_of(tmp_path / "flows.csv")
    assert list(rows[0]) == [*CSV_HEADER, "Community ID"]
    assert [row["Community ID"] for row in rows] == ["1:8", "1:9"]


def test_parquet_of_flows_has_the_same_columns_with_types(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    records = records_of(100)
    records["csv_protocol"] = records["csv_protocol"] % 2 * 6
    with FlowWriter(tmp_path / "flows.parquet", community_id=lambda rows: ["1:x"] * len(rows)) as writer:
        writer.write(records)
    with FlowWriter(tmp_path / "flows.csv", community_id=lambda rows: ["1:x"] * len(rows)) as writer:
        writer.write(records)
    table = parquet.read_table(tmp_path / "flows.parquet")
    rows = rows_of(tmp_path / "flows.csv")
    assert table.column_names == list(rows[0])
    assert str(table.schema.field("Timestamp").type) == "timestamp[us, tz=UTC]"
    assert str(table.schema.field("Flow Duration").type) == "int64"
    for name in ("Flow ID", "Src IP", "Dst IP", "Label", "Community ID"):
        assert table.column(name).to_pylist() == [row[name] for row in rows]
    for name in ("Src Port", "Protocol", *(column.name for column in COLUMNS)):
        np.testing.assert_array_equal(table.column(name).to_numpy(), [float(row[name]) for row in rows])


def test_records_read_back_bit_for_bit_in_emission_order(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    records = records_of(70_000)
    feature_matrix(records)[::7, 3] = np.nan
    path = tmp_path / "records.parquet"
    with FlowWriter(path, records=True) as writer:
        for start in range(0, len(records), 999):
            writer.write(records[start : start + 999])
        assert writer.rows == 70_000
    assert read_records(path).tobytes() == records.tobytes()


def test_records_file_without_records_is_read(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    with FlowWriter(tmp_path / "records.parquet", records=True):
        pass
    empty = read_records(tmp_path / "records.parquet")
    assert empty.dtype == FLOW_DTYPE
    assert len(empty) == 0


def test_records_say_which_meter_made_them(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    path = tmp_path / "records.parquet"
    with FlowWriter(path, records=True, meter="cicflowmeter") as writer:
        writer.write(records_of(3))
    assert len(read_records(path)) == len(read_records(path, "cicflowmeter")) == 3
    with pytest.raises(FlowFileError, match="these records are of the meter cicflowmeter, not native"):
        read_records(path, "native")


def test_writer_keeps_no_reference_to_the_records(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    records = records_of(10)
    expected = records.tobytes()
    with FlowWriter(tmp_path / "records.parquet", records=True) as writer:
        writer.write(records)
        records[:] = 0
    assert read_records(tmp_path / "records.parquet").tobytes() == expected


def test_what_is_no_records_file_is_refused(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "flows.parquet"
    with pytest.raises(FlowFileError, match=r"flows\.parquet: cannot be read: No such file"):
        read_records(path)
    path.write_text("src,dst\n")
    with pytest.raises(FlowFileError, match="is not a whole Parquet file"):
        read_records(path)
    with FlowWriter(path) as writer:
        writer.write(one_record())
    with pytest.raises(FlowFileError, match="holds no flow records"):
        read_records(path)
    table = pa.table({"src": [1]}, schema=pa.schema([("src", pa.int64())], {"ids-daemon.flow-records": "1"}))
    parquet.write_table(table, path)
    with pytest.raises(FlowFileError, match="of another version"):
        read_records(path)
    with FlowWriter(path, records=True) as writer:
        writer.write(records_of(1000))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FlowFileError, match="is not a whole Parquet file"):
        read_records(path)


@pytest.mark.parametrize(("name", "records"), [("flows.json", False), ("flows", False), ("flows.csv", True)])
def test_other_names_are_refused(tmp_path, name, records):
    with pytest.raises(FlowFileError, match="give it a name that ends in"):
        FlowWriter(tmp_path / name, records=records)
    assert list(tmp_path.iterdir()) == []


def test_parquet_without_pyarrow_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExtraMissing, match=r"pip install 'ids-daemon\[parquet\]'"):
        FlowWriter(tmp_path / "flows.parquet")
    assert list(tmp_path.iterdir()) == []


def test_folder_that_does_not_exist_is_told_at_once(tmp_path):
    with pytest.raises(FlowFileError, match=r"no/flows\.csv: cannot be written: No such file or directory"):
        FlowWriter(tmp_path / "no" / "flows.csv")


def test_file_appears_when_closed_also_after_an_exception(tmp_path):
    path = tmp_path / "flows.csv"
    path.write_text("old")
    with pytest.raises(KeyError), FlowWriter(path) as writer:
        writer.write(one_record())
        assert path.read_text() == "old"
        raise KeyError
    assert len(rows_of(path)) == 1
    assert list(tmp_path.iterdir()) == [path]
    writer.close()
    with pytest.raises(ValueError, match="is closed"):
        writer.write(one_record())


@pytest.mark.parametrize("name", ["flows.csv", "flows.parquet"])
def test_without_a_row_an_exception_leaves_what_was_there(tmp_path, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    path = tmp_path / name
    path.write_text("old")
    with pytest.raises(KeyError), FlowWriter(path):
        raise KeyError
    with FlowWriter(path) as writer:
        writer.write(one_record())
        writer.discard()
        writer.discard()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with FlowWriter(path):
        pass  # a capture without flows
    assert path.read_bytes() != b"old"


def test_a_link_stays_one_and_the_file_is_where_it_leads(tmp_path):
    (tmp_path / "data").mkdir()
    link, file = tmp_path / "latest.csv", tmp_path / "data" / "of-today"
    link.symlink_to("data/of-today")
    for rows in (1, 2):  # there is no file at first
        with FlowWriter(link) as writer:
            writer.write(np.repeat(one_record(), rows))
        assert link.is_symlink() and len(rows_of(file)) == rows
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("name", [".csv", ".CSV", ".parquet"])
def test_a_name_may_be_an_ending_alone(tmp_path, name):
    if name == ".parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    with FlowWriter(tmp_path / name) as writer:
        writer.write(one_record())
    start = (tmp_path / name).read_bytes()[:4]
    assert start == (b"PAR1" if name == ".parquet" else b"Flow")


def test_wrong_dtype_is_a_programming_error(tmp_path):
    with FlowWriter(tmp_path / "flows.csv") as writer, pytest.raises(TypeError, match="FLOW_DTYPE"):
        writer.write(np.zeros(3))


FULL_DISK = """
import resource, sys
import numpy as np
from capture.columns import FLOW_DTYPE
from capture.errors import ExtraMissing, FlowFileError
from capture.flowfile import FlowWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
records = np.frombuffer(np.random.default_rng(1).bytes(5000 * FLOW_DTYPE.itemsize), FLOW_DTYPE).copy()
records["kind"], records["start_ns"] = 0, 0
for name in FLOW_DTYPE.names:
    if FLOW_DTYPE[name].kind == "f":
        records[name] = np.random.default_rng(2).random(5000)
try:
    with FlowWriter(sys.argv[1], records=sys.argv[2] == "records") as writer:
        writer.write(records)
except FlowFileError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("name", "kind"), [("flows.csv", "flows"), ("flows.parquet", "flows"), ("flows.parquet", "records")]
)
def test_full_disk_gives_one_line_and_leaves_nothing(tmp_path, name, kind):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, tmp_path / name, kind],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert done.stdout == (
        f"{tmp_path / name}: cannot be written: File too large; name a file in a writable folder with room\n"
    )
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_named_pipe_is_written_in_place(tmp_path):
    path = tmp_path / "flows.csv"
    os.mkfifo(path)
    reader = subprocess.Popen(["cat", path], stdout=subprocess.PIPE, text=True)
    with FlowWriter(path) as writer:
        writer.write(one_record())
    output, _ = reader.communicate(timeout=30)
    assert output.count("\n") == 2
    assert path.is_fifo()


def test_every_feature_has_its_place_in_the_row(tmp_path):
    records = one_record()
    feature_matrix(records)[0] = np.arange(len(FEATURES)) + 8
    with FlowWriter(tmp_path / "flows.csv") as writer:
        writer.write(records)
    row = (tmp_path / "flows.csv").read_text().splitlines()[1].split(",")
    assert [float(text) for text in row[7:88]] == list(range(8, 89))
