"""The report as it is read: the page parsed, its figures decoded, its numbers for machines."""

from __future__ import annotations

import base64
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import TrainingError
from models.training.curves import precision_recall_curve, reliability, roc_curve
from models.training.intervals import Share
from models.training.metrics import Confusion, FamilyRecall, recall_at
from models.training.report import Column, Report, plots
from models.training.report.cells import interval, shown

pytest.importorskip("matplotlib", reason="needs matplotlib")
pytest.importorskip("sklearn", reason="needs scikit-learn")

HOSTILE = '<script>alert("x")</script> & $\\frac{1}{0}$ \N{REPLACEMENT CHARACTER}'
PNG = b"\x89PNG\r\n\x1a\n"
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Tags with their attributes, texts of chosen ones, and whether all that is opened is closed."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.texts[tag][-1] += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def history() -> list[dict[str, float]]:
    return [{"loss": 1 / n, "accuracy": 1 - 1 / n, "val_loss": 1.1 / n} for n in range(1, 5)]


def filled(word: str = "scan") -> Report:
    """A report with one of everything, `word` wherever data speaks."""
    random = np.random.default_rng(4)
    truth = random.random(300) < 0.3
    scores = np.clip(random.normal(0.3 + 0.4 * truth, 0.2), 0, 1)
    report = Report(f"Report of {word}", word, date="2026-01-02", command=f"ids-train evaluate {word}")
    report.text(f"Data {word}", f"First {word}.\n\nSecond.")
    columns = [Column("family"), Column("rows", "count"), Column("recall", "percent", 1)]
    rows = [[word, 1234567, Share(0.5, 0.25, 0.75)], ["none", None, Share(math.nan, 0.0, 1.0)]]
    report.table(f"Recall of {word}", columns, rows, f"Read {word} so.")
    report.text("Figures", "")
    report.figure(f"Matrix of {word}", f"Look {word}.", plots.confusion_matrix(Confusion(9, 1, 0, 5)))
    report.figure("Learning", "Down.", plots.accuracy_and_loss(history()))
    report.figure("PR", "Up.", plots.pr_curves({word: precision_recall_curve(truth, scores)}))
    report.figure("ROC", "Up.", plots.roc_curves({word: roc_curve(truth, scores)}))
    report.figure("Rates", "Up.", plots.recall_at_rates({word: recall_at(truth, scores)}))
    report.figure("Calibration", "Even.", plots.calibration_curve({word: reliability(truth, scores)}))
    found = [FamilyRecall(word, 4, 2, 0.5, 0.2, 0.8), FamilyRecall("other", 4, 0, 0.0, 0.0, 0.5)]
    report.figure("Families", "Right.", plots.family_recalls({word: found}))
    report.data("word", word)
    return report


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return filled().files()


@pytest.fixture(scope="module")
def page(files: dict[str, bytes]) -> Page:
    return Page(files["index.html"].decode())


# -- the page


def test_every_figure_is_in_the_page_and_beside_it(files: dict[str, bytes], page: Page) -> None:
    images = [image["src"] or "" for image in page.named("img")]
    assert len(images) == 7
    inlined = [base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in images]
    assert all(image.startswith(PNG) for image in inlined)
    assert sorted(inlined) == sorted(data for name, data in files.items() if name.endswith(".png"))


def test_page_asks_for_nothing_from_elsewhere(files: dict[str, bytes], page: Page) -> None:
    text = re.sub(rb"base64,[A-Za-z0-9+/=]+", b"", files["index.html"])
    assert not re.search(rb"https?://|url\(|@import|<script|<link", text)
    sources = [a.get(name) for _, a in page.tags for name in ("src", "href") if a.get(name)]
    assert all((source or "").startswith(("data:image/png;", "#")) for source in sources)
    policy = [meta for meta in page.named("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert [meta["content"] for meta in policy] == [
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    ]


def test_page_is_well_formed_and_its_links_lead_somewhere(page: Page) -> None:
    assert page.open == []
    anchors = [a["id"] for _, a in page.tags if "id" in a]
    assert len(anchors) == len(set(anchors))
    assert [link["href"] for link in page.named("a")] == ["#section-1", "#section-2"]
    assert {"section-1", "section-2", "table-recall-of-scan", "figure-roc"} <= set(anchors)


def test_every_table_and_figure_says_how_to_read_it(page: Page) -> None:
    assert page.texts["figcaption"][0] == "Figure 1 Matrix of scan Look scan."
    assert page.texts["h3"] == ["Table 1 Recall of scan"]
    assert page.texts["section"][0].split("\n")[2] == "Read scan so."
    assert [image["alt"] for image in page.named("img")][:2] == ["Matrix of scan", "Learning"]


def test_numbers_stand_to_the_right_and_intervals_in_brackets(page: Page) -> None:
    cells = zip(page.named("td"), page.texts["td"], strict=True)
    assert [(cell.get("class"), text) for cell, text in cells] == [
        (None, "scan"), ("n", "1,234,567"), ("n", "50.0"), ("i", "[25.0, 75.0]"),
        (None, "none"), ("n", "–"), ("n", "–"), ("i", "[0.0, 100.0]"),
    ]  # fmt: skip
    assert page.texts["th"] == ["family", "rows", "recall (%)"]
    assert page.named("th")[2]["colspan"] == "2"


def test_what_comes_from_data_stays_text(page: Page) -> None:
    hostile = Page(filled(HOSTILE).files()["index.html"].decode())
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in page.tags]
    assert hostile.texts["h1"] == [f"Report of {HOSTILE}"]
    assert hostile.texts["td"][0] == HOSTILE
    assert hostile.texts["pre"] == [f"ids-train evaluate {HOSTILE}"]
    assert hostile.named("img")[0]["alt"] == f"Matrix of {HOSTILE}"


