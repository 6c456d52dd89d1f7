"""Files of every form become one table, and what was left out of them is said."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.columns import FEATURES
from models.errors import TrainingError
from models.training.flows.table import NO_TIME
from tests.models.training.flows.making import CORRECTED, IDS2018, LABELLED, ML_CSV, line, rows, value, write

pa = pytest.importorskip("pyarrow", reason="needs the extra [train]")
import pyarrow.csv  # noqa: E402
import pyarrow.parquet  # noqa: E402

from models.training.flows import csv_rows  # noqa: E402
from models.training.flows.reading import need_both, read_flows  # noqa: E402


@pytest.mark.parametrize("header", [ML_CSV, LABELLED, CORRECTED, IDS2018])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_values_come_from_their_own_columns(tmp_path: Path, header: list[str], newline: str) -> None:
    path = write(tmp_path / "a.csv", header, rows(header, ["BENIGN", "DDoS", "BENIGN"]), newline)
    table, report = read_flows([path])
    assert table.values.tolist() == [[value(name, row) for name in table.features] for row in range(3)]
    assert (table.labels, table.label.tolist()) == (("BENIGN", "DDoS"), [0, 1, 0])
    assert table.port.tolist() == [443] * 3
    assert table.files == ("a.csv",)
    (file,) = report.files
    assert (file.rows, file.blank, file.headers, file.unreadable, file.missing) == (3, 0, 0, 0, 0)
    assert file.labels == {"BENIGN": 2, "DDoS": 1} and file.unknown == ()


def test_addresses_times_and_protocol_are_kept_where_the_form_has_them(tmp_path: Path) -> None:
    lines = [
        line(LABELLED, 0, Source_IP="10.0.0.1", Destination_IP="10.0.0.2", Protocol="17"),
        line(LABELLED, 1, Source_IP="10.0.0.2", Destination_IP="10.0.0.3", Timestamp="7/7/2017 9:05"),
    ]
    table, report = read_flows([write(tmp_path / "a.csv", LABELLED, lines)])
    assert table.protocol.tolist() == [17, 6]
    assert table.source[1] == table.destination[0]
    assert len({*table.source.tolist(), *table.destination.tolist()}) == 3
    assert [str(np.datetime64(int(t), "ns"))[:16] for t in table.time] == [
        "2017-07-07T15:30",
        "2017-07-07T09:05",
    ]
    assert report.files[0].addresses and report.files[0].clock.startswith("minutes, 12-hour clock")


def test_times_since_1970_are_times_in_csv_and_parquet(tmp_path: Path) -> None:
    stamps = ["1499437800000", "2017-07-07T16:30:01+02:00", "soon"]
    lines = [line(LABELLED, row, Timestamp=stamp) for row, stamp in enumerate(stamps)]
    path = write(tmp_path / "a.csv", LABELLED, lines)
    table, report = read_flows([path])
    assert table.time.tolist() == [1_499_437_800 * 10**9, 1_499_437_801 * 10**9, NO_TIME]
    assert (report.files[0].clock, report.files[0].times_unread) == ("seconds", 1)
    content = pyarrow.csv.read_csv(path)
    numbers = pa.array([1_499_437_800, None, 3], pa.int64())
    content = content.set_column(content.column_names.index(" Timestamp"), " Timestamp", numbers)
    pyarrow.parquet.write_table(content, tmp_path / "a.parquet")
    table, report = read_flows([tmp_path / "a.parquet"])
    assert table.time.tolist() == [1_499_437_800 * 10**9, NO_TIME, NO_TIME]
    assert (report.files[0].clock, report.files[0].times_unread) == ("seconds", 1)


def test_what_a_form_lacks_is_unknown(tmp_path: Path) -> None:
    table, report = read_flows([write(tmp_path / "a.csv", ML_CSV, rows(ML_CSV, ["BENIGN"]))])
    assert table.protocol.tolist() == table.source.tolist() == table.destination.tolist() == [-1]
    assert table.time.tolist() == [NO_TIME]
    assert (report.files[0].clock, report.files[0].addresses) == ("none", False)


def test_numbers_in_the_place_of_addresses_mean_something_in_their_own_column_alone(tmp_path: Path) -> None:
    lines = [line(LABELLED, row, Source_IP=str(7 - row), Destination_IP="7") for row in range(2)]
    table, _ = read_flows([write(tmp_path / "a.csv", LABELLED, lines)])
    assert len({*table.source.tolist(), *table.destination.tolist()}) == 3


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("Infinity", np.inf),
        ("inf", np.inf),
        ("-Infinity", -np.inf),
        ("NaN", np.nan),
        ("nan", np.nan),
        ("", np.nan),
        ("1.4961709E7", 14961709.0),
        (" 12 ", 12.0),
        ('"12.5"', 12.5),
        ("-1", -1.0),
    ],
)
def test_numbers_are_read_as_tools_write_them(tmp_path: Path, cell: str, expected: float) -> None:
    path = write(tmp_path / "a.csv", ML_CSV, [line(ML_CSV, 0, Flow_Duration=cell), line(ML_CSV, 1)])
    table, report = read_flows([path])
    np.testing.assert_equal(table.values[0, table.features.index("flow_duration")], np.float32(expected))
    assert report.files[0].missing == (not np.isfinite(expected))
    assert report.files[0].unreadable == 0


def test_blank_rows_and_headers_inside_are_left_out_and_counted(tmp_path: Path) -> None:
    good = rows(LABELLED, ["BENIGN"] * 4)
    commas = "," * (len(LABELLED) - 1)
    path = write(
        tmp_path / "a.csv",
        LABELLED,
        [good[0], commas, "", good[1], ",".join(LABELLED), commas, "  ", good[2], good[3], commas],
    )
    table, report = read_flows([path])
    (file,) = report.files
    assert (file.rows, file.blank, file.headers, file.unreadable) == (4, 5, 1, 0)
    assert table.values[:, 0].tolist() == [value("flow_duration", row) for row in range(4)]


def test_files_put_together_with_columns_in_another_order_are_refused(tmp_path: Path) -> None:
    turned = [ML_CSV[-1], *ML_CSV[:-1]]
    lines = [*rows(ML_CSV, ["BENIGN", "DDoS"]), ",".join(turned), *rows(turned, ["BENIGN", "DDoS"])]
    path = write(tmp_path / "a.csv", ML_CSV, lines)
    with pytest.raises(
        TrainingError, match=r"a\.csv: line 4: another header than the first, so what follows"
    ):
        read_flows([path])


def test_rows_of_another_width_and_cells_that_are_no_numbers_are_left_out_with_the_first_named(
    tmp_path: Path,
) -> None:
    good = rows(ML_CSV, ["BENIGN"] * 3)
    path = write(
        tmp_path / "a.csv",
        ML_CSV,
        [good[0], "", line(ML_CSV, 9, Flow_Duration="soon"), "1,2,3", good[1], good[2] + ",7", good[2]],
    )
    table, report = read_flows([path])
    (file,) = report.files
    assert (file.rows, file.blank, file.unreadable) == (3, 1, 3)
    assert file.first_unreadable == "line 4: 'soon' is no number (flow_duration)"
    assert table.values[:, 0].tolist() == [value("flow_duration", row) for row in range(3)]


def test_a_row_without_a_label_is_unreadable(tmp_path: Path) -> None:
    table, report = read_flows([write(tmp_path / "a.csv", ML_CSV, rows(ML_CSV, ["DDoS", "", "BENIGN"]))])
    assert table.label.tolist() == [1, 0]
    assert (report.files[0].unreadable, report.files[0].first_unreadable) == (1, "row 2: no label")


def test_chunks_of_any_size_give_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = rows(LABELLED, ["BENIGN", "DDoS", "Bot"] * 5)
    lines[3:3] = ["," * (len(LABELLED) - 1), "1,2", ",".join(LABELLED)]
    path = write(tmp_path / "a.csv", LABELLED, lines)
    whole, said = read_flows([path])
    monkeypatch.setattr(csv_rows, "_CHUNK", 700)
    monkeypatch.setattr(csv_rows, "_HEADER_AT_MOST", 4000)
    pieces, said_of_pieces = read_flows([path])
    for name in ("values", "label", "time", "source", "destination", "twin", "port"):
        assert getattr(pieces, name).tolist() == getattr(whole, name).tolist()
    assert said_of_pieces == said
    assert said.files[0].first_unreadable == f"line 6: 2 fields instead of {len(LABELLED)}"


@pytest.mark.parametrize(
    ("dash", "encoding"),
    [(b"\x96", "cp1252"), (b"\xe2\x80\x93", "utf-8"), (b"\xef\xbf\xbd", "utf-8"), (b"-", "utf-8")],
)
def test_labels_of_any_encoding_are_the_same_class(tmp_path: Path, dash: bytes, encoding: str) -> None:
    path = write(tmp_path / "a.csv", ML_CSV, rows(ML_CSV, ["Web Attack @ XSS", "BENIGN"]))
    path.write_bytes(path.read_bytes().replace(b"@", dash))
    table, report = read_flows([path])
    assert table.labels == ("BENIGN", "Web XSS")
    assert report.files[0].encoding == encoding


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_are_seen_by_the_header(tmp_path: Path, delimiter: str) -> None:
    path = write(tmp_path / "a.csv", ML_CSV, rows(ML_CSV, ["BENIGN", "DDoS"]))
    path.write_text(path.read_text().replace(",", delimiter))
    table, _ = read_flows([path])
    assert table.values[1].tolist() == [value(name, 1) for name in table.features]


def test_a_byte_order_mark_and_no_newline_at_the_end_change_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ML_CSV, rows(ML_CSV, ["BENIGN", "DDoS"]))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().rstrip(b"\n"))
    table, report = read_flows([path])
    assert table.label.tolist() == [0, 1]
    assert (report.files[0].unknown, report.files[0].blank) == ((), 0)


@pytest.mark.parametrize(
    ("attempted", "labels", "label"),
    [
        ("benign", ("BENIGN", "DoS Hulk"), [0, 1, 0]),
        ("attack", ("BENIGN", "DDoS", "DoS Hulk"), [0, 2, 1]),
        ("drop", ("BENIGN", "DoS Hulk"), [0, 1]),
    ],
)
def test_attempted_attacks_are_taken_as_told(tmp_path: Path, attempted: Any, labels: Any, label: Any) -> None:
    lines = rows(CORRECTED, ["BENIGN", "DoS Hulk"]) + [
        line(CORRECTED, 2, Label="DDoS - Attempted", Attempted_Category="2")
    ]
    table, report = read_flows([write(tmp_path / "a.csv", CORRECTED, lines)], attempted=attempted)
    assert (table.labels, table.label.tolist()) == (labels, label)
    assert (report.files[0].attempted, report.attempted) == (1, attempted)


def test_a_file_of_attempts_alone_is_dropped_beside_others(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", CORRECTED, rows(CORRECTED, ["BENIGN", "DoS Hulk"]))
    write(tmp_path / "b.csv", CORRECTED, [line(CORRECTED, 5, Label="DDoS - Attempted")])
    table, report = read_flows([tmp_path], attempted="drop")
    assert table.label.tolist() == [0, 1] and [part.rows for part in report.files] == [2, 0]


def test_a_file_that_loses_most_of_its_rows_is_refused(tmp_path: Path) -> None:
    lines = rows(ML_CSV, ["BENIGN"] * 120)
    lost = [line(ML_CSV, row, Flow_Duration="0,5").replace("0,5", '"0,5"') for row in range(200, 330)]
    with pytest.raises(TrainingError, match=r"130 of 250 rows cannot be read, .*decimal point"):
        read_flows([write(tmp_path / "a.csv", ML_CSV, lines + lost)])
    _, report = read_flows([write(tmp_path / "b.csv", ML_CSV, lines + lost[:110])])
    assert (report.files[0].rows, report.files[0].unreadable) == (120, 110)


def test_the_category_of_an_attempt_counts_where_the_label_does_not_say_it(tmp_path: Path) -> None:
    lines = [line(CORRECTED, 0, Label="DDoS", Attempted_Category="0"), line(CORRECTED, 1, Label="DDoS")]
    table, report = read_flows([write(tmp_path / "a.csv", CORRECTED, lines)])
    assert table.label.tolist() == [0, 1] and report.files[0].attempted == 1


def test_labels_that_are_not_known_are_named_as_the_attacks_that_they_are_taken_for(tmp_path: Path) -> None:
    for labels, told in ((["BENIGN", "DDoS"], []), (["BENIGN", "Legitimate", "DDoS"], ["Legitimate"])):
        _, report = read_flows([write(tmp_path / "a.csv", ML_CSV, rows(ML_CSV, labels))])
        said = [line for line in report.lines() if "not known" in line]
        assert said == [f"labels that are not known, taken as attacks: {name}" for name in told]


@pytest.mark.parametrize("mark", ["No Label", "NeedManualLabel", "CIC"])
def test_flows_that_nobody_labelled_are_refused_unless_said_to_be_benign(tmp_path: Path, mark: str) -> None:
    path = write(tmp_path / "a.csv", CORRECTED, rows(CORRECTED, [mark, mark]))
    with pytest.raises(
        TrainingError, match=f"a.csv: flows that nobody has labelled .*{mark}.*--unlabelled benign"
    ):
        read_flows([path])
    table, report = read_flows([path], unlabelled="benign")
    assert table.label.tolist() == [0, 0] and report.files[0].unlabelled == 2


def test_a_file_without_a_label_column_is_refused_unless_said_to_be_benign(tmp_path: Path) -> None:
    header = IDS2018[:-1]
    path = write(tmp_path / "a.csv", header, [line(header, 0)])
    with pytest.raises(TrainingError, match="a.csv: no label column .*--unlabelled benign"):
        read_flows([path])
    table, report = read_flows([path], unlabelled="benign")
    assert table.label.tolist() == [0] and report.files[0].unlabelled == 1


@pytest.mark.parametrize("labels", [("0", "1"), ("False", "True")])
def test_labels_that_name_no_class_are_refused(tmp_path: Path, labels: tuple[str, str]) -> None:
    with pytest.raises(TrainingError, match=f"labels such as {labels[0]} do not say their class"):
        read_flows([write(tmp_path / "a.csv", ML_CSV, rows(ML_CSV, list(labels)))])


def test_a_column_of_many_texts_is_no_column_of_labels(tmp_path: Path) -> None:
    labels = [f"host-{number}.example" for number in range(300)]
    with pytest.raises(TrainingError, match=r"different labels \('host-0.example', ...\), so these name no"):
        read_flows([write(tmp_path / "a.csv", ML_CSV, rows(ML_CSV, labels))])


def test_several_files_keep_the_features_all_of_them_have(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", ML_CSV, rows(ML_CSV, ["BENIGN", "DDoS"]))
    write(tmp_path / "b.csv", CORRECTED, rows(CORRECTED, ["Portscan"], first=2))
    table, report = read_flows([tmp_path / "a.csv", tmp_path / "b.csv"])
    assert table.values.tolist() == [[value(name, row) for name in table.features] for row in range(3)]
    assert (table.file.tolist(), table.files) == ([0, 0, 1], ("a.csv", "b.csv"))
    assert table.labels == ("BENIGN", "DDoS", "Port scan")
    assert set(FEATURES) - set(table.features) == {
        "fwd_rst_flags",
        "bwd_rst_flags",
        "icmp_code",
        "icmp_type",
        "total_tcp_flow_time",
    }
    assert report.not_shared[:2] == ("Fwd RST Flags", "Bwd RST Flags")
    assert "left out, as not every file has them: Fwd RST Flags," in report.lines()[-1]


def test_twins_of_two_forms_are_twins_by_what_both_have(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", CORRECTED, rows(CORRECTED, ["BENIGN", "DDoS"]))
    write(tmp_path / "b.csv", IDS2018, rows(IDS2018, ["DDoS"], first=1))
    table, _ = read_flows([tmp_path])
    assert table.twin[1] == table.twin[2] != table.twin[0]


def test_a_file_of_no_use_is_named_before_any_other_is_read(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", ML_CSV, rows(ML_CSV, ["BENIGN"]))
    write(tmp_path / "z.csv", ["sepal"], ["1"])
    with pytest.raises(TrainingError, match="z.csv: no file of flows"):
        read_flows([tmp_path], progress=lambda done, everything: pytest.fail("read"))


def test_an_address_has_one_code_in_all_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.csv", LABELLED, rows(LABELLED, ["BENIGN"]))
    table, _ = read_flows([tmp_path])
    assert table.source.tolist() == [0, 0] and table.destination.tolist() == [1, 1]


def test_a_folder_is_read_with_all_below_it_and_a_zip_from_within(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    write(folder / "b.csv", ML_CSV, rows(ML_CSV, ["BENIGN"]))
    write(folder / "deep" / "a.csv", ML_CSV, rows(ML_CSV, ["DDoS"], first=1))
    write(folder / ".hidden" / "c.csv", ["x"], ["1"])
    (folder / "README.txt").write_text("not flows")
    packed = tmp_path / "set.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in (folder / "b.csv", folder / "deep" / "a.csv"):
            archive.write(path, path.relative_to(folder))
        archive.writestr("__MACOSX/._b.csv", "no")
    before = sorted(tmp_path.rglob("*"))
    plain, _ = read_flows([folder])
    zipped, _ = read_flows([packed])
    assert plain.files == ("set/b.csv", "set/deep/a.csv")
    assert zipped.files == ("set.zip/b.csv", "set.zip/deep/a.csv")
    assert plain.values.tolist() == zipped.values.tolist()
    assert plain.label.tolist() == zipped.label.tolist() == [0, 1]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["./a.csv", "x/../a.csv", "a.csv.gz"])
def test_a_zip_is_read_whatever_its_names_look_like(tmp_path: Path, name: str) -> None:
    plain = write(tmp_path / "a.csv", ML_CSV, rows(ML_CSV, ["BENIGN", "DDoS"]))
    data = plain.read_bytes()
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr(name, gzip.compress(data) if name.endswith(".gz") else data)
    zipped, _ = read_flows([tmp_path / "set.zip"])
    assert zipped.values.tolist() == read_flows([plain])[0].values.tolist()


def test_a_gzipped_file_is_read(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.csv", ML_CSV, rows(ML_CSV, ["BENIGN", "DDoS"]))
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    assert read_flows([tmp_path / "b.csv.gz"])[0].values.tolist() == read_flows([plain])[0].values.tolist()


def test_parquet_gives_the_same_table_as_the_csv_it_was_made_of(tmp_path: Path) -> None:
    header = [name for i, name in enumerate(LABELLED) if LABELLED.index(name) == i]
    path = write(tmp_path / "a.csv", header, rows(header, ["BENIGN", "DDoS", "Web Attack \ufffd XSS"]))
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(path), tmp_path / "a.parquet")
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.write(tmp_path / "a.parquet", "a.parquet")
    text, _ = read_flows([path])
    for source in ("a.parquet", "p.zip"):
        table, report = read_flows([tmp_path / source])
        for name in ("values", "label", "time", "source", "destination", "twin", "port", "protocol"):
            assert getattr(table, name).tolist() == getattr(text, name).tolist()
        assert table.labels == text.labels and report.files[0].encoding == "utf-8"


def test_twins_are_told_apart_by_what_the_file_has_not_by_what_float32_keeps(tmp_path: Path) -> None:
    lines = [line(ML_CSV, 0, Flow_Duration=cell) for cell in ("16777217", "16777216", "16777216.0")]
    table, _ = read_flows([write(tmp_path / "a.csv", ML_CSV, lines)])
    assert table.twin[0] != table.twin[1] == table.twin[2]
    assert table.values[0].tolist() == table.values[1].tolist()


def test_progress_rises_to_the_bytes_in_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_rows, "_CHUNK", 3000)
    monkeypatch.setattr(csv_rows, "_HEADER_AT_MOST", 4000)
    size = 0
    for name in ("a", "b"):
        size += write(tmp_path / f"{name}.csv", ML_CSV, rows(ML_CSV, ["BENIGN"] * 40)).stat().st_size
    seen: list[tuple[int, int]] = []
    read_flows([tmp_path], progress=lambda done, everything: seen.append((done, everything)))
    assert seen[-1] == (size, size) and len(seen) > 8
    assert seen == sorted(seen)


def test_need_both_names_what_is_lacking(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ML_CSV, rows(ML_CSV, ["BENIGN", "DDoS", "BENIGN"]))
    table, _ = read_flows([path])
    need_both(table)
    with pytest.raises(
        TrainingError, match=r"a\.csv: only benign flows in the data; .* with attacks as well"
    ):
        need_both(table.take(table.label == 0))
    with pytest.raises(TrainingError, match="only attacks in the data"):
        need_both(table.take(table.label == 1))


def test_the_report_reads_as_text(tmp_path: Path) -> None:
    lines = [line(ML_CSV, 0, Flow_Duration="NaN"), "", "1,2", *rows(ML_CSV, ["BENIGN", "DDoS"], first=1)]
    _, report = read_flows(
        [write(tmp_path / "a.csv", ["Colour", *ML_CSV], ["red," + each for each in lines])]
    )
    assert report.lines() == [
        "a.csv: 3 flows, MachineLearningCSV, no times, without addresses",
        f"  2 unreadable rows left out, the first: line 3: 2 fields instead of {len(ML_CSV) + 1}",
        "  1 flow with NaN or an infinity",
        "  columns there twice, the first counts: Fwd Header Length",
        "  unknown columns left out: Colour",
        "  features that it lacks: Fwd RST Flags, Bwd RST Flags, ICMP Code, ICMP Type, Total TCP Flow Time",
        "class   flows   share",
        "BENIGN      2  66.67%",
        "DDoS        1  33.33%",
        "3 flows of 1 file, 76 features",
    ]


def test_what_holds_of_all_files_is_said_once(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", IDS2018, rows(IDS2018, ["Benign"]))
    write(tmp_path / "b.csv", IDS2018, ["", *rows(IDS2018, ["Benign", "Bot"])])
    assert read_flows([tmp_path / "a.csv", tmp_path / "b.csv"])[1].lines() == [
        "a.csv: 1 flow, CSE-CIC-IDS2018, times to minutes, 12-hour clock: hours before 8 taken as afternoon,"
        " without addresses",
        "b.csv: 2 flows, CSE-CIC-IDS2018, times to minutes, 12-hour clock: hours before 8 taken as afternoon,"
        " without addresses",
        "  1 blank row left out",
        "in every file",
        "  features that it lacks: Fwd RST Flags, Bwd RST Flags, ICMP Code, ICMP Type, Total TCP Flow Time",
        "class   flows   share",
        "BENIGN      2  66.67%",
        "Botnet      1  33.33%",
        "3 flows of 2 files, 76 features",
    ]


def _garbage(path: Path) -> Path:
    path.write_bytes(bytes(range(256)) * 40)
    return path


def _locked(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "x")
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    return path


def _torn(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "\n".join([",".join(ML_CSV), *rows(ML_CSV, ["BENIGN"] * 9)]))
    raw = bytearray(path.read_bytes())
    raw[5000] ^= 1
    path.write_bytes(raw)
    return path


def _packed(path: Path, compression: int = zipfile.ZIP_STORED) -> bytearray:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("a.csv", "\n".join([",".join(ML_CSV), *rows(ML_CSV, ["BENIGN"] * 9)]))
    return bytearray(path.read_bytes())


def _entry_changed(path: Path, at: int, value: int) -> Path:
    """A zip with a byte of its member's entry changed, in the directory and in front of the member."""
    raw = _packed(path)
    raw[raw.index(b"PK\x01\x02") + at + 2] = raw[raw.index(b"PK\x03\x04") + at] = value
    path.write_bytes(raw)
    return path


