"""The preprocessing that a bundle of flows was fitted with."""

from __future__ import annotations

from models.errors import BundleError
from models.flow_bundle import PREPROCESSING, FlowBundle
from models.training.flows.preprocessing import Preprocessing


def preprocessing_of(bundle: FlowBundle) -> Preprocessing:
    """What makes the network's input of a table of flows; BundleError when the bundle's makes another."""
    where = f"{bundle.path}/{PREPROCESSING}"
    try:
        found = Preprocessing.from_json(bundle.preprocessing)
    except ValueError as error:
        raise BundleError(f"{where}: {error}: fit the bundle again") from None
    if len(found.names) != bundle.spec.features:
        raise BundleError(
            f"{where}: gives {len(found.names)} features, the network takes {bundle.spec.features}:"
            " fit the bundle again"
        )
    return found
