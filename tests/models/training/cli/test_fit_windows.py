"""`ids-train fit` from labelled flow records to a bundle that the daemon scores with."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from models.training.cli import main
from tests.models.flows import record, table

ROOT = Path(__file__).parents[4]

ATTACKER, SERVER, CLIENT = "198.51.100.66", "10.0.0.5", "10.0.0.21"


def scan(ports: int, seed: int) -> list[np.void]:
    """Unanswered probes of many ports, some a second."""
    random = np.random.default_rng(seed)
    times = np.cumsum(random.exponential(0.2, ports))
    return [record(ATTACKER, SERVER, float(t), port=1000 + n) for n, t in enumerate(times)]


def visits(count: int, seed: int) -> list[np.void]:
    """Answered flows of a client to a few servers, some a minute."""
    random = np.random.default_rng(seed)
    times = np.cumsum(random.exponential(8.0, count))
    return [
        record(
            CLIENT, f"203.0.113.{random.integers(1, 6)}", float(t), port=443, answer=float(t) + 0.02,
            packets=(int(random.integers(4, 30)), int(random.integers(4, 30))),
            payload=(int(random.integers(100, 900)), int(random.integers(1000, 90000))), flags=(2, 18),
        )
        for t in times
    ]  # fmt: skip


class Corpus(NamedTuple):
    records: Path
    labels: Path


def write_corpus(folder: Path) -> Corpus:
    """A benign capture and one of a scan from each of four origins, as the trainer reads them."""
    from capture import FlowWriter

    attack = {"kind": "attack", "family": "scan", "attackers": [ATTACKER], "victims": [SERVER]}
    lines = []
    for number, origin in enumerate("abcd"):
        captures: dict[str, tuple[dict[str, Any], list[np.void]]] = {
            "benign": ({"kind": "benign"}, visits(40, number)),
            "scan": (attack, scan(60, number) + visits(10, number + 100)),
        }
        for name, (label, flows) in captures.items():
            path = f"{origin}/{name}.pcap"
            lines.append(json.dumps({"path": path, "origin": origin, **label}) + "\n")
            target = folder / "records" / f"{path}.parquet"
            target.parent.mkdir(parents=True, exist_ok=True)
            with FlowWriter(str(target), records=True) as writer:
                writer.write(table(flows))
    (folder / "labels.jsonl").write_text("".join(lines))
    return Corpus(folder / "records", folder / "labels.jsonl")


def arguments(corpus: Corpus, out: Path) -> list[str]:
    sides = {"--records": corpus.records, "--labels": corpus.labels, "--out": out}
    small = {"--epochs": 1, "--folds": 2, "--created": "2026-01-02"}
    return ["fit", *(str(text) for option in (sides | small).items() for text in option)]


def fit(corpus: Corpus, out: Path, *more: str) -> int:
    return main([*arguments(corpus, out), *more])


def lines_of(error: str) -> list[str]:
    """What ids-train itself said: TensorFlow logs to the same stream as it likes."""
    return [line for line in error.splitlines() if line.startswith("ids-train: ")]


def refusal(capfd: pytest.CaptureFixture[str], code: int) -> str:
    """The one line with which a command that ended with exit code 1 explains itself."""
    assert code == 1
    error = capfd.readouterr().err
    assert "Traceback" not in error
    (line,) = lines_of(error)
    return line


needs_tensorflow = pytest.mark.usefixtures("tensorflow")


@pytest.fixture(scope="session")
def tensorflow() -> Any:
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'ids-daemon[train]'")
    return pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'ids-daemon[train]'")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def fitted(tensorflow: Any, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle fitted on the corpus, once."""
    out = tmp_path_factory.mktemp("fitted") / "small"
    assert fit(corpus, out) == 0
    return out


# -- a fit


@pytest.mark.slow
def test_fit_writes_a_bundle_that_says_what_it_was_made_of(fitted: Path, corpus: Corpus) -> None:
    from models import load_bundle
    from models.evidence import FAMILIES, RULES

    bundle = load_bundle(fitted)
    assert (bundle.name, bundle.meter, bundle.families) == ("small", "native", FAMILIES)
    assert bundle.manifest["created"] == "2026-01-02"
    training = bundle.manifest["training"]
    assert training["labels_sha256"] == hashlib.sha256(corpus.labels.read_bytes()).hexdigest()
    assert (training["captures"], training["folds"], training["epochs"], training["seed"]) == (8, 2, 1, 1)
    assert [(entry["name"], entry["captures"]) for entry in bundle.calibration["counters"]] == [
        (rule.name, 4) for rule in RULES
    ]
    assert np.isfinite(bundle.calibration["threshold"])


@pytest.mark.slow
def test_a_fitted_bundle_finds_a_scan_that_it_has_not_seen(fitted: Path) -> None:
    from models import Scorer, load_bundle

    scorer = Scorer(load_bundle(fitted), runtime="litert")
    records = table(scan(200, 77) + visits(20, 78))
    findings = scorer.push(records)
    scanner = bytes(10) + b"\xff\xff" + bytes([198, 51, 100, 66])
    assert {(one.host, one.role) for one in findings} >= {(scanner, "actor")}
    assert all(np.isfinite(one.score) and one.score > one.threshold for one in findings)
    assert scorer.stats.as_dict()["findings"] == len(findings)


@pytest.mark.slow
def test_the_same_command_gives_the_same_bytes_in_another_process(
    fitted: Path, corpus: Corpus, tmp_path: Path
) -> None:
    again = tmp_path / "small"
    command = "import sys; from models.training.cli import main; sys.exit(main(sys.argv[1:]))"
    subprocess.run(
        [sys.executable, "-c", command, *arguments(corpus, again)],
        cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "7"}, check=True, capture_output=True, timeout=600,
    )  # fmt: skip
    names = sorted(path.name for path in fitted.iterdir())
    assert names == ["calibration.json", "manifest.json", "model.tflite", "scaling.json", "weights.npz"]
    for name in names:
        assert (again / name).read_bytes() == (fitted / name).read_bytes(), name


