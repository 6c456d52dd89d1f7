"""The bench of detection judges by the other folds, takes out what it says, and goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture.columns import Kind
from models.training.windows.dataset import ATTACK, BENIGN, CaptureWindows, capture_windows
from models.training.windows.labels import CaptureLabel, Networks
from models.training.windows.network_fit import Options
from models.window_columns import CONTEXT, COUNTER_NAMES, ROW_NAMES
from tests.bench.detecting import corpora, forest
from tests.bench.detecting.corpora import Change, Corpus, load
from tests.bench.detecting.judging import Result, Scores, by_family, figures, table
from tests.bench.detecting.runs import Runs, run_all
from tests.bench.detecting.systems import SYSTEMS, System
from tests.models.flows import halves, record
from tests.models.flows import table as records_of

ATTACKER, VICTIM, CLIENT, SITE = "198.51.100.66", "10.0.0.5", "10.0.0.21", "203.0.113.9"


def label(path: str, *, attack: bool, origin: str, family: str | None = "scan") -> CaptureLabel:
    return CaptureLabel(
        path, attack, origin, family, Networks([ATTACKER] if attack else []), Networks([]), False, False,
        None, None, True,
    )  # fmt: skip


# -- judging


def folding(*ways: list[float]) -> Result:
    """Two folds of four benign captures and two attacks each, scored in one or several ways."""
    labels, folds = [], []
    for fold in (0, 1):
        for n in range(6):
            labels.append(label(f"{fold}/{n}", attack=n > 3, origin=f"o{fold}"))
            folds.append(fold)
    scores = [Scores(np.array(way), np.array(way)) for way in ways]
    return Result(labels, np.array(folds), {"row": scores})


def test_thresholds_come_from_the_other_fold() -> None:
    #            benign of fold 0   attacks       benign of fold 1   attacks
    result = folding([1, 2, 3, 4, 3.5, 9.0] + [5, 6, 7, 8, 4.5, 3.0])
    found = figures(result, "row", 0.0)
    # Fold 0 by the threshold 8: one attack of two.  Fold 1 by 4: one of two, and all four benign.
    assert (found["nested"], found["disturbed"], found["origins"]) == (0.5, 0.5, 0.5)
    assert found["swept"] == 0.25  # by 8
    assert by_family(result, "row", 0.0) == "scan 2/4"


def test_a_share_of_benign_captures_may_be_above_the_threshold() -> None:
    result = folding([1, 2, 3, 4, 7.5, 9.0] + [5, 6, 7, 8, 4.5, 3.0])
    found = figures(result, "row", 0.25)  # fold 0 by 7, fold 1 by 3
    assert (found["nested"], found["disturbed"]) == (0.75, 0.5)


def test_of_several_ways_each_fold_takes_what_was_best_on_the_other() -> None:
    good_in_0 = [1, 1, 1, 1, 2, 2] + [1, 1, 1, 1, 0, 0]
    good_in_1 = [1, 1, 1, 1, 0, 0] + [1, 1, 1, 1, 2, 2]
    # What was best on the other fold fails here, and nothing else may choose.
    assert figures(folding(good_in_0, good_in_1), "row", 0.0)["nested"] == 0.0
    assert figures(folding(good_in_0, good_in_0), "row", 0.0)["nested"] == 0.5
    assert figures(folding(good_in_0, good_in_1), "row", 0.0)["swept"] == 0.5


def test_an_origin_can_be_left_out_of_the_attacks() -> None:
    result = folding([1, 2, 3, 4, 9, 9] + [1, 2, 3, 4, 0, 0])
    assert figures(result, "row", 0.0)["nested"] == 0.5
    assert figures(result, "row", 0.0, without=("o1",))["nested"] == 1.0


def test_the_table_has_the_rows_that_every_folding_has() -> None:
    first, second = folding([1, 2, 3, 4, 9, 9] * 2), folding([1, 2, 3, 4, 9, 0] * 2)
    first.rows["more"] = first.rows["row"]
    lines = [line for line in table([first, second], ["row", "more"], [0.05]).splitlines() if line]
    assert lines[0] == ("At 5.0% of 8 benign captures (4 attacks in scope, 2 origins, 2 foldings):")
    assert [line.split(" | ")[:2] for line in lines[3:]] == [["| row", "75.0 % (50-100)"]]


# -- what is taken out


def flow_records() -> np.ndarray:
    """A probe without answer, and a visit of three records, the first of one packet."""
    probe = record(ATTACKER, VICTIM, 1.0, port=23)
    first = record(CLIENT, SITE, 2.0, port=443, packets=(1, 0))
    second = record(CLIENT, SITE, 3.0, port=443, packets=(4, 3), payload=(40, 90), before=first)
    last = record(CLIENT, SITE, 123.0, port=443, packets=(6, 5), payload=(60, 900), before=second)
    probe["kind"] = last["kind"] = Kind.FINAL
    return records_of([probe, first, second, last])


def of_flow(records: np.ndarray, address: str) -> list[tuple[int, int, int, int]]:
    """Revision, second, new packets and bytes forward of the records of an initiator's flow."""
    mine = [one for one in records if tuple(one["src"][-4:]) == tuple(map(int, address.split(".")))]
    return [
        (int(r["revision"]), round((int(r["time_ns"]) - int(records_start)) / 1e9), int(r["new_fwd_packets"]),
         int(r["new_fwd_bytes"]))
        for r in mine
    ]  # fmt: skip


