"""The page of a comparison claims no difference, and no likeness, that its shuffles cannot tell."""

from __future__ import annotations

import json
from typing import Any

import pytest

from models.training.paper.comparing import Run
from models.training.paper.comparison_report import comparison_report
from models.training.systems.registry import chosen
from tests.models.training.paper.test_comparing import made

pytest.importorskip("matplotlib", reason="needs matplotlib")
pytest.importorskip("scipy", reason="needs scipy, which comes with scikit-learn")


def page(runs: list[Run]) -> tuple[str, dict[str, Any]]:
    """All text of the sections, and the table of differences."""
    report = comparison_report(runs, chosen(["cnn-lstm", "svm"]), ["made.csv"], command="ids-train compare")
    told = json.loads(report.files()["report.json"])
    (differences,) = [one for one in told["tables"] if one["title"].startswith("The CNN-LSTM against each")]
    return " ".join(one["text"] for one in told["sections"]), differences


def test_one_shuffle_is_neither_level_nor_ahead() -> None:
    text, differences = page([made("cnn-lstm", 1, 0, 0), made("svm", 1, 20, 20)])
    (row,) = differences["rows"]
    assert row[5::4] == ["unknown"] * 4
    assert "Against SVM, the best of the paper's baselines here by accuracy, one shuffle tells no" in text
    assert "level in" not in text and "ahead in" not in text
    assert "one shuffle, 800 training rows and 400 test rows" in text and "1 shuffles" not in text


def test_several_shuffles_give_a_verdict_of_each_figure() -> None:
    runs = [made("cnn-lstm", n, 1, 5) for n in (1, 2, 3)] + [made("svm", n, 20 + n, 5) for n in (1, 2, 3)]
    text, differences = page(runs)
    assert [row[5::4] for row in differences["rows"]] == [["ahead", "ahead", "level", "ahead"]]
    assert "the CNN-LSTM is ahead in accuracy, ahead in precision, level in recall, ahead in F1." in text
    assert "3 shuffles, 800 training rows" in text