def _deflate64(path: Path) -> Path:
    return _entry_changed(path, 8, 9)


def _newer(path: Path) -> Path:
    return _entry_changed(path, 4, 99)


def _bad_lzma(path: Path) -> Path:
    raw = _packed(path, zipfile.ZIP_LZMA)
    start = raw.index(b"a.csv") + len("a.csv")
    raw[start + 20 : start + 60] = b"\xff" * 40
    path.write_bytes(raw)
    return path


def _empty_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README", "x")
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    (path / "notes.txt").write_text("x")
    return path


@pytest.mark.parametrize(
    ("make", "name", "message"),
    [
        (lambda path: path, "none.csv", "none.csv: no such file or folder; check the path"),
        (_folder, "empty", r"empty: no file of flows in this folder \(\*.csv"),
        (_garbage, "a.pcap", "a.pcap: not a kind of file that holds flows: give"),
        (_garbage, "a.zip", "a.zip: not a whole zip: .*; fetch it again"),
        (_garbage, "a.parquet", "a.parquet: not a whole Parquet file: .*; fetch it again"),
        (_garbage, "a.csv", "a.csv: no"),
        (_garbage, "a.csv.gz", "a.csv.gz: cannot be read to its end"),
        (_empty_zip, "a.zip", "a.zip: no file of flows in this zip"),
        (_locked, "a.zip", "a.zip: the zip is locked by a password"),
        (_deflate64, "a.zip", r"a.zip/a.csv: packed in a way that cannot be read here \(.*; unpack the zip"),
        (
            _newer,
            "a.zip",
            r"a.zip: packed in a way that cannot be read here \(zip file version 9.9\); unpack",
        ),
        (_bad_lzma, "a.zip", "a.zip/a.csv: cannot be read to its end: Corrupt input data; fetch it again"),
        (_torn, "a.zip", "a.zip/a.csv: cannot be read to its end: Bad CRC-32"),
        (lambda path: write(path, ["sepal", "kind"], ["1,2"]), "iris.csv", "iris.csv: no file of flows"),
        (lambda path: write(path, [""], []), "a.csv", "a.csv: an empty file"),
        (lambda path: write(path, ML_CSV, []), "a.csv", "a.csv: no flow in it that can be read; check"),
        (
            lambda path: write(path, ML_CSV, ["1,2"]),
            "a.csv",
            "no flow in it that can be read: line 2: 2 fields",
        ),
    ],
)
def test_what_cannot_be_used_is_one_line_that_says_what_to_do(
    tmp_path: Path, make: Any, name: str, message: str
) -> None:
    path = make(tmp_path / name)
    with pytest.raises(TrainingError, match=message) as caught:
        read_flows([path])
    assert "\n" not in str(caught.value)


