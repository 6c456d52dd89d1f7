"""`ids-train search --records`, and what `fit --records --from-search` and the daemon make of it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from models.network import NetworkSpec
from models.training.cli import main
from models.training.searching import Fitted, Task, journal, search
from models.training.windows import searching
from models.training.windows.network_fit import Arrays, FitResult, Options
from tests.models.training.cli.test_fit_windows import Corpus, fit, lines_of, write_corpus

ROOT = Path(__file__).parents[4]

#: Two points: of four rows and of eight.
GRID = ("batch-size=64", "learning-rate=0.01", "filters=4", "lstm=4", "dropout=0.1", "window=4,8")


@pytest.fixture(autouse=True)
def needs() -> None:
    for package in ("tensorflow", "sklearn", "matplotlib", "scipy", "pyarrow"):
        if importlib.util.find_spec(package) is None:
            pytest.skip("needs the trainer: pip install 'ids-daemon[train]'")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'ids-daemon[train]'")
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def command(corpus: Corpus, out: Path, *more: str, grid: tuple[str, ...] = GRID) -> list[str]:
    sides = ["--records", str(corpus.records), "--labels", str(corpus.labels), "--out", str(out)]
    return ["search", *sides, "--folds", "2", "--epochs", "2", *(f"--grid={one}" for one in grid), *more]


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[NetworkSpec]:
    """What is fitted, without a fit; the loss is a hundredth a row, less what the epochs take off."""
    asked: list[NetworkSpec] = []

    def fit_network(spec: NetworkSpec, train: Arrays, validation: Arrays, options: Options) -> FitResult:
        asked.append(spec)
        losses = [1 + spec.window / 100 - epoch / 1000 for epoch in range(options.epochs)]
        return FitResult({}, [{"loss": 1.0, "validation_loss": loss} for loss in losses])

    monkeypatch.setattr(searching, "fit_network", fit_network)
    monkeypatch.setattr(searching, "average_precision", lambda *of: 0.75)
    return asked


def test_search_says_what_is_on_each_side_and_which_point_is_best(
    corpus: Corpus, fitted: list[NetworkSpec], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(command(corpus, tmp_path)) == 0
    said = capfd.readouterr().out.splitlines()
    assert said[0].endswith(" windows of 8 captures; 0 without records")
    assert said[1].startswith("training: ") and said[1].endswith(" of 4 captures, 2 origins")
    assert said[2].startswith("validation: ") and " of 4 captures, 2 origins; of origins that" in said[2]
    told = "batch_size 64, learning_rate 0.01, filters 4, lstm 4, dropout 0.1, window "
    assert sorted(said[3:5], key=lambda line: line.split(": ", 1)[1]) == [
        f"{1 + fitted.index(one)} of 2: {told}{one.window}: loss {1 + one.window / 100 - 0.001:.4f}"
        for one in sorted(fitted, key=lambda spec: spec.window)
    ]
    assert said[5] == f"best of 2: {told}4: validation loss 1.0390"
    assert said[6] == f"wrote {tmp_path}"
    assert {(spec.window, spec.filters, spec.lstm, spec.dropout) for spec in fitted} == {
        (4, 4, 4, 0.1), (8, 4, 4, 0.1),
    }  # fmt: skip
    report = json.loads((tmp_path / "report.json").read_text())
    (table,) = report["tables"]
    assert [row[5:9] for row in table["rows"]] == [
        ["4", pytest.approx(1.039), 0.75, 2], ["8", pytest.approx(1.079), 0.75, 2],
    ]  # fmt: skip
    assert "\n".join(said[:3]) in (tmp_path / "index.html").read_text()


def test_a_stopped_search_goes_on_and_fits_nothing_twice(
    corpus: Corpus,
    fitted: list[NetworkSpec],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = searching.fit_network

    def stopped(*of: Any) -> FitResult:
        if len(fitted) == 1:
            raise KeyboardInterrupt
        return whole(*of)

    monkeypatch.setattr(searching, "fit_network", stopped)
    assert main(command(corpus, tmp_path)) == 130
    assert lines_of(capfd.readouterr().err) == [
        f"ids-train: interrupted: {tmp_path} has what is done; the same command goes on there"
    ]
    monkeypatch.setattr(searching, "fit_network", whole)
    for _ in range(2):
        assert main(command(corpus, tmp_path)) == 0
        assert sorted(spec.window for spec in fitted) == [4, 8]
    # Another cut in folds judges by other captures: nothing is taken over.
    assert main(command(corpus, tmp_path, "--folds", "3")) == 0
    assert len(fitted) == 4


def test_what_cannot_be_searched_is_one_line_before_anything_is_fitted(
    corpus: Corpus, fitted: list[NetworkSpec], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def error(*words: str) -> str:
        assert main([*words]) == 1
        (line,) = lines_of(capfd.readouterr().err)
        return line

    line = error(*command(corpus, tmp_path / "s", grid=("window=8,32",)))
    assert line == "ids-train: a window of 32 rows: the daemon keeps the newest 16 of a host"
    assert not (tmp_path / "s").exists()
    of_none = Corpus(tmp_path, corpus.labels)
    assert "holds the records of none of the 8 labelled captures" in error(*command(of_none, tmp_path / "s"))
    task = Task("flows", "data", {}, 1, lambda point: Fitted(1.0, 1, {}), {}, "")
    search(task, {"lstm": (4,)}, journal(tmp_path / "flows", "flows"))
    other = (
        f"ids-train: {tmp_path / 'flows'}: holds a search on labelled flows, not on flow records:"
        " name another folder, of `ids-train search --records`"
    )
    assert error(*command(corpus, tmp_path / "flows")) == other
    sides = ["--records", str(corpus.records), "--labels", str(corpus.labels), "--out", str(tmp_path / "b")]
    assert error("fit", *sides, "--from-search", str(tmp_path / "flows")) == other
    assert not fitted and not (tmp_path / "b").exists()


@pytest.mark.slow
def test_the_best_of_a_search_becomes_a_bundle_that_the_daemon_replays(
    corpus: Corpus, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ids_daemon.cli import main as daemon
    from models import load_bundle

    searched, out = tmp_path / "searched", tmp_path / "small"
    assert main(command(corpus, searched, grid=(*GRID[:-1], "window=8"))) == 0
    (line,) = [json.loads(line) for line in (searched / "search.jsonl").read_text().splitlines()]
    assert line["kind"] == "windows" and line["point"]["window"] == 8 and line["epochs"] == 2
    assert 0 < line["loss"] < 10 and 0 < line["average_precision"] <= 1
    capfd.readouterr()
    assert fit(corpus, out, "--from-search", str(searched)) == 0
    said = capfd.readouterr().out.splitlines()
    told = "batch_size 64, learning_rate 0.01, filters 4, lstm 4, dropout 0.1, window 8"
    assert said[0] == f"from the search: {told}"
    bundle = load_bundle(out)
    assert (bundle.spec.window, bundle.spec.filters, bundle.spec.dropout) == (8, 4, 0.1)
    found = {name: bundle.manifest["training"][name] for name in line["point"]}
    assert found == line["point"]
    assert main(["inspect", str(out)]) == 0
    described = capfd.readouterr().out.splitlines()
    assert any(line.startswith("features:") and line.endswith("windows of 8)") for line in described)
    assert {"  batch_size: 64", "  learning_rate: 0.01", "  window: 8", "  seed: 1"} <= set(described)
    for name in ("IDS_ALERTING__THRESHOLD", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("IDS_DETECTOR__MODEL", str(out))
    monkeypatch.setenv("IDS_ALERTING__THRESHOLD", "-99")
    alerts = tmp_path / "alerts.jsonl"
    assert daemon(["bundle", "verify", str(out)]) == 0
    demo = ROOT / "tests" / "data" / "demo.pcapng.zst"
    assert daemon(["replay", str(demo), "--quiet", "--alerts", str(alerts)]) == 0
    lines = [json.loads(one) for one in alerts.read_text().splitlines()]
    metadata = [one["alert"]["metadata"] for one in lines]
    assert {one["model"][0] for one in metadata} == {"small"}
    assert len({one["score"][0] for one in metadata}) > 10