def test_light_dark_and_paper_have_their_style(page: Page) -> None:
    (style,) = page.texts["style"]
    assert "prefers-color-scheme: dark" in style and "@media print" in style
    assert {"name": "color-scheme", "content": "light dark"} in page.named("meta")


# -- for machines


def test_numbers_for_machines_are_not_rounded_and_nan_is_null(files: dict[str, bytes]) -> None:
    data = json.loads(files["report.json"])
    assert data["schema_version"] == 1
    assert (data["title"], data["date"]) == ("Report of scan", "2026-01-02")
    (table,) = data["tables"]
    assert table["columns"][2] == {"name": "recall", "kind": "percent"}
    assert table["rows"] == [
        ["scan", 1234567, {"value": 0.5, "low": 0.25, "high": 0.75}],
        ["none", None, {"value": None, "low": 0.0, "high": 1.0}],
    ]
    assert data["data"] == {"word": "scan"}


def test_figures_for_machines_name_their_files(files: dict[str, bytes]) -> None:
    data = json.loads(files["report.json"])
    names = [figure["file"] for figure in data["figures"]]
    assert len(names) == 7
    assert set(names) == {name for name in files if name.endswith(".png")}


def test_data_holds_arrays_and_dataclasses_as_json_does() -> None:
    report = Report("r")
    report.data("a", {"x": np.array([1.5, math.inf]), 2: np.int64(3), "c": Confusion(1, 2, 3, 4)})
    data = json.loads(report.files()["report.json"])["data"]
    assert data == {"a": {"x": [1.5, None], "2": 3, "c": {"tn": 1, "fp": 2, "fn": 3, "tp": 4}}}


def test_a_key_is_taken_once() -> None:
    report = Report("r")
    report.data("a", 1)
    with pytest.raises(ValueError, match="has 'a' already"):
        report.data("a", 2)


# -- files


def test_images_hold_no_date_and_no_version(files: dict[str, bytes]) -> None:
    for name, data in files.items():
        if name.endswith(".png"):
            assert b"tEXt" not in data and b"tIME" not in data


def test_same_content_gives_same_bytes_whatever_the_users_settings(files: dict[str, bytes]) -> None:
    from matplotlib import rc_context

    with rc_context({"lines.linewidth": 9, "font.size": 20, "savefig.dpi": 30, "axes.grid": False}):
        assert filled().files() == files


def test_report_is_written_where_it_is_told_to_over_an_older_one(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "report"
    for word in ("older", "newer"):
        report = Report(word)
        report.figure("Matrix", "Look.", plots.confusion_matrix(Confusion(1, 2, 3, len(word))))
        report.write(folder)
    written = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert written == report.files()
    assert set(written) == {"index.html", "report.json", "figure-matrix.png"}


def test_equal_titles_get_names_of_their_own() -> None:
    report = Report("r")
    for _ in range(3):
        report.table("Same", ["a"], [["x"]])
    names = [table["name"] for table in json.loads(report.files()["report.json"])["tables"]]
    assert names == ["table-same", "table-same-2", "table-same-3"]


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="odd: a row of 1 cells under 2 columns"):
        Report("r").table("odd", ["a", "b"], [["x"]])


