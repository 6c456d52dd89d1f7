"""Comparisons: every fit once, on the same splits, and the arithmetic of Table 1."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from models.errors import TrainingError
from models.training.flows.splits import paper_text
from models.training.flows.table import FlowTable
from models.training.journal import Journal
from models.training.metrics import Confusion
from models.training.paper import table_one
from models.training.paper.comparing import Run, compare, digest, journal, prepare
from models.training.systems.registry import SYSTEMS, chosen
from tests.models.training.flows.making import flow_table
from tests.models.training.made_flows import table


@pytest.fixture(autouse=True)
def _needs() -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'ids-daemon[train]'")


def run(folder: Path, flows: FlowTable, systems: list[str], shuffles: int = 2, **other: object) -> list[Run]:
    return compare(
        flows,
        chosen(systems),
        protocols=["text", "matrix"],
        shuffles=range(1, shuffles + 1),
        results=journal(folder),
        **other,  # type: ignore[arg-type]
    )


def test_all_systems_get_the_same_parts_of_each_protocol(tmp_path: Path) -> None:
    flows = table(600, repeated=200)
    runs = run(tmp_path, flows, ["random-forest", "1-nn"])
    assert [(r.shuffle, r.protocol, r.system) for r in runs] == [
        (shuffle, protocol, system)
        for shuffle in (1, 2)
        for protocol in ("text", "matrix")
        for system in ("random-forest", "1-nn")
    ]
    for text in (r for r in runs if r.protocol == "text"):
        assert (text.train, text.test, text.leaked) == (420, 90, 0)
    for matrix in (r for r in runs if r.protocol == "matrix"):
        assert matrix.train == pytest.approx(800 * 0.7 * 0.85, abs=2)
        assert (matrix.test, matrix.confusion.benign + matrix.confusion.attacks) == (240, 240)
        assert matrix.leaked > 20
    assert min(r.confusion.accuracy for r in runs if r.system == "random-forest") > 0.95


def test_leaks_are_counted_on_the_features_that_are_seen() -> None:
    # No two flows are the same, but the second feature hardly differs from the first and goes.
    random = np.random.default_rng(1)
    first = np.arange(200) % 10
    flows = flow_table(np.c_[first, first + 1e-3 * random.random(200)], first >= 5)
    split = paper_text(flows, 1)
    prepared = prepare(flows, split)
    assert (split.leaked, prepared.names, prepared.leaked) == (0, flows.features[:1], len(split.test))


def test_what_is_in_the_journal_is_not_fitted_again(tmp_path: Path) -> None:
    flows = table(300)
    said: list[str] = []
    first = run(tmp_path, flows, ["random-forest"], 1, log=said.append)
    assert len(said) == 2 and said[0].startswith("text 1 random-forest: accuracy ")
    more = run(tmp_path, flows, ["random-forest", "1-nn"], 2, log=said.append)
    assert len(said) == 2 + 6
    assert [r for r in more if r.system == "random-forest" and r.shuffle == 1] == first
    run(tmp_path, table(300, seed=1), ["random-forest"], 1, log=said.append)
    run(tmp_path, flows, ["random-forest"], 1, scale="log-minmax", log=said.append)
    assert len(said) == 2 + 6 + 2 + 2


def test_comparison_is_the_same_again(tmp_path: Path) -> None:
    flows = table(300)
    twice = [run(tmp_path / name, flows, ["random-forest", "svm"]) for name in "ab"]
    assert [r.confusion for r in twice[0]] == [r.confusion for r in twice[1]]


def test_one_class_only_is_refused(tmp_path: Path) -> None:
    flows = table(100)
    with pytest.raises(TrainingError, match="made.csv: only benign flows in the data"):
        run(tmp_path, flows.take(~flows.attack), ["1-nn"])


def test_digest_is_of_features_labels_and_protocol() -> None:
    flows = table(50)
    other = flows.values.copy()
    other[3, 3] += 1
    changed = [
        replace(flows, values=other),
        replace(flows, label=np.roll(flows.label, 1)),
        replace(flows, protocol=np.roll(flows.protocol, 1)),
        replace(flows, labels=("BENIGN", "DDoS", "PortScan")),
    ]
    assert len({digest(one) for one in [flows, *changed]}) == 5
    assert digest(replace(flows, files=("elsewhere.csv",))) == digest(flows)


def test_journal_leaves_out_a_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    results = Journal(path, ("a",))
    results.add({"a": 1, "b": 2})
    with open(path, "a") as file:
        file.write('{"a": 2, "b"')
    again = Journal(path, ("a",))
    assert [again.get(a=1), again.get(a=2), len(again)] == [{"a": 1, "b": 2}, None, 1]
    again.add({"a": 2, "b": 5})
    assert [json.loads(line)["b"] for line in path.read_text().splitlines()] == [2, 5]


@pytest.mark.parametrize("line", ["no json", "[1]", '{"b": 1}'])
def test_journal_refuses_a_file_that_is_none(tmp_path: Path, line: str) -> None:
    (tmp_path / "results.jsonl").write_text(f'{{"a": 1}}\n{line}\n')
    with pytest.raises(TrainingError, match="results.jsonl: line 2 is no result"):
        Journal(tmp_path / "results.jsonl", ("a",))


def test_journal_refuses_lines_that_lack_a_field(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text('{"a": 1, "loss": 2}\n{"a": 2}\n')
    with pytest.raises(TrainingError, match="results.jsonl: line 2 is no result"):
        Journal(tmp_path / "results.jsonl", ("a",), ("loss",))


def test_a_run_of_another_version_is_told() -> None:
    line = json.loads(json.dumps(asdict(made("svm", 1, 2, 3))))
    assert Run.of(line) == made("svm", 1, 2, 3)
    for changed in ({**line, "confusion": {"right": 1}}, {k: line[k] for k in line if k != "epochs"}):
        with pytest.raises(TrainingError, match="a result kept earlier is not of this version"):
            Run.of(changed)


def test_journal_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="a result cannot be written"):
        Journal(tmp_path / "file" / "results.jsonl", ("a",)).add({"a": 1})


def made(system: str, shuffle: int, fp: int, fn: int) -> Run:
    """100 attacks and 300 benign flows, tested after 800 to train on."""
    counts = Confusion(300 - fp, fp, fn, 100 - fn)
    return Run("text", "minmax", shuffle, system, counts, 800, 400, 3, 2.0 * shuffle, 0.1, 5)


def test_rows_pool_counts_and_tell_the_spread() -> None:
    runs = [made("svm", 1, 3, 1), made("svm", 2, 1, 3), made("cnn-lstm", 1, 0, 2)]
    network, svm = table_one.rows(runs, list(SYSTEMS.values()))
    assert svm.pooled == Confusion(596, 4, 4, 196)
    assert (svm.shuffles, svm.fit_s) == (2, 3.0)
    assert svm.pooled.accuracy == pytest.approx(0.99)
    assert svm.spread.accuracy == pytest.approx(0.0)
    assert svm.spread.recall == pytest.approx(0.02 / math.sqrt(2))
    assert (network.shuffles, network.pooled.precision) == (1, 1.0)
    assert math.isnan(network.spread.accuracy)
    cells = dict(zip(table_one.figure_columns()[:3], table_one.figure_cells(svm), strict=False))
    assert cells == {"system": "SVM", "accuracy": "99.00 ±0.00", "paper": "97.67"}
    assert table_one.figure_cells(network)[1:5] == ["99.50", "99.52", "100.00", "98.70"]
    assert table_one.figure_cells(svm)[-2:] == ["0.67", "3.0"]


def test_difference_is_paired_by_shuffle_and_allows_for_shared_rows() -> None:
    ours = [made("cnn-lstm", s, fp, 1) for s, fp in zip(range(1, 6), (1, 2, 1, 2, 1), strict=True)]
    forest = [made("random-forest", s, fp, 1) for s, fp in zip(range(1, 5), (9, 10, 10, 9), strict=True)]
    svm = [made("svm", s, fp, 1) for s, fp in zip(range(1, 6), (2, 1, 2, 1, 1), strict=True)]
    best, level = table_one.against([*ours, *svm, *forest], "cnn-lstm", ["cnn-lstm", "random-forest", "svm"])
    assert (best.other, best.shuffles, level.other, level.shuffles) == ("random-forest", 4, "svm", 5)
    accuracy = best.of["accuracy"]
    gaps = np.array([8, 8, 9, 7]) / 400
    assert accuracy.mean == pytest.approx(gaps.mean())
    # Student's t of 3 degrees at 97.5 % is 3.18245; 400 test rows by 800 training rows.
    reach = 3.18245 * gaps.std(ddof=1) * math.sqrt(1 / 4 + 400 / 800)
    assert accuracy.high == pytest.approx(gaps.mean() + reach, rel=1e-5)
    assert accuracy.verdict == "ahead" and best.of["recall"].verdict == "level"
    assert level.of["accuracy"].verdict == "level"
    behind = table_one.against([*ours, *forest], "random-forest", ["cnn-lstm"])[0]
    assert behind.of["accuracy"].verdict == "behind"


def test_best_is_the_highest_of_those_named() -> None:
    found = table_one.rows(
        [made("svm", 1, 1, 1), made("random-forest", 1, 2, 2), made("1-nn", 1, 0, 0)], list(SYSTEMS.values())
    )
    assert table_one.best_of(found, ["svm", "random-forest"]) == "svm"
    assert table_one.best_of(found, ["cnn-lstm"]) is None
