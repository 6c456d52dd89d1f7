"""LiteRT flatbuffers: what they need, and running one on the CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from models.bundle_files import AGAIN
from models.errors import BundleError, RuntimeUnavailable

Arrays = Mapping[str, npt.NDArray[np.float32]]

#: Of a network that was converted for any batch size.
_BATCH = 64


def operators(tflite: bytes, where: str = "model.tflite") -> set[str]:
    """The operators a LiteRT flatbuffer needs, custom ones by their own name.

    Raises BundleError when the bytes are no such flatbuffer.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter

    try:
        Interpreter(model_content=tflite)  # it verifies every offset, which the reader below does not
    except ValueError as error:
        raise BundleError(f"{where}: no LiteRT model ({error}): {AGAIN}") from None
    model = schema.Model.GetRootAsModel(tflite, 0)
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    return {
        code.CustomCode().decode("utf-8", "replace")
        if code.CustomCode()
        # Codes below 127 may stand in the older field alone.
        else names.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "UNKNOWN")
        for code in codes
    }


def builtin_only(tflite: bytes, where: str) -> None:
    """BundleError when a flatbuffer needs an operator that LiteRT alone does not have."""
    from ai_edge_litert import schema_py_generated as schema

    odd = sorted(operators(tflite, where) - (vars(schema.BuiltinOperator).keys() - {"CUSTOM"}))
    if odd:
        raise BundleError(
            f"{where}: needs {', '.join(odd)}, not built into LiteRT: convert with the LSTM unrolled"
        )


class Interpreted:
    """A flatbuffer on one thread (the sensor's other threads have the other cores).

    inputs, outputs: shape of each by name, without the batch.  Raises RuntimeUnavailable without
    LiteRT, BundleError for a flatbuffer that needs more than LiteRT has or is another network.
    """

    def __init__(
        self,
        tflite: bytes,
        where: str,
        inputs: Mapping[str, tuple[int, ...]],
        outputs: Mapping[str, tuple[int, ...]],
    ) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise RuntimeUnavailable(
                f"LiteRT cannot be loaded ({error}): pip install ai-edge-litert"
            ) from None
        builtin_only(tflite, where)
        try:
            with _quiet():
                self._interpreter = Interpreter(model_content=tflite, num_threads=1)
                self._run = self._interpreter.get_signature_runner()
                first = self._run.get_input_details()[next(iter(inputs))]
                fixed = int(first["shape_signature"][0])
                #: Of every call.
                self.batch_size = fixed if fixed > 0 else _BATCH
                found = self.run(
                    **{
                        name: np.zeros((self.batch_size, *shape), np.float32)
                        for name, shape in inputs.items()
                    }
                )
                shapes = {name: found[name].shape for name in outputs}
        except (ValueError, RuntimeError, KeyError) as error:
            reason = str(error).strip().splitlines()[0]
            raise BundleError(f"{where}: cannot be run ({reason}): convert the network again") from None
        if shapes != {name: (self.batch_size, *shape) for name, shape in outputs.items()}:
            raise BundleError(f"{where}: not the manifest's network: {AGAIN}")

    def run(self, **inputs: npt.NDArray[np.float32]) -> Arrays:
        """The outputs by name, of inputs by name, each (batch_size, ...)."""
        outputs: Arrays = self._run(**inputs)
        return outputs


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