# -- cells


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        (Column("c", "count"), 1234, "1,234"),
        (Column("c", "percent", 2), 0.98765, "98.77"),
        (Column("c", "number", 3), -1.5, "−1.500"),
        (Column("c", "number", 2), -0.0001, "0.00"),
        (Column("c", "rate", 2), 0.0000123, "1.2e-05"),
        (Column("c", "number"), math.inf, "∞"),
        (Column("c", "number"), -math.inf, "−∞"),
        (Column("c", "percent"), math.nan, "–"),
        (Column("c"), None, "–"),
        (Column("c"), 3, "3"),
    ],
)
def test_values_as_text(column: Column, value: Any, text: str) -> None:
    assert shown(column, value) == text


def test_interval_is_rounded_as_its_value() -> None:
    assert interval(Column("c", "percent", 1), Share(0.5, 0.12345, 1.0)) == "[12.3, 100.0]"
    assert interval(Column("c", "percent", 1), 0.5) == ""


def test_text_among_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="'many' in the column 'rows' is no number"):
        shown(Column("rows", "count"), "many")


# -- figures


def lines(axis: Any) -> dict[str, list[float]]:
    return {line.get_label(): [float(y) for y in line.get_ydata()] for line in axis.get_lines()}


def test_learning_curves_are_the_history() -> None:
    accuracy, loss = plots.accuracy_and_loss(history()).axes
    assert lines(loss) == {
        "training": [1, 1 / 2, 1 / 3, 1 / 4],
        "validation": [1.1, 1.1 / 2, 1.1 / 3, 1.1 / 4],
    }
    assert list(lines(accuracy)) == ["training"]


def test_learning_curve_of_windows_has_the_loss_alone() -> None:
    (loss,) = plots.accuracy_and_loss([{"loss": 2.0, "validation_loss": 3.0}]).axes
    assert lines(loss) == {"training": [2.0], "validation": [3.0]}


def test_confusion_matrix_shows_counts_and_their_share_of_the_row() -> None:
    (axis,) = plots.confusion_matrix(Confusion(tn=7500, fp=2500, fn=1, tp=3)).axes
    assert [text.get_text() for text in axis.texts] == [
        "7,500", "true negatives\n75.00 %", "2,500", "false alarms\n25.00 %",
        "1", "missed\n25.00 %", "3", "found\n75.00 %",
    ]  # fmt: skip


def test_confusion_matrix_without_attacks_claims_no_share_of_them() -> None:
    (axis,) = plots.confusion_matrix(Confusion(tn=2, fp=0, fn=0, tp=0)).axes
    assert axis.texts[-1].get_text() == "found"


def test_curves_name_systems_with_their_area() -> None:
    truth, scores = np.array([0, 1, 0, 1], bool), np.array([0.1, 0.3, 0.5, 0.9])
    whole, low = plots.roc_curves({"net": roc_curve(truth, scores)}).axes
    assert lines(whole)["net (0.7500)"] == [0, 0.5, 0.5, 1, 1]
    assert low.get_xscale() == "log"
    (axis,) = plots.pr_curves({"net": precision_recall_curve(truth, scores)}).axes
    assert lines(axis)["net (0.8333)"] == [0.5, pytest.approx(2 / 3), 0.5, 1, 1]
    assert lines(axis)["a guess"] == [0.5, 0.5]


def test_a_rate_that_the_data_cannot_resolve_is_hollow() -> None:
    truth = np.array([False] * 200 + [True] * 10)
    (axis,) = plots.recall_at_rates({"net": recall_at(truth, np.arange(210.0), (1e-2, 1e-3))}).axes
    fills = [line.get_markerfacecolor() for line in axis.get_lines() if len(line.get_xdata()) == 1]
    assert fills[0] != "white" and fills[1] == "white"
    assert axis.get_xscale() == "log"


def test_figures_of_one_class_are_drawn_without_curves() -> None:
    none, scores = np.zeros(50, bool), np.linspace(0, 1, 50)
    assert list(lines(plots.roc_curves({"net": roc_curve(none, scores)}).axes[0])) == ["a guess"]
    assert plots.png(plots.pr_curves({"net": precision_recall_curve(none, scores)})).startswith(PNG)
    assert plots.png(plots.recall_at_rates({"net": recall_at(none, scores)})).startswith(PNG)
    assert plots.png(plots.family_recalls({})).startswith(PNG)


def test_a_report_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = Report("before"), Report("after")
    before.write(tmp_path)
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(folder: Path, files: dict[str, bytes]) -> None:
        (folder / next(iter(files))).write_bytes(b"<ht")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("models.training.report.page.write_folder", full)
    with pytest.raises(TrainingError) as caught:
        after.write(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: the report cannot be written (No space left on device): make room or name another"
    )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept
