"""`ids-train fit DATA`, `search` and `compare`, from a file of flows to what they write."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from models.training.checkpoints import Checkpoint
from models.training.cli import main
from models.training.paper import searching
from tests.models.training.flows.making import ML_CSV, line, write

TINY = "--epochs 2 --batch-size 64 --levels 2 --filters 2 --lstm 2 --dense 4 --pooling 2 --created 2026-01-02"


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 flows of two kinds of attack and benign ones; two features tell."""
    random = np.random.default_rng(1)
    lines = []
    for row in range(400):
        kind = int(random.integers(0, 4))
        cells = {
            "Flow_Duration": random.exponential(100) * (50 if kind == 1 else 1),
            "Total_Fwd_Packets": random.integers(1, 9) + (40 if kind == 2 else 0),
            "Flow_IAT_Mean": random.random(),
        }
        label = {1: "DDoS", 2: "PortScan"}.get(kind, "BENIGN")
        lines.append(line(ML_CSV, row, Label=label, **{name: str(value) for name, value in cells.items()}))
    return write(tmp_path_factory.mktemp("data") / "flows.csv", ML_CSV, lines)


@pytest.fixture
def needs() -> None:
    # Looked for and not loaded: most of these tests end before TensorFlow would be.
    for package in ("tensorflow", "sklearn", "matplotlib"):
        if importlib.util.find_spec(package) is None:
            pytest.skip("needs the trainer: pip install 'ids-daemon[train]'")


