"""`ids-train evaluate`: from files of labelled flows to a report, and what a user can do wrong."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture.columns import COLUMNS
from models.bundle import Bundle
from models.training.cli import main
from tests.models.training.cli.test_fit_windows import Corpus, write_corpus
from tests.models.training.flows.making import CORRECTED, ML_CSV, line, rows, write

pytest.importorskip("matplotlib", reason="needs matplotlib")
pytest.importorskip("sklearn", reason="needs scikit-learn")

BLANK = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (1).to_bytes(4, "big") * 2
FOREST = ["--systems", "random-forest", "--date", "2026-01-02"]


@pytest.fixture(autouse=True, scope="module")
def quick_figures() -> Iterator[None]:
    """Figures that take no time: how they are drawn is held by the tests of the report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.training.report.page.png", lambda figure: BLANK)
        yield


def flows(path: Path, seed: int, attacks: int = 60, benign: int = 60) -> Path:
    """A file of the corrected form; attacks last longer and send more, with some overlap."""
    random = np.random.default_rng(seed)
    names = [column.name for column in COLUMNS[:3]]
    lines = []
    for number in range(attacks + benign):
        attack = number < attacks
        values = random.normal(200 if attack else 100, 30, 3)
        cells = {name.replace(" ", "_"): f"{value:.3f}" for name, value in zip(names, values, strict=True)}
        label = ("Portscan" if number % 2 else "DDoS") if attack else "BENIGN"
        stamp = f"2017-07-0{3 + number % 3} 12:{number % 60:02d}:00.000000"
        # All other features say nothing: they are those of one row.
        lines.append(line(CORRECTED, 0, Label=label, Timestamp=stamp, **cells))
    return write(path, CORRECTED, lines)


def evaluate(*words: object) -> int:
    return main(["evaluate", *map(str, words)])


def report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text())


def judged_in(folder: Path) -> list[dict[str, Any]]:
    return report(folder)["data"]["tests"]


# -- protocols


def test_days_are_each_judged_by_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = flows(tmp_path / "all.csv", 1)
    assert evaluate(data, "--protocol", "days", "--out", tmp_path / "out", *FOREST) == 0
    judged = judged_in(tmp_path / "out")
    assert [one["test"] for one in judged] == [f"all days but 2017-07-0{day}" for day in (3, 4, 5)]
    assert [sum(one["confusion"].values()) for one in judged] == [40, 40, 40]
    # Three features of which each parts the classes by three deviations.
    assert all(one["confusion"]["fp"] + one["confusion"]["fn"] <= 4 for one in judged)
    shown = capsys.readouterr().out
    assert shown.count("Random forest") == 3
    assert f"wrote {tmp_path / 'out' / 'index.html'}" in shown


