"""LiteRT on the CPU: what a gateway scores with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from models.bundle import TFLITE, Bundle, builtin_only
from models.errors import BundleError, RuntimeUnavailable

#: Of a network that was converted for any batch size.
_BATCH = 64


class LiteRtRuntime:
    """One interpreter, one thread: the sensor's other threads have the other cores."""

    description = "LiteRT on CPU"

    def __init__(self, bundle: Bundle) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise RuntimeUnavailable(
                f"LiteRT cannot be loaded ({error}): pip install ai-edge-litert"
            ) from None
        where, spec = f"{bundle.path}/{TFLITE}", bundle.spec
        builtin_only(bundle.tflite, where)
        try:
            with _quiet():
                self._interpreter = Interpreter(model_content=bundle.tflite, num_threads=1)
                self._run = self._interpreter.get_signature_runner()
                fixed = int(self._run.get_input_details()["rows"]["shape_signature"][0])
                self.batch_size = fixed if fixed > 0 else _BATCH
                logit, family = self.forward(
                    np.zeros((self.batch_size, spec.window, spec.row_features), np.float32),
                    np.zeros((self.batch_size, spec.counters), np.float32),
                )
        except (ValueError, RuntimeError, KeyError) as error:
            reason = str(error).strip().splitlines()[0]
            raise BundleError(f"{where}: cannot be run ({reason}): convert the network again") from None
        if logit.shape != (self.batch_size, 1) or family.shape != (self.batch_size, spec.families):
            raise BundleError(f"{where}: not the manifest's network: take the bundle from its source again")

    def forward(
        self, rows: npt.NDArray[np.float32], counters: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        heads = self._run(rows=rows, counters=counters)
        return heads["logit"], heads["family"]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the C++ side says of its delegate out of standard error; failures are raised anyway."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