@pytest.mark.slow
def test_a_fitted_bundle_is_judged_on_captures(
    fitted: Path, corpus: Corpus, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'ids-daemon[train]'")
    sides = ["--records", str(corpus.records), "--labels", str(corpus.labels), "--out", str(tmp_path)]
    assert main(["evaluate", str(fitted), *sides]) == 0
    said = capfd.readouterr().out.splitlines()
    assert "attacks named: 4 of 4, 95 % interval 39.8% to 100.0%" in said
    assert said[-1] == f"wrote {tmp_path / 'index.html'}"
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["data"]["captures"]["scan"] == [4, 4]
    assert len(report["tables"][1]["rows"]) == 8
    assert main(["evaluate", str(fitted), *sides[2:]]) == 1
    assert lines_of(capfd.readouterr().err) == [
        "ids-train: captures are judged with --records and --labels, both"
    ]


@pytest.mark.slow
def test_an_interrupted_fit_goes_on_to_the_same_bytes(
    fitted: Path, corpus: Corpus, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from models.training.checkpoints import Checkpoint

    save, saved = Checkpoint.save, []

    def interrupted(checkpoint: Checkpoint, arrays: Any) -> None:
        save(checkpoint, arrays)
        saved.append(1)
        if len(saved) == 2:  # in the second of three fits
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save", interrupted)
    out, partial = tmp_path / "small", tmp_path / "small.partial"
    assert fit(corpus, out) == 130
    said = lines_of(capfd.readouterr().err)
    assert said == [f"ids-train: interrupted: {partial} has what is done; the same command goes on there"]
    assert not out.exists()
    assert {path.name for path in partial.iterdir()} == {"command.json", "fold-0.json", "fold-1.npz"}
    assert fit(corpus, out) == 0
    told = capfd.readouterr().out.splitlines()
    assert told[1] == f"going on with {partial}"
    assert told[2].startswith("few windows: the optimizer takes ")
    assert told[3] == "fold 1 of 2: done before"
    assert len(saved) == 3 and not partial.exists()
    for path in fitted.iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes(), path.name


# -- what cannot be fitted


@needs_tensorflow
def test_a_single_benign_capture_is_too_few_and_the_remedy_is_said(
    corpus: Corpus, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.yaml"
    labels.write_text(
        "- {path: a/benign.pcap, kind: benign}\n"
        f"- {{path: a/scan.pcap, kind: attack, family: scan, attackers: [{ATTACKER}]}}\n"
    )
    code = fit(Corpus(corpus.records, labels), tmp_path / "out")
    assert refusal(capfd, code).endswith("label more, or cut a long one with --cut 3600")
    assert not (tmp_path / "out").exists()


@needs_tensorflow
def test_a_missing_folder_of_records_is_one_line(
    corpus: Corpus, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = fit(Corpus(tmp_path / "none", corpus.labels), tmp_path / "out")
    assert refusal(capfd, code) == (
        f"ids-train: {tmp_path}/none: no such folder; make it with `ids-daemon flows CAPTURE --records`"
    )
    assert not (tmp_path / "out").exists()


@needs_tensorflow
def test_a_missing_label_file_is_one_line(
    corpus: Corpus, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = fit(Corpus(corpus.records, tmp_path / "none.jsonl"), tmp_path / "out")
    assert refusal(capfd, code).startswith(f"ids-train: {tmp_path}/none.jsonl: No such file or directory")


@needs_tensorflow
def test_a_broken_label_line_is_named_by_file_and_line(
    corpus: Corpus, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.jsonl"
    labels.write_text(corpus.labels.read_text() + '{"path": "x.pcap", kind: attack}\n')
    code = fit(Corpus(corpus.records, labels), tmp_path / "out")
    assert refusal(capfd, code).startswith(f"ids-train: {labels}:9: not a capture's label: ")


@needs_tensorflow
def test_a_parquet_of_something_else_is_one_line(
    corpus: Corpus, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    other = tmp_path / "a" / "benign.pcap.parquet"
    other.parent.mkdir()
    pq.write_table(pa.table({"flow_id": [1, 2], "city": ["Aden", "Brno"]}), other)
    code = fit(Corpus(tmp_path, corpus.labels), tmp_path / "out")
    assert refusal(capfd, code) == (
        f"ids-train: {other}: holds no flow records; give a file written by `ids-daemon flows --records`"
    )
    other.write_bytes(b"Flow ID,Src IP\n1,10.0.0.1\n")
    code = fit(Corpus(tmp_path, corpus.labels), tmp_path / "out")
    assert refusal(capfd, code).startswith(f"ids-train: {other}: is not a whole Parquet file: ")


@needs_tensorflow
@pytest.mark.parametrize("column", ["src", "dst_port", "flow_duration"])
def test_a_column_of_another_type_or_with_gaps_is_one_line(
    corpus: Corpus, tmp_path: Path, capfd: pytest.CaptureFixture[str], column: str
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole = pq.read_table(corpus.records / "a" / "benign.pcap.parquet")
    path = tmp_path / "a" / "benign.pcap.parquet"
    path.parent.mkdir()
    place = whole.column_names.index(column)
    kind = whole.schema.field(column).type
    for values in (pa.array(["x"] * len(whole)), pa.array([None] * len(whole), kind)):
        pq.write_table(whole.set_column(place, column, values), path)
        code = fit(Corpus(tmp_path, corpus.labels), tmp_path / "out")
        assert refusal(capfd, code).startswith(f"ids-train: {path}: holds flow records of another version")


@needs_tensorflow
def test_records_of_the_other_meter_are_refused(
    corpus: Corpus, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = main([*arguments(corpus, tmp_path / "out"), "--meter", "cicflowmeter"])
    first = corpus.records / "a" / "benign.pcap.parquet"
    assert refusal(capfd, code).startswith(
        f"ids-train: {first}: these records are of the meter native, not cicflowmeter: "
    )


@needs_tensorflow
def test_a_folder_that_holds_something_else_is_refused_before_anything_is_fitted(
    corpus: Corpus, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").touch()
    code = fit(Corpus(tmp_path / "none", corpus.labels), tmp_path)
    assert refusal(capfd, code) == f"ids-train: {tmp_path}: is there and no bundle: name a new folder"


@needs_tensorflow
def test_records_of_other_captures_than_those_labelled_are_told(
    corpus: Corpus, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = fit(Corpus(tmp_path, corpus.labels), tmp_path / "out")
    assert refusal(capfd, code) == (
        f"ids-train: {tmp_path}: holds the records of none of the 8 labelled captures;"
        f" {tmp_path}/a/benign.pcap.parquet was looked for, and so on"
    )


@needs_tensorflow
def test_without_pyarrow_the_line_to_install_it_is_said_and_the_exit_code_is_2(
    corpus: Corpus, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert fit(corpus, tmp_path / "out") == 2
    assert lines_of(capfd.readouterr().err) == [
        "ids-train: Parquet needs pyarrow, which is not installed: pip install 'ids-daemon[parquet]'"
    ]


def test_without_tensorflow_the_line_to_install_it_is_said_and_the_exit_code_is_2(
    corpus: Corpus, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert fit(corpus, tmp_path / "out") == 2
    assert capfd.readouterr().err == "ids-train: tensorflow is missing: pip install 'ids-daemon[train]'\n"


def test_wrong_use_is_exit_code_2(capfd: pytest.CaptureFixture[str]) -> None:
    sides = ["fit", "--records", "x", "--labels", "y", "--out", "z"]
    numbers = [
        "--folds=1",
        "--folds=x",
        "--epochs=0",
        "--seed=-1",
        "--share=1",
        "--share=-0.1",
        "--share=nan",
    ]
    for wrong in ([], ["fit"], ["fit", "--records", "x"], ["nonsense"], *([*sides, n] for n in numbers)):
        with pytest.raises(SystemExit) as ended:
            main(wrong)
        assert ended.value.code == 2