@pytest.mark.slow
def test_fit_writes_a_bundle_with_its_report_and_the_same_again(
    needs: None, flows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from models.flow_bundle import load_flow_bundle
    from models.training.flows.preprocessing import Preprocessing
    from models.training.flows.reading import read_flows

    for name in ("one", "two"):
        assert main(["fit", str(flows), "--out", str(tmp_path / name), *TINY.split()]) == 0
    said = capsys.readouterr().out
    assert "test part: accuracy" in said and "epoch 2: " in said and "going on" not in said
    one, two = (load_flow_bundle(tmp_path / name) for name in ("one", "two"))
    assert one.classes == ("BENIGN", "DDoS", "Port scan")
    assert one.manifest["metrics"] == two.manifest["metrics"]
    assert one.weights_file == two.weights_file
    assert one.manifest["training"]["settings"]["sizes"]["levels"] == 2
    counts = one.manifest["metrics"]["confusion"]
    assert sum(counts.values()) == 61  # 15 % of each class, rounded
    table, _ = read_flows([flows])
    scores = one.score(Preprocessing.from_json(one.preprocessing).transform(table))
    assert scores.shape == (400,) and ((scores >= 0) & (scores <= 1)).all()
    assert not (tmp_path / "one.partial").exists()
    report = json.loads((tmp_path / "one" / "report" / "report.json").read_text())
    assert len(report["data"]["history"]) == 2
    assert report["command"].startswith(f"ids-train fit {flows}")
    assert "Accuracy and loss" in [figure["title"] for figure in report["figures"]]


def test_stopped_fit_tells_where_it_goes_on(
    needs: None,
    flows: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*args: object, **other: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("models.training.paper.flow_fit.fit_epochs", stop)
    command = ["fit", str(flows), "--out", str(tmp_path / "out"), *TINY.split()]
    for _ in range(2):
        assert main(command) == 130
    told = capsys.readouterr()
    assert told.err.splitlines()[0].endswith("out.partial has what is done; the same command goes on there")
    assert told.out.count(f"going on with {tmp_path / 'out.partial'}") == 1


def test_a_fit_with_other_settings_leaves_what_a_stopped_one_has_done(
    needs: None,
    flows: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*args: object, checkpoint: Checkpoint, **other: object) -> None:
        checkpoint.save({"epoch": np.arange(3)})
        raise KeyboardInterrupt

    monkeypatch.setattr("models.training.paper.flow_fit.fit_epochs", stop)
    command = ["fit", str(flows), "--out", str(tmp_path / "out"), *TINY.split()]
    assert main(command) == 130
    capsys.readouterr()
    assert main([*command, "--seed", "2", "--filters", "4"]) == 1
    partial = tmp_path / "out.partial"
    assert capsys.readouterr().err == (
        f"ids-train: {partial}: holds what a fit with seed 1, filters 2 has done, not one with seed 2,"
        f" filters 4: go on with that one, or delete {partial} to begin anew\n"
    )
    assert main(command) == 130
    assert f"going on with {partial}" in capsys.readouterr().out


def test_compare_writes_table_1_and_goes_on_where_it_was(
    needs: None, flows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["compare", str(flows), "--out", str(tmp_path), "--systems", "random-forest,1-nn"]
    assert main([*command, "--shuffles", "2"]) == 0
    assert main([*command, "--shuffles", "2"]) == 0
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 2 * 2 * 2
    report = json.loads((tmp_path / "report.json").read_text())
    titles = [table["title"] for table in report["tables"]]
    assert titles == ["Table 1, protocol text", "Table 1, protocol matrix", "The systems"]
    forest = report["tables"][0]["rows"][0]
    pooled = [run["confusion"] for run in report["data"]["runs"][:4] if run["protocol"] == "text"]
    assert forest[0] == "Random forest" and len(pooled) >= 1
    assert forest[1] > 0.9 and forest[3] == pytest.approx(0.9785)
    assert "  Random forest: accuracy " in capsys.readouterr().out


def test_fit_takes_the_best_of_a_search(
    needs: None,
    flows: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from types import SimpleNamespace

    from models.training.metrics import Confusion
    from models.training.paper import flow_fit

    asked = []

    def fit(table: object, settings: flow_fit.Settings, **other: object) -> object:
        asked.append(settings)
        loss = settings.sizes["filters"] / 100
        return SimpleNamespace(history=[{"val_loss": loss}], validation=Confusion(1, 1, 1, 1))

    monkeypatch.setattr(searching, "fit_flows", fit)
    grid = [
        word
        for one in ("filters=4,8", "lstm=2", "batch-size=64", "learning-rate=0.01", "dropout=0")
        for word in ("--grid", one)
    ]
    searched = ["--scale", "log-minmax", "--levels", "0", "--epochs", "3", "--seed", "5"]
    assert main(["search", str(flows), "--out", str(tmp_path / "s"), *grid, *searched]) == 0
    assert "best of 2: batch_size 64, learning_rate 0.01, filters 4, lstm 2" in capsys.readouterr().out
    assert (tmp_path / "s" / "index.html").exists()

    def stop(table: object, settings: flow_fit.Settings, **other: object) -> None:
        asked.append(settings)
        raise KeyboardInterrupt

    monkeypatch.setattr("models.training.cli.fit_flows.fit_flows", stop)
    more = ["--from-search", str(tmp_path / "s"), "--lstm", "5"]
    assert main(["fit", str(flows), "--out", str(tmp_path / "out"), *more]) == 130
    assert (asked[-1].sizes["filters"], asked[-1].sizes["lstm"], asked[-1].options.batch_size) == (4, 5, 64)
    # What every fit of the search had, too, but for what is given now.
    assert (asked[-1].scale, asked[-1].sizes["levels"], asked[-1].options.epochs) == ("log-minmax", 0, 3)
    assert main(["fit", str(flows), "--out", str(tmp_path / "o"), *more, "--scale", "minmax"]) == 130
    assert (asked[-1].scale, asked[-1].cut) == ("minmax", "text")
    # Its seed as well: by another one, flows that chose the sizes would be judged.
    assert asked[-1].seed == 5 and "warning" not in capsys.readouterr().out
    assert main(["fit", str(flows), "--out", str(tmp_path / "p"), *more, "--seed", "6"]) == 130
    assert asked[-1].seed == 6
    assert "warning: the search cut the flows by text and seed 5: flows that" in capsys.readouterr().out
    other = flows.with_name("other.csv")
    other.write_bytes(b"".join(flows.read_bytes().splitlines(keepends=True)[:-9]))
    assert main(["fit", str(other), "--out", str(tmp_path / "q"), *more]) == 130
    assert "warning: the search was on other data" in capsys.readouterr().out
    kept = tmp_path / "s" / "search.jsonl"
    kept.write_text(kept.read_text().replace('"filters"', '"filtres"'))
    assert main(["fit", str(flows), "--out", str(tmp_path / "r"), *more]) == 1
    assert "the search is not of this version" in capsys.readouterr().err


def test_another_backend_is_told_before_the_fit(
    needs: None,
    flows: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert main(["fit", str(flows), "--out", str(tmp_path / "b")]) == 1
    assert main(["fit", "--records", "r", "--labels", "l", "--out", str(tmp_path / "b")]) == 1
    said = capsys.readouterr()
    assert said.out == "" and not any(tmp_path.glob("b*"))
    assert [line.split(" needs ")[1] for line in said.err.splitlines()] == [
        "Keras on TensorFlow, not on jax: unset KERAS_BACKEND"
    ] * 2


def test_a_folder_that_is_no_name_is_told_before_the_fit(
    needs: None, flows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", str(flows), "--out", str(tmp_path / "my model")]) == 1
    assert capsys.readouterr().err == (
        "ids-train: 'my model' is no name of a bundle: letters, digits and ._+-, at most 64;"
        " --name gives one\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fit", "--out", "x"], "give either DATA, labelled flows, or --records with --labels"),
        (["fit", "d.csv", "--records", "r", "--out", "x"], "give either DATA"),
        (["fit", "--records", "r", "--out", "x"], "--records needs --labels"),
        (["fit", "d.csv", "--out", "x", "--dropout", "1"], "1 is no share"),
        (["fit", "d.csv", "--out", "x", "--learning-rate", "0"], "0 is no number above 0"),
        (["fit", "d.csv", "--out", "x", "--share", "0.1"], "--share goes with --records"),
        (["fit", "--records", "r", "--labels", "l", "--out", "x", "--lstm", "4"], "--lstm goes with DATA"),
        (["search", "--out", "x"], "give either DATA, labelled flows, or --records with --labels"),
        (["search", "d.csv", "--records", "r", "--labels", "l", "--out", "x"], "give either DATA"),
        (["search", "--records", "r", "--out", "x"], "--records needs --labels"),
        (["search", "d.csv", "--out", "x", "--cut", "60"], "--cut goes with --records"),
        (["search", "--records", "r", "--labels", "l", "--out", "x", "--levels", "0"], "--levels goes with"),
        (["search", "d.csv", "--out", "x", "--grid", "colour=1"], "NAME is one of batch_size"),
        (["search", "d.csv", "--out", "x", "--grid", "window=8"], "filters, lstm, dropout\n"),
        (["search", "d.csv", "--out", "x", "--grid", "lstm=a"], "values are numbers"),
        (["search", "d.csv", "--out", "x", "--grid", "batch-size=64,0"], "0 is no whole number from 1 on"),
        (["search", "d.csv", "--out", "x", "--grid", "dropout=1"], "1 is no share"),
    ],
)
def test_wrong_use_is_said_with_the_usage(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_errors_are_one_line_each(
    needs: None, flows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def error(*words: object) -> str:
        assert main([str(word) for word in words]) == 1
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        return told

    benign = write(tmp_path / "benign.csv", ML_CSV, [line(ML_CSV, row, Label="BENIGN") for row in range(50)])
    file = tmp_path / "file"
    file.write_text("")
    out = tmp_path / "out"
    assert "only benign flows in the data" in error("fit", benign, "--out", out)
    assert "only benign flows in the data" in error("compare", benign, "--out", out)
    assert "only benign flows in the data" in error("search", benign, "--out", tmp_path / "s")
    assert "cannot be written" in error("fit", flows, "--out", file / "below")
    assert "no system magic: there are" in error("compare", flows, "--out", out, "--systems", "magic")
    assert "holds no results" in error("fit", flows, "--out", tmp_path / "b", "--from-search", tmp_path)
    assert "no network of these sizes: pooling 99" in error("fit", flows, "--out", out, "--pooling", 99)


@pytest.mark.parametrize("command", ["fit", "search"])
def test_best_features_of_a_split_by_time_are_refused_before_anything_is_read(
    needs: None, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(tmp_path / "no-data.csv"), "--split", "time", "--best-features", "9"]
    assert main([command, *words, "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    assert told.endswith("leave --best-features out or take another --split\n") and told.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("command", "out", "names"),
    [
        ("compare", "file", "file: is a file"),
        ("compare", "file/below", "file/below: cannot be written"),
        ("compare", "page", "page/index.html: cannot be written"),
        ("compare", "results", "results/results.jsonl: cannot be written"),
        ("search", "file/below", "file/below: cannot be written"),
        ("search", "page", "page/index.html: cannot be written"),
        ("search", "results", "results/search.jsonl: cannot be written"),
    ],
)
def test_a_folder_that_cannot_be_written_is_told_before_anything_is_read(
    needs: None, command: str, out: str, names: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    for name in ("page/index.html", "results/results.jsonl", "results/search.jsonl"):
        (tmp_path / name).mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    assert main([command, str(tmp_path / "no-data.csv"), "--out", str(tmp_path / out)]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"ids-train: {tmp_path / names}") and told.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_missing_package_is_the_pip_line(
    flows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorflow" else found(name)
    )
    for command in ("fit", "search", "compare"):
        assert main([command, str(flows), "--out", str(tmp_path / "x")]) == 2
        assert "tensorflow is missing: pip install 'ids-daemon[train]'" in capsys.readouterr().err
