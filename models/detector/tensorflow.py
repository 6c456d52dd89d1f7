"""TensorFlow on a GPU, or where it is asked for: our own network, the bundle's weights."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from models.bundle import Bundle
from models.detector.network import restore
from models.errors import RuntimeUnavailable
from models.quiet import no_remarks

_CPU_BATCH, _GPU_BATCH = 64, 512


class TensorFlowRuntime:
    """The network as one compiled function of a fixed batch shape, in full float32."""

    def __init__(self, bundle: Bundle, device: Literal["cpu", "gpu"]) -> None:
        try:
            with no_remarks():
                import keras
                import tensorflow as tf

                tf.config.list_physical_devices()  # looks for drivers, and complains of none
        except ImportError as error:
            raise RuntimeUnavailable(
                f"TensorFlow cannot be loaded ({error}): pip install 'ids-daemon[{_extra(device)}]'"
            ) from None
        if keras.backend.backend() != "tensorflow":
            raise RuntimeUnavailable(f"Keras runs on {keras.backend.backend()}: unset KERAS_BACKEND")
        self.batch_size = _GPU_BATCH if device == "gpu" else _CPU_BATCH
        self.description = f"TensorFlow on {device.upper()}"
        if device == "gpu":
            # TF32 keeps ten bits of the mantissa, too few for results equal to LiteRT's.
            tf.config.experimental.enable_tensor_float_32_execution(False)
        spec = bundle.spec
        self._device = f"/{device.upper()}:0"
        self._tf = tf
        with tf.device(self._device):
            # cuDNN takes the place of a loop, not of steps laid out one by one.
            network = restore(bundle, unroll=device == "cpu")

        def forward(rows: object, counters: object) -> object:
            return network([rows, counters], training=False)

        self._forward = tf.function(
            forward,
            input_signature=[
                tf.TensorSpec((self.batch_size, spec.window, spec.row_features), tf.float32),
                tf.TensorSpec((self.batch_size, spec.counters), tf.float32),
            ],
        )

    def forward(
        self, rows: npt.NDArray[np.float32], counters: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        with self._tf.device(self._device):
            heads = self._forward(self._tf.constant(rows), self._tf.constant(counters))
        return heads["logit"].numpy(), heads["family"].numpy()


def _extra(device: Literal["cpu", "gpu"]) -> str:
    return "gpu" if device == "gpu" else "train"
