"""Flow records in, findings about hosts out: windows, detector and evidence in a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from models.bundle import Bundle
from models.bundle_files import AGAIN, CALIBRATION
from models.detector import Choice, Detector, Device
from models.errors import BundleError
from models.evidence import FAMILIES, Finding, HostEvidence
from models.home_networks import HOME_NETWORKS
from models.windows import WindowBatch, Windows


class ScorerStats:
    """The counters of the window table, and `findings`."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self.findings = 0

    def as_dict(self) -> dict[str, int]:
        return {**self._windows.stats(), "findings": self.findings}


class Scorer:
    """What the daemon scores with.

    runtime, device: see Detector.
    home_networks: CIDR texts of what is inside; `own_addresses`, the sensor's own, count as well.
    home_hosts, foreign_hosts: see Windows.
    threshold: of the evidence, instead of the bundle's.

    Raises BundleError, and RuntimeUnavailable (one of them) for a runtime or device not there.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        runtime: Choice = "auto",
        device: Device = "auto",
        home_networks: Iterable[str] = HOME_NETWORKS,
        own_addresses: Iterable[str] = (),
        home_hosts: int = 512,
        foreign_hosts: int = 512,
        threshold: float | None = None,
    ) -> None:
        if bundle.families != FAMILIES:
            raise BundleError(
                f"{bundle.path}: made for other families than this version's: retrain with 'ids-train fit'"
            )
        self._windows = Windows(
            home_networks=[*home_networks, *own_addresses],
            home_hosts=home_hosts,
            foreign_hosts=foreign_hosts,
        )
        try:
            self._evidence = HostEvidence(
                bundle.calibration,
                capacity=self._windows.capacity,
                threshold=threshold,
                window=bundle.spec.window,
            )
        except KeyError as error:
            raise BundleError(f"{bundle.path}/{CALIBRATION}: {error} is missing: {AGAIN}") from None
        except (TypeError, ValueError) as error:
            raise BundleError(f"{bundle.path}/{CALIBRATION}: {error}: {AGAIN}") from None
        self._detector = Detector(bundle, runtime, device)
        self.stats = ScorerStats(self._windows)
        #: `native-1: LiteRT on CPU`
        self.description = f"{bundle.name}: {self._detector.description}"

    def push(self, records: np.ndarray) -> list[Finding]:
        """Findings of FLOW_DTYPE records, which come in emission order, in the order of their windows.

        They do not depend on how the records are cut into calls.
        """
        found: list[Finding] = []
        for batch, logits, families in self._scored(records):
            found += self._evidence.update(batch, logits, families, records)
        self.stats.findings += len(found)
        return found

    def decisions(self, records: np.ndarray) -> Iterator[tuple[WindowBatch, npt.NDArray[np.float64]]]:
        """Every window of the records with what decides at it, (B,), instead of the findings.

        For calibration; records are pushed one way or the other, never both.
        """
        for batch, logits, families in self._scored(records):
            yield batch, self._evidence.decide(batch, logits, families)[0]

    def _scored(
        self, records: np.ndarray
    ) -> Iterator[tuple[WindowBatch, npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
        for batch in self._windows.push(records):
            logits, families = self._detector.score(batch.rows, batch.counters)
            yield batch, logits.astype(np.float64), families.astype(np.float64)