records_start = record(CLIENT, SITE, 0.0)["time_ns"]


def test_without_snapshots_a_flow_is_told_once_and_whole() -> None:
    left = corpora.without_snapshots(flow_records())
    assert of_flow(left, ATTACKER) == [(0, 1, 1, 0)]
    assert of_flow(left, CLIENT) == [(0, 123, 6, 60)]


def test_without_one_packet_flows_a_flow_begins_with_its_second_packet() -> None:
    left = corpora.without_one_packet(flow_records())
    assert of_flow(left, ATTACKER) == []
    assert of_flow(left, CLIENT) == [(0, 3, 4, 40), (2, 123, 2, 20)]


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Of two origins, a scan and a visit each, on disk."""
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'ids-daemon[parquet]'")
    from capture import FlowWriter

    labels = []
    for origin in "ab":
        scan = [record(ATTACKER, VICTIM, n / 10, port=1000 + n) for n in range(40)]
        visits = [
            record(CLIENT, SITE, 5.0 * n, port=443, answer=5.0 * n, packets=(5, 5), payload=(99, 999))
            for n in range(20)
        ]
        for name, flows in (("scan", scan + visits), ("visits", visits)):
            for flow in flows:
                flow["kind"] = Kind.FINAL
            labels.append(label(f"{origin}/{name}", attack=name == "scan", origin=origin))
            path = tmp_path / f"{origin}/{name}.parquet"
            path.parent.mkdir(exist_ok=True)
            with FlowWriter(str(path), records=True) as writer:
                writer.write(records_of(flows))
    return load(labels, tmp_path, 1)


def test_only_streams_of_a_role_are_left(corpus: Corpus) -> None:
    whole = corpus.captures[0].windows
    sizes = {}
    for place, role in enumerate(("actor", "target")):
        changed = corpus.changed(Change(windows=corpora.streams_of(role)), 1)
        assert set(changed.captures[0].windows.role) == {place}
        sizes[role] = len(changed.captures[0].windows)
        assert len(changed.naming[0]) == len(changed.captures[0].truth) == sizes[role]
    assert min(sizes.values()) > 0 and sum(sizes.values()) == len(whole)


def test_without_context_rows_still_have_the_flow(corpus: Corpus) -> None:
    before = corpus.captures[0].windows.rows
    after = corpus.changed(Change(windows=corpora.without_context), 1).captures[0].windows.rows
    context = [ROW_NAMES.index(name) for name in CONTEXT]
    others = [n for n in range(len(ROW_NAMES)) if n not in context]
    assert before[..., context].any() and not after[..., context].any()
    np.testing.assert_array_equal(before[..., others], after[..., others])


def test_of_no_window_the_newest_flow_is_left_and_its_own_truth(corpus: Corpus) -> None:
    whole = corpus.captures[0]
    one = corpus.changed(Change(windows=corpora.one_row), 1).captures[0]
    np.testing.assert_array_equal(one.windows.rows[:, 0], whole.windows.rows[:, -1])
    assert one.windows.rows.shape[1] == 1 and set(one.windows.n_rows) == {1}
    attacking = set(whole.windows.flows[whole.windows.role == 0].ravel().tolist()) - {0}
    assert attacking
    scans = whole.label.wanted.hold(whole.windows.host[:, 0], whole.windows.host[:, 1])
    assert set(one.truth[scans]) == {ATTACK}
    clients = one.windows.host[:, 1] == np.uint64(halves(CLIENT)[1])
    assert clients.any() and set(one.truth[clients]) == {BENIGN}


def test_a_capture_of_which_nothing_is_left_is_still_counted(corpus: Corpus) -> None:
    changed = corpus.changed(Change(records=lambda records: records[:0]), 1)
    assert [one.path for one in changed.labels] == [one.path for one in corpus.labels]
    assert [len(one.windows) for one in changed.captures] == [0, 0, 0, 0]
    assert changed.captures[0].windows.counters.shape == (0, len(COUNTER_NAMES))


# -- the forest


def flows_of(*sides: tuple[str, str], attack: bool = True) -> forest.CaptureFlows:
    records = records_of([record(a, b, float(n), port=n) for n, (a, b) in enumerate(sides)])
    return forest.capture_flows(
        label("x", attack=attack, origin="o"), records[:0] if not sides else _final(records)
    )


def _final(records: np.ndarray) -> np.ndarray:
    records["kind"] = Kind.FINAL
    return records


def test_a_host_is_decided_by_the_mean_of_its_best_flows() -> None:
    capture = flows_of((ATTACKER, VICTIM), (ATTACKER, SITE), (CLIENT, SITE), (CLIENT, SITE), (CLIENT, SITE))
    assert capture.truth.tolist() == [ATTACK, ATTACK, BENIGN, BENIGN, BENIGN]
    found = dict(zip(forest.BEST, forest.decide(capture, np.array([0.9, 0.3, 0.6, 0.6, 0.6])), strict=True))
    # By 1 flow the attacker's; by 3 the client's, and the site's as a responder; there are no 10.
    assert found[1] == (0.9, 0.9)
    assert found[3] == pytest.approx((0.6, 0.4))
    assert found[10] == pytest.approx((0.21, 0.12))


def test_a_host_is_named_by_whom_it_mostly_meets() -> None:
    capture = flows_of((ATTACKER, VICTIM), (ATTACKER, VICTIM), (CLIENT, VICTIM), (CLIENT, SITE))
    highest, naming = forest.decide(capture, np.array([0.1, 0.1, 0.8, 0.9]))[0]
    assert (highest, naming) == (0.9, 0.8)  # the victim mostly meets the attacker, the site does not


def test_features_of_a_flow_are_finite_and_its_protocol_one_of_four() -> None:
    records = records_of([record(CLIENT, SITE, 1.0, protocol=p) for p in (6, 17, 1, 58, 47)])
    records["flow_bytes_s"] = [np.inf, np.nan, 1e300, -np.inf, 2.0]
    found = forest.features_of(records)
    assert found.shape == (5, 85) and np.isfinite(found).all()
    assert found[:, 81:].argmax(axis=1).tolist() == [0, 1, 2, 2, 3]


def test_a_forest_finds_flows_like_those_it_has_seen(corpus: Corpus) -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'ids-daemon[train]'")
    captures = forest.all_flows(corpus)
    drawn = forest.drawn(captures, np.array([True, True, False, False]), 1)
    assert set(drawn.capture) == {0, 1} and (drawn.truth == ATTACK).sum() == 40
    fitted = forest.Forest(captures, np.array([True, True, False, False]), 1)
    scan, visits = fitted.scores(captures[2]), fitted.scores(captures[3])
    assert scan[1][1] > 0.9 > 0.1 > visits[1][0]
    assert fitted.scores(flows_of())[0] == (-np.inf, -np.inf)


# -- runs


def counting(key: str, calls: list[int]) -> System:
    def fit(fold: Any) -> Any:
        calls.append(int(np.flatnonzero(~fold.seen)[0]))
        return lambda i: [(float(i), -np.inf)]

    return System(key, key, fit)


def test_what_is_done_is_not_done_again(corpus: Corpus, tmp_path: Path) -> None:
    path, setting = tmp_path / "runs.jsonl", {"seed": 1}
    calls: list[int] = []
    system = counting("x", calls)
    run_all(Runs(path, setting), corpus, [system], [1], 2, Options())
    assert len(calls) == 2
    lines = path.read_text().splitlines()
    path.write_text(lines[0] + "\n" + lines[1][:40])  # killed while it wrote
    again = Runs(path, setting)
    run_all(again, corpus, [system], [1], 2, Options())
    assert len(calls) == 3 and calls[2] == calls[1]
    result = again.result(corpus, [system], 1, 2)
    np.testing.assert_array_equal(result.rows["x"][0].highest, [0, 1, 2, 3])
    assert np.isneginf(result.rows["x"][0].naming).all()
    np.testing.assert_array_equal(
        Runs(path, setting).result(corpus, [system], 1, 2).rows["x"][0].highest, [0, 1, 2, 3]
    )
    assert Runs(path, {"seed": 2}).result(corpus, [system], 1, 2).rows == {}


def test_a_run_keeps_no_number_that_json_has_not(corpus: Corpus, tmp_path: Path) -> None:
    run_all(Runs(tmp_path / "r", {}), corpus, [counting("x", [])], [1], 2, Options())
    for line in (tmp_path / "r").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(name))


def test_every_system_has_a_name_and_a_key_of_its_own() -> None:
    assert len({system.key for system in SYSTEMS}) == len({system.name for system in SYSTEMS}) == len(SYSTEMS)


def test_counters_alone_decide_by_the_captures_seen(corpus: Corpus) -> None:
    from tests.bench.detecting.systems import Fold, fit_counters

    score = fit_counters(Fold(corpus, np.array([True, True, False, False]), Options(), lambda model: None))
    (scan,), (visits,) = score(2), score(3)
    assert scan[1] > 0 and visits[0] <= 0.0 + 1e-9
    capture: CaptureWindows | None = capture_windows(corpus.labels[2], corpus.records(corpus.labels[2]))
    assert capture is not None and len(capture.windows) == len(corpus.captures[2].windows)
