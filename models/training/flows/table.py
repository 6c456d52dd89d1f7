"""Labelled flows as arrays: what every reader of a data set gives and all that learns from flows takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

BENIGN = "BENIGN"

#: `FlowTable.time` of a row without a time.
NO_TIME = int(np.iinfo(np.int64).min)

_SHARED = ("features", "labels", "files")


@dataclass(frozen=True, slots=True)
class FlowTable:
    """n labelled flows.

    Features never hold a port, an address, an id or a time of day.  A feature that a file lacks is no
    column here; NaN and infinities are as the file has them.
    """

    features: tuple[str, ...]  #: F names, fields of `capture.columns.COLUMNS`
    values: npt.NDArray[np.float32]  #: (n, F), in the data set's units
    protocol: npt.NDArray[np.int16]  #: (n,) IP protocol, -1 where the file does not say
    labels: tuple[str, ...]  #: names of the classes; `labels[0]` is BENIGN
    label: npt.NDArray[np.int16]  #: (n,) index into `labels`
    time: npt.NDArray[
        np.int64
    ]  #: (n,) start of the flow in ns since 1970, UTC or the data set's clock, or NO_TIME
    source: npt.NDArray[np.int32]  #: (n,) code of the initiator's address within this table, -1 unknown
    destination: npt.NDArray[np.int32]  #: (n,) code of the responder's address, same codes
    files: tuple[str, ...]  #: what was read
    file: npt.NDArray[np.int16]  #: (n,) index into `files`
    twin: npt.NDArray[np.uint64]  #: (n,) hash over these features and the protocol as the file has them
    port: npt.NDArray[np.int32]  #: (n,) responder's port, -1 unknown: tells twins apart, never a feature

    def __len__(self) -> int:
        return len(self.label)

    @property
    def attack(self) -> npt.NDArray[np.bool_]:
        """(n,) whether a flow is labelled as an attack."""
        return self.label != 0

    def take(self, index: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> FlowTable:
        """The chosen rows, by index or mask, in that order."""
        return replace(
            self,
            **{f.name: getattr(self, f.name)[index] for f in fields(self) if f.name not in _SHARED},
        )

    def narrowed(self, features: Sequence[str]) -> FlowTable:
        """Only these features, in this order; KeyError names one that is not there."""
        place = {name: i for i, name in enumerate(self.features)}
        columns = [place[name] for name in features]
        return replace(self, features=tuple(features), values=self.values[:, columns])