def test_days_that_alone_have_attacks_are_left_out_of_the_judging(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = flows(tmp_path / "all.csv", 1).read_text().splitlines()
    # Attacks of the first day alone.
    kept = [row for row in text[1:] if "BENIGN" in row or "2017-07-03" in row]
    data = write(tmp_path / "first.csv", CORRECTED, kept)
    assert evaluate(data, "--protocol", "days", "--out", tmp_path / "out", *FOREST) == 0
    assert [one["test"] for one in judged_in(tmp_path / "out")] == [
        f"all days but 2017-07-0{day}" for day in (4, 5)
    ]
    told = "all days but 2017-07-03: not judged, those days have no attacks to learn from"
    assert told in capsys.readouterr().out
    assert told in (tmp_path / "out" / "index.html").read_text()


def test_no_leaks_prints_copies_beside_those_of_the_random_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    once = flows(tmp_path / "once.csv", 1).read_text().splitlines()
    data = write(tmp_path / "twice.csv", CORRECTED, [*once[1:], *once[1:61]])
    assert evaluate(data, "--protocol", "no-leaks", "--out", tmp_path / "out", *FOREST) == 0
    told = {(one["split"], one["duplicates"]): one for one in report(tmp_path / "out")["data"]["leaks"]}
    random = told["random 70/15/15", "kept"]
    assert random["twins"] > 5
    assert told["by time 70/15/15, groups whole", "kept"]["twins"] == 0
    assert (
        f"random 70/15/15, duplicates kept: {random['twins']} of {random['judged']} judged flows have a twin"
        in capsys.readouterr().out
    )
    assert [one["leaked"] for one in judged_in(tmp_path / "out")] == [0]


def test_random_split_is_the_papers_in_as_many_shuffles_as_wanted(tmp_path: Path) -> None:
    data = flows(tmp_path / "all.csv", 1)
    assert evaluate(data, "--protocol", "random", "--shuffles", 2, "--out", tmp_path / "o", *FOREST) == 0
    judged = judged_in(tmp_path / "o")
    assert [one["test"] for one in judged] == [f"random 70/15/15, shuffle {n}" for n in (1, 2)]
    assert [one["fitted_on"] for one in judged] == [82, 82]


def test_cross_set_judges_each_set_by_itself(tmp_path: Path) -> None:
    a, b, c = (flows(tmp_path / f"{name}.csv", seed) for seed, name in enumerate("abc"))
    d = flows(tmp_path / "d.csv", 9, attacks=0, benign=30)
    words = ["--protocol", "cross-set", "--train", a, "--test", b, c, "--test", d]
    assert evaluate(*words, "--out", tmp_path / "out", *FOREST) == 0
    judged = judged_in(tmp_path / "out")
    assert [one["test"] for one in judged] == ["b.csv + c.csv", "d.csv"]
    assert [sum(one["confusion"].values()) for one in judged] == [240, 30]
    assert judged[1]["confusion"]["tp"] == judged[1]["confusion"]["fn"] == 0
    local = report(tmp_path / "out")["data"]["local thresholds, d.csv"]["Random forest"][0]
    assert (local["rows"], local["rate"], local["resolvable"]) == (9, 0.01, False)


def test_the_same_command_writes_the_same_bytes(tmp_path: Path) -> None:
    data = flows(tmp_path / "all.csv", 1)
    for out in ("first", "second"):
        assert evaluate(data, "--protocol", "random", "--out", tmp_path / out, *FOREST) == 0
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / out).iterdir()} for out in ("first", "second")
    )
    assert first == second
    assert report(tmp_path / "first")["date"] == "2026-01-02"
    assert (
        "--protocol random --systems random-forest --scale minmax --seed 1 --shuffles 1"
        in report(tmp_path / "first")["command"]
    )


def test_the_report_says_what_was_read(tmp_path: Path) -> None:
    data = flows(tmp_path / "all.csv", 1)
    text = data.read_text().splitlines()
    text[5] = line(CORRECTED, 0, Label="DDoS", **{COLUMNS[0].name.replace(" ", "_"): "NaN"})
    data.write_text("\n".join(text) + "\n")
    assert evaluate(data, "--protocol", "random", "--out", tmp_path / "out", *FOREST) == 0
    page = (tmp_path / "out" / "index.html").read_text()
    assert "1 of 120 flows left out for NaN or an infinity" in page


# -- a bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bundle of flows for the first three features, its network fresh."""
    keras = pytest.importorskip("keras", reason="needs Keras and TensorFlow to convert a network")
    pytest.importorskip("tensorflow", reason="needs Keras and TensorFlow to convert a network")
    from models.flow_bundle import save_flow_bundle
    from models.network import PaperSpec, paper_network, weights_to_arrays
    from models.training.convert import convert_flows
    from models.training.flows.cleaning import clean
    from models.training.flows.preprocessing import Preprocessing
    from models.training.flows.reading import read_flows
    from models.training.paper.comparing import digest

    folder = tmp_path_factory.mktemp("bundle")
    table, _ = read_flows([flows(folder / "fit.csv", 5)])
    made = Preprocessing.fit(table, np.arange(len(table)), drop_correlated=None)
    spec = PaperSpec(len(made.names), filters=2, lstm=2, dense=2)
    keras.utils.set_random_seed(1)
    of = {"data_sha256": digest(clean(table)[0])}
    weights = weights_to_arrays(paper_network(spec))
    save_flow_bundle(
        folder / "paper-1", name="paper-1", preprocessing=made.to_json(), spec=spec, weights=weights,
        threshold=0.5, classes=table.labels, training=of, metrics={}, tflite=convert_flows(spec, weights),
        created="2026-01-02",
    )  # fmt: skip
    return folder / "paper-1"