def test_text_in_utf16_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(",".join(ML_CSV), encoding="utf-16")
    with pytest.raises(TrainingError, match="text in UTF-16"):
        read_flows([tmp_path / "a.csv"])


def test_a_parquet_column_of_words_where_numbers_belong_is_named(tmp_path: Path) -> None:
    header = [name for i, name in enumerate(ML_CSV) if ML_CSV.index(name) == i]
    path = write(tmp_path / "a.csv", header, [line(header, 0, Flow_Duration="soon")])
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(path), tmp_path / "a.parquet")
    with pytest.raises(TrainingError, match="a.parquet: column Flow Duration does not hold numbers: .*soon"):
        read_flows([tmp_path / "a.parquet"])


def test_no_path_at_all_is_refused() -> None:
    with pytest.raises(TrainingError, match="no data given"):
        read_flows([])


def test_labels_of_parquet_may_be_categories_and_columns_may_come_twice(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ML_CSV, rows(ML_CSV, ["BENIGN", "DDoS", "BENIGN"]))
    text = pyarrow.csv.read_csv(path)
    label = text[" Label"].dictionary_encode()
    pyarrow.parquet.write_table(text.set_column(len(ML_CSV) - 1, " Label", label), tmp_path / "a.parquet")
    table, report = read_flows([tmp_path / "a.parquet"])
    assert table.values.tolist() == read_flows([path])[0].values.tolist()
    assert table.label.tolist() == [0, 1, 0]
    assert report.files[0].double == ("Fwd Header Length",)


