from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import capture
import models
from ids_daemon import stages
from ids_daemon.config import Config
from ids_daemon.errors import ConfigError
from models.errors import BundleError, RuntimeUnavailable
from tests.ids_daemon.fakes import FakeScorer


@pytest.mark.parametrize("as_cicflowmeter", [False, True])
def test_the_meter_gets_what_the_configuration_says(
    monkeypatch: pytest.MonkeyPatch, as_cicflowmeter: bool
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setitem(vars(capture), "FlowMeter", lambda **options: asked.update(options))
    flow = {"capacity": 2_000, "key_vlan": True, "decapsulate": True}
    stages.build_meter(Config.model_validate({"flow": flow}), as_cicflowmeter=as_cicflowmeter)
    assert asked == {
        **flow,
        "memory": 2_000,
        "count_cut": not as_cicflowmeter,
        "sweep": not as_cicflowmeter,
    }


class FakeBundle:
    name = "native-1"


def test_the_scorer_gets_what_the_configuration_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def load_bundle(path: str | None, meter: str, trusted_keys: list[Path]) -> FakeBundle:
        asked.update(path=path, meter=meter, trusted_keys=trusted_keys)
        return FakeBundle()

    def scorer(bundle: FakeBundle, **options: Any) -> FakeScorer:
        asked.update(options)
        return FakeScorer()

    monkeypatch.setitem(vars(models), "load_bundle", load_bundle)
    monkeypatch.setitem(vars(models), "Scorer", scorer)
    config = Config.model_validate(
        {
            "detector": {"model": "/m", "runtime": "litert", "trusted_keys": ["/etc/key.pem"]},
            "windows": {"home_networks": ["10.0.0.0/8"]},
        }
    )
    assert stages.build_scoring(config, ["10.0.0.1"]).model == "native-1"
    assert asked == {
        "path": "/m",
        "meter": "native",
        "trusted_keys": [Path("/etc/key.pem")],
        "runtime": "litert",
        "device": "auto",
        "home_networks": ["10.0.0.0/8"],
        "own_addresses": ["10.0.0.1"],
        "home_hosts": 512,
        "foreign_hosts": 512,
        "threshold": None,
    }


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (BundleError("/m: no manifest.json"), "detector.model: /m: no manifest.json"),
        (RuntimeUnavailable("no GPU is visible"), "detector.runtime: no GPU is visible"),
    ],
)
def test_a_bundle_that_cannot_be_used_is_a_matter_of_configuration(
    monkeypatch: pytest.MonkeyPatch, error: BundleError, line: str
) -> None:
    def load_bundle(path: str | None, meter: str, trusted_keys: list[Path]) -> FakeBundle:
        raise error

    monkeypatch.setitem(vars(models), "load_bundle", load_bundle)
    with pytest.raises(ConfigError) as caught:
        stages.build_scoring(Config())
    assert caught.value.lines == (line,)
