"""Records in, findings out: the same for any cut of the records, and told in one line where it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import models
from models.bundle import Bundle
from models.detector import Detector
from models.errors import BundleError
from models.evidence import Finding
from models.scorer import Scorer
from models.windows import Windows
from tests.models.flows import random_records, record, table

ALL = -1e9  #: a threshold that every window crosses


@pytest.fixture
def bundle(save: Callable[..., Bundle]) -> Bundle:
    return save()


def plain(found: list[Finding]) -> list[tuple[Any, ...]]:
    return [(*[getattr(f, n) for n in f.__slots__ if n != "flow"], f.flow.tobytes()) for f in found]


def test_findings_do_not_depend_on_how_records_are_cut(bundle: Bundle) -> None:
    records = random_records(300, 3)
    whole = plain(Scorer(bundle, threshold=ALL).push(records))
    assert len(whole) > 300
    for size in (1, 17, 200):
        scorer = Scorer(bundle, threshold=ALL)
        found = [
            f for first in range(0, len(records), size) for f in scorer.push(records[first : first + size])
        ]
        assert plain(found) == whole


def test_every_window_is_scored_by_the_bundles_network(bundle: Bundle) -> None:
    records = table([record("10.0.0.1", "10.0.0.2", 0)])
    scorer = Scorer(bundle, threshold=ALL)
    actor, target = scorer.push(records)
    batch = next(Windows().push(records))
    logits, _ = Detector(bundle).score(batch.rows, batch.counters)
    # The first window of a stream is its own mean; a target's logit counts up to 0.
    assert actor.score == pytest.approx(logits[0], abs=1e-6)
    assert target.score == pytest.approx(min(logits[1], 0.0), abs=1e-6)
    assert actor.flow.tobytes() == records[0].tobytes()


def test_the_threshold_is_the_bundles_where_none_is_given(bundle: Bundle) -> None:
    records = random_records(50, 1)
    scores = [finding.score for finding in Scorer(bundle, threshold=ALL).push(records)]
    threshold = float(np.median(scores))
    strict = replace(bundle, calibration={**bundle.calibration, "threshold": threshold})
    found = Scorer(strict).push(records)
    assert [finding.score for finding in found] == [score for score in scores if score > threshold]
    assert {finding.threshold for finding in found} == {threshold}


def test_counters_are_those_of_the_windows_and_the_findings(bundle: Bundle) -> None:
    records, windows = random_records(50, 1), Windows()
    scorer = Scorer(bundle, threshold=ALL)
    found = scorer.push(records)
    for _ in windows.push(records):
        pass
    assert scorer.stats.as_dict() == {**windows.stats(), "findings": len(found)}
    assert scorer.stats.as_dict()["windows"] == len(found)


def test_the_sensors_own_addresses_are_at_home(bundle: Bundle) -> None:
    records = table([record("203.0.113.7", "10.0.0.1", 0)])
    assert len(Scorer(bundle, threshold=ALL).push(records)) == 1
    own = Scorer(bundle, threshold=ALL, own_addresses=["203.0.113.7", "2001:db8::1"])
    assert len(own.push(records)) == 2


def test_it_says_what_scores(bundle: Bundle) -> None:
    assert Scorer(bundle, runtime="litert").description == "small-1: LiteRT on CPU"
    assert Scorer(bundle, runtime="tensorflow", device="cpu").description == "small-1: TensorFlow on CPU"


@pytest.mark.parametrize(
    "calibration",
    [
        {},
        {"threshold": "high", "target_cap": 0.0, "counter_weight": 2.0, "average": 0.3, "counters": []},
        {"threshold": 1.0, "target_cap": 0.0, "counter_weight": 2.0, "average": 0.3, "counters": [{}]},
    ],
)
def test_a_calibration_that_says_too_little_is_refused(bundle: Bundle, calibration: dict[str, Any]) -> None:
    with pytest.raises(BundleError) as caught:
        Scorer(replace(bundle, calibration=calibration))
    assert str(caught.value).startswith(f"{bundle.path}/calibration.json: ")
    assert "\n" not in str(caught.value)


def test_families_of_another_version_are_refused(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="other families than this version's: retrain"):
        Scorer(replace(bundle, families=bundle.families[::-1]))


def test_the_face_gives_what_it_names(bundle: Bundle) -> None:
    assert {name for name in models.__all__ if not hasattr(models, name)} == set()
    assert models.load_bundle(bundle.path).name == "small-1"
    with pytest.raises(AttributeError, match="no attribute 'Pickle'"):
        models.Pickle  # noqa: B018