def test_the_same_file_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ML_CSV, rows(ML_CSV, ["BENIGN"]))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.write(path, "set/a.csv")
    for paths in ([tmp_path], [tmp_path / "b.zip", path], [path, path]):
        with pytest.raises(TrainingError, match=r"a\.csv: the same file as .*a\.csv, by name and size"):
            read_flows(paths)


def test_a_header_with_the_line_ends_of_old_macs_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\r".join([",".join(ML_CSV), *rows(ML_CSV, ["BENIGN"])]), newline="")
    with pytest.raises(TrainingError, match="a.csv: its header is no line of CSV"):
        read_flows([tmp_path / "a.csv"])


#: What may lie between sound rows: its text and what it counts as.
DIRT = {
    "," * (len(LABELLED) - 1): "blank",
    "": "blank",
    " ": "blank",
    '"",': "blank",
    ",".join(LABELLED): "headers",
    "1,2,3": "unreadable",
    line(LABELLED, 3, Flow_Duration="soon"): "unreadable",
    line(LABELLED, 3, Protocol="TCP"): "unreadable",
    line(LABELLED, 3, Label=""): "unreadable",
    line(LABELLED, 3) + ",1": "unreadable",
    "a\rb": "unreadable",
}


@settings(max_examples=60)
@given(
    dirt=st.lists(st.lists(st.sampled_from(sorted(DIRT)), max_size=3), min_size=1, max_size=8),
    chunk=st.integers(500, 6000),
    newline=st.sampled_from(["\n", "\r\n"]),
    final=st.booleans(),
)
def test_sound_rows_come_through_any_dirt_in_chunks_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, dirt: list[list[str]], chunk: int, newline: str, final: bool
) -> None:
    path = tmp_path_factory.mktemp("dirt") / "a.csv"
    lines = [each for row, before in enumerate(dirt) for each in [*before, line(LABELLED, row)]]
    text = newline.join([",".join(LABELLED), *lines]) + (newline if final else "")
    path.write_text(text, encoding="utf-8", newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_rows, "_CHUNK", chunk)
        patch.setattr(csv_rows, "_HEADER_AT_MOST", 3000)
        table, report = read_flows([path])
    (file,) = report.files
    assert table.values[:, 0].tolist() == [value("flow_duration", row) for row in range(len(dirt))]
    counted = {"blank": file.blank, "headers": file.headers, "unreadable": file.unreadable}
    flat = [DIRT[each] for before in dirt for each in before]
    assert counted == {what: flat.count(what) for what in counted}
