"""A calibration that no score can be made with is refused when the bundle is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from models.bundle import PRETRAINED, Bundle, load_bundle
from models.bundle_calibration import read_calibration
from models.errors import BundleError
from models.evidence import CounterRule, calibrate
from tests.models.test_bundle import replace_file

RULE = CounterRule("login_pair_60", None, "bruteforce", "{value} tries at one login service in 60 s")


def calibration(counter: Mapping[str, Any] | None = None, **other: Any) -> dict[str, Any]:
    """A sound one of one counter, with other values where named."""
    (sound,) = calibrate({RULE.name: [9.0, 3.0, 3.0, 0.0]}, [RULE])
    return {
        "threshold": 3.0,
        "target_cap": 0.0,
        "counter_weight": 2.0,
        "average": 1,
        "counters": [{**sound, **(counter or {})}],
        **other,
    }


def test_a_sound_one_comes_back_as_it_stands() -> None:
    sound = calibration(made_of={"budget": "3/day"})
    assert read_calibration(json.dumps(sound).encode(), "c") == sound


@pytest.mark.parametrize("meter", ["native", "cicflowmeter"])
def test_those_that_ship_are_sound(meter: str) -> None:
    data = (PRETRAINED / meter / "calibration.json").read_bytes()
    assert len(read_calibration(data, meter)["counters"]) == 8


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"threshold": True}, "threshold: Input should be a valid number"),
        ({"threshold": "3"}, "threshold: Input should be a valid number"),
        ({"target_cap": None}, "target_cap: Input should be a valid number"),
        ({"counter_weight": -1.0}, "counter_weight: Input should be greater than or equal to 0"),
        ({"average": 5.0}, "average: Input should be less than or equal to 1"),
        ({"average": 0.0}, "average: Input should be greater than 0"),
        ({"counters": {}}, "counters: Input should be a valid list"),
        ({"counters": [{}]}, "counters.0.name: Field required"),
        ({"counter": {"name": "luck"}}, "counters.0.name: Value error, this version counts no 'luck'"),
        ({"counter": {"role": "judge"}}, "counters.0.role: Input should be 'actor' or 'target'"),
        ({"counter": {"captures": 0}}, "counters.0.captures: Input should be greater than or equal to 1"),
        ({"counter": {"captures": 3}}, "more maxima of login_pair_60 than captures"),
        ({"counter": {"maxima": []}}, "counters.0.maxima: List should have at least 1 item"),
        ({"counter": {"maxima": [1.0, 2.0]}}, "counters.0.maxima: Value error, not from the highest"),
        ({"counter": {"maxima": [1.0, -2.0]}}, "counters.0.maxima.1: Input should be greater than or equal"),
        ({"counter": {"text": "{value.__class__}"}}, "counters.0.text: Value error, asks for more than"),
        ({"counter": {"text": "{value:>999999999}"}}, "counters.0.text: Value error, asks for more than"),
        ({"counter": {"text": "{value!r}"}}, "counters.0.text: Value error, asks for more than {value}"),
        ({"counter": {"text": "{} tries"}}, "counters.0.text: Value error, asks for more than {value}"),
        ({"counter": {"text": "{value"}}, "counters.0.text: Value error, expected '}'"),
        ({"counter": {"text": "one\ntwo"}}, "counters.0.text: Value error, more than one line"),
        ({"counter": {"pickle": 1}}, "counters.0.pickle: Extra inputs are not permitted"),
    ],
)
def test_one_that_no_score_can_be_made_with_is_refused(other: dict[str, Any], said: str) -> None:
    with pytest.raises(BundleError) as caught:
        read_calibration(json.dumps(calibration(**other)).encode(), "c.json")
    line = str(caught.value)
    assert line.startswith("c.json: ") and line.endswith(": take the bundle from its source again")
    assert said in line and "\n" not in line


def test_it_is_looked_at_when_a_bundle_is_loaded(save: Callable[..., Bundle]) -> None:
    bundle = save()
    assert load_bundle(bundle.path).calibration["average"] == 0.3
    replace_file(bundle, "calibration.json", json.dumps(calibration(average=5.0)).encode())
    with pytest.raises(BundleError, match=r"bundle/calibration\.json: average: "):
        load_bundle(bundle.path)