def test_a_bundle_scores_all_of_the_data(bundle: Path, tmp_path: Path) -> None:
    from models.flow_bundle import load_flow_bundle
    from models.training.flows.preprocessing import Preprocessing
    from models.training.flows.reading import read_flows

    data = flows(tmp_path / "new.csv", 2, benign=80)
    assert evaluate(bundle, data, "--out", tmp_path / "out", "--date", "2026-01-02") == 0
    loaded = load_flow_bundle(bundle)
    table, _ = read_flows([data])
    scores = loaded.score(Preprocessing.from_json(loaded.preprocessing).transform(table))
    (one,) = judged_in(tmp_path / "out")
    assert (one["system"], one["threshold"], one["fitted_on"], one["leaked"]) == ("paper-1", 0.5, 0, None)
    flagged = scores > 0.5
    assert one["confusion"] == {
        "tn": int((~flagged & ~table.attack).sum()),
        "fp": int((flagged & ~table.attack).sum()),
        "fn": int((~flagged & table.attack).sum()),
        "tp": int((flagged & table.attack).sum()),
    }
    assert report(tmp_path / "out")["title"] == "Evaluation: paper-1"


def test_a_bundle_that_is_judged_on_what_it_was_fitted_on_says_so(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "paper-1 was fitted on most of these very flows"
    assert evaluate(bundle, bundle.parent / "fit.csv", "--out", tmp_path / "same") == 0
    assert told in capsys.readouterr().out and told in (tmp_path / "same" / "index.html").read_text()
    assert evaluate(bundle, flows(tmp_path / "new.csv", 2), "--out", tmp_path / "other") == 0
    assert told not in capsys.readouterr().out


def test_a_bundle_gives_the_network_its_sizes_where_it_is_fitted_anew(bundle: Path, tmp_path: Path) -> None:
    words = [bundle, flows(tmp_path / "all.csv", 1), "--protocol", "random", "--epochs", 2]
    assert evaluate(*words, "--systems", "cnn-lstm", "--out", tmp_path / "out") == 0
    (one,) = judged_in(tmp_path / "out")
    assert one["system"] == "CNN-LSTM"
    assert [set(entry) >= {"loss", "val_loss", "accuracy"} for entry in one["history"]] == [True, True]


def test_data_that_lacks_what_the_bundle_reads_is_told(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = [name for name in ML_CSV if name.strip() not in ("Flow Duration",)]
    data = write(tmp_path / "short.csv", header, rows(header, ["BENIGN", "DDoS"]))
    assert evaluate(bundle, data, "--out", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "short.csv" in error and "lacks" in error


# -- what a user can do wrong


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["DATA"], "not a bundle; as-is judges BUNDLE on DATA"),
        ([], "nothing: not a bundle"),
        (["--protocol", "days"], "no data: name files"),
        (["DATA", "--protocol", "days", "--test", "DATA"], "belong to --protocol cross-set, not to days"),
        (["--protocol", "cross-set", "--train", "DATA"], "cross-set takes --train DATA and --test DATA"),
        (
            ["DATA", "--protocol", "cross-set", "--train", "DATA", "--test", "DATA"],
            "cross-set takes --train DATA and --test DATA",
        ),
        (["DATA", "--protocol", "days", "--systems", "oracle"], "no system oracle: there are cnn-lstm"),
        (["DATA/none.csv", "--protocol", "days"], "none.csv"),
        (["BENIGN", "--protocol", "random"], "only benign flows in the data"),
    ],
)
def test_wrong_use_is_one_line(
    words: Sequence[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {
        "DATA": str(flows(tmp_path / "all.csv", 1)),
        "BENIGN": str(flows(tmp_path / "benign.csv", 1, attacks=0)),
        "DATA/none.csv": str(tmp_path / "none.csv"),
    }
    given = [places.get(word, word) for word in words]
    assert evaluate(*given, "--out", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("ids-train: ") and says in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("rate", ["0", "0.0", "-0.1", "1", "nan", "many"])
def test_a_local_rate_that_is_no_share_above_0_is_refused(
    rate: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        evaluate("BUNDLE", "DATA", "--local-rate", rate, "--out", tmp_path / "out")
    assert f"argument --local-rate: {rate} is no share" in capsys.readouterr().err


def test_a_report_is_not_written_over_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("mine")
    data = flows(tmp_path / "all.csv", 1)
    assert evaluate(data, "--protocol", "days", "--out", tmp_path / "out") == 1
    assert f"{tmp_path / 'out'}: is a file" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize(
    ("out", "names"), [("file/below/out", "file/below"), ("old", "old/index.html"), ("closed", "closed")]
)
def test_a_report_that_cannot_be_written_is_told_before_anything_is_read(
    out: str, names: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "old" / "index.html").mkdir(parents=True)
    (tmp_path / "closed").mkdir()

    def refused(dir: Path) -> None:  # as for one who may not write there, which root always may
        raise PermissionError(13, "Permission denied", str(dir))

    if out == "closed":
        monkeypatch.setattr("models.training.cli.options.tempfile.TemporaryFile", refused)
    words = [tmp_path / "no-data.csv", "--protocol", "days", "--out", tmp_path / out]
    before = sorted(tmp_path.rglob("*"))
    assert evaluate(*words) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "no-data" not in error
    assert f"{tmp_path / names}" in error and "name another folder for the report" in error
    assert sorted(tmp_path.rglob("*")) == before


def test_a_command_that_fails_leaves_no_folder_for_its_report(tmp_path: Path) -> None:
    assert evaluate(tmp_path / "none.csv", "--protocol", "days", "--out", tmp_path / "a" / "b" / "out") == 1
    assert not (tmp_path / "a").exists()


# -- captures


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    pytest.importorskip("pyarrow", reason="needs pyarrow to read records")
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def test_a_bundle_of_windows_is_judged_on_captures(
    corpus: Corpus, save: Callable[..., Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [save().path, "--records", corpus.records, "--labels", corpus.labels, "--out", tmp_path / "out"]
    assert evaluate(*words) == 0
    captures, windows = judged_in(tmp_path / "out")
    assert (captures["group"], windows["group"], captures["system"]) == ("captures", "windows", "small-1")
    counts = captures["confusion"]
    assert (counts["tp"] + counts["fn"], counts["tn"] + counts["fp"]) == (4, 4)
    assert sum(windows["confusion"].values()) > 100
    assert "8 captures" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--records", "DIR"], "captures are judged with --records and --labels, both"),
        (["--protocol", "captures"], "captures are judged with --records and --labels, both"),
        (["--records", "DIR", "--labels", "L"], "as-is judges one BUNDLE on --records"),
        (["DIR", "--records", "DIR", "--labels", "L", "--protocol", "captures"], "takes no bundle"),
        (["--records", "DIR", "--labels", "L", "--protocol", "days"], "with --protocol as-is or captures"),
        (["--records", "DIR", "--labels", "L", "--train", "DIR"], "belong to --protocol cross-set"),
    ],
)
def test_wrong_use_of_captures_is_one_line(
    words: Sequence[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(*words, "--out", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and says in error


def test_a_bundle_that_ships_is_judged_by_its_name() -> None:
    from models.training.cli.evaluate_windows import _checked

    words = Namespace(
        paths=[Path("native")], records="r", labels="l", train=[], test=[], protocol="as-is", meter="native"
    )
    bundle = _checked(words)
    assert bundle is not None and bundle.name.startswith("native-")


def test_records_of_no_labelled_capture_are_told(
    corpus: Corpus, save: Callable[..., Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "none").mkdir()
    words = [save().path, "--records", tmp_path / "none", "--labels", corpus.labels]
    assert evaluate(*words, "--out", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "no window in the records of the 8 labelled captures" in error


@pytest.mark.slow
def test_captures_are_judged_by_networks_of_other_origins(corpus: Corpus, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'ids-daemon[train]'")
    words = ["--protocol", "captures", "--records", corpus.records, "--labels", corpus.labels]
    assert evaluate(*words, "--folds", 2, "--epochs", 1, "--out", tmp_path / "out") == 0
    judged = judged_in(tmp_path / "out")
    assert [one["group"] for one in judged] == ["captures"] * 2 + ["windows"] * 2
    assert [sum(one["confusion"].values()) for one in judged[:2]] == [4, 4]
    origins = [set(one["test"].split(": ")[1].split(", ")) for one in judged[:2]]
    assert origins[0] | origins[1] == set("abcd") and not origins[0] & origins[1]
    assert all(len(one["history"]) == 1 for one in judged)
