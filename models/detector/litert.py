"""LiteRT on the CPU: what a gateway scores with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.bundle import Bundle
from models.bundle_files import TFLITE
from models.litert import Interpreted


class LiteRtRuntime:
    """One interpreter, one thread."""

    description = "LiteRT on CPU"

    def __init__(self, bundle: Bundle) -> None:
        spec = bundle.spec
        self._network = Interpreted(
            bundle.tflite,
            f"{bundle.path}/{TFLITE}",
            {"rows": (spec.window, spec.row_features), "counters": (spec.counters,)},
            {"logit": (1,), "family": (spec.families,)},
        )
        self.batch_size = self._network.batch_size

    def forward(
        self, rows: npt.NDArray[np.float32], counters: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        heads = self._network.run(rows=rows, counters=counters)
        return heads["logit"], heads["family"]
