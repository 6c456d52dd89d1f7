"""The stages of the pipeline, built from the configuration.

`capture` and `models` load their heavy parts (numba, LiteRT) here, not when a command starts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import capture
from ids_daemon.addresses import Networks, pair_of
from ids_daemon.community_id import community_id
from ids_daemon.config import Config
from ids_daemon.errors import ConfigError
from ids_daemon.incidents import Incidents
from ids_daemon.kernelcache import remove_older
from ids_daemon.pipeline import Meter, Scorer

if TYPE_CHECKING:
    from capture import FlowMeter

_ICMP, _ICMPV6 = 1, 58


@dataclass(frozen=True, slots=True)
class Scoring:
    """A scorer and what is to be said of it."""

    scorer: Scorer
    model: str  #: the bundle's name
    description: str  #: one line: bundle, runtime, device


def build_meter(config: Config, *, as_cicflowmeter: bool = False) -> Meter:
    """The meter that the configuration names; ExtraMissing when its package is missing.

    The native meter takes lengths from the headers, so that a snap length moves no feature, and
    writes a flow 121 s after its start.  `as_cicflowmeter` has it count captured bytes and wait for
    a packet that ends the flow, as CICFlowMeter does (the package cicflowmeter has its own ways).
    """
    if config.detector.meter == "cicflowmeter":
        from capture import CicFlowMeter

        return CicFlowMeter(capacity=config.flow.capacity)
    return build_native_meter(config, as_cicflowmeter=as_cicflowmeter)


def build_native_meter(config: Config, *, as_cicflowmeter: bool = False) -> FlowMeter:
    """The native meter; see `build_meter`."""
    from capture import FlowMeter

    flow = config.flow
    return FlowMeter(
        capacity=flow.capacity,
        memory=flow.capacity,
        key_vlan=flow.key_vlan,
        decapsulate=flow.decapsulate,
        count_cut=not as_cicflowmeter,
        sweep=not as_cicflowmeter,
    )


def load_kernels(
    config: Config, tell: Callable[[str], None] | None, *, scoring: bool = True, writing: bool = False
) -> None:
    """Have the kernels of the meter (and of the windows, when `scoring`) ready before packets come.

    writing: flows will be written, by kernels whichever the meter.
    Where they have to be compiled first it says so, and then removes those of older versions.
    """
    owners: list[Any] = []
    if config.detector.meter == "native" or writing:
        owners.append(capture)
    if scoring:
        import models

        owners.append(models)
    missing = [owner for owner in owners if not owner.kernels_are_cached()]
    if missing and tell is not None:
        tell("compiling for this processor, once: a minute or so")
    for owner in owners:
        owner.load_kernels()
    for owner in missing:
        remove_older(owner.kernel_folder())


def build_scoring(config: Config, own_addresses: Sequence[str] = ()) -> Scoring:
    """Load the bundle and make the scorer; ConfigError when the bundle or its runtime cannot be used."""
    import models

    detector, windows = config.detector, config.windows
    try:
        bundle = models.load_bundle(
            detector.model,
            meter=detector.meter,
            trusted_keys=[Path(key) for key in detector.trusted_keys],
        )
        scorer = models.Scorer(
            bundle,
            runtime=detector.runtime,
            device=detector.device,
            home_networks=windows.home_networks,
            own_addresses=list(own_addresses),
            home_hosts=windows.home_hosts,
            foreign_hosts=windows.foreign_hosts,
            threshold=config.alerting.threshold,
        )
    except models.RuntimeUnavailable as error:
        raise ConfigError([f"detector.runtime: {error}"]) from None
    except models.BundleError as error:
        raise ConfigError([f"detector.model: {error}"]) from None
    return Scoring(scorer, bundle.name, scorer.description)


def build_incidents(config: Config) -> Incidents:
    alerting = config.alerting
    return Incidents(Networks(config.windows.home_networks), alerting.quiet, alerting.max_incidents)


def community_ids(records: np.ndarray, seed: int = 0) -> list[str]:
    """The community id of each flow record."""
    return [_community_id(record, seed) for record in records]


def _community_id(record: Any, seed: int) -> str:
    source, destination = pair_of(record["src"].tobytes(), record["dst"].tobytes())
    protocol = int(record["protocol"])
    numbers = int(record["src_port"]), int(record["dst_port"])
    if protocol in (_ICMP, _ICMPV6):
        numbers = max(int(record["icmp_type"]), 0), max(int(record["icmp_code"]), 0)
    return community_id(protocol, source, destination, *numbers, seed=seed)
