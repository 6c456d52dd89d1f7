"""Windows a second through the network, at batches from 1 to 65,536, on each runtime that is here.

    ./dev bench score [--batches N...] [--seconds S] [--bundle DIR]

Synthetic windows, scaled already, through the shipped bundle's network: LiteRT as a gateway scores
(one thread, the file's own batch), TensorFlow on the CPU and on a GPU where one is visible, and the
same Keras code on JAX and on PyTorch on whatever device those have.  All in one run, each runtime in a
process of its own; ratios are to LiteRT, else to the first that ran.  What is not installed is left out
and named.

For JAX or PyTorch, `python3 -m tests.bench.score` needs nothing but numpy, keras and that.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

BUNDLE = Path(__file__).parents[2] / "models" / "pretrained" / "native"
BATCHES = tuple(4**n for n in range(9))  # 1 to 65,536
GPU = "-gpu"  #: at the end of a runtime's name

Forward = Callable[[], object]


@dataclass(frozen=True)
class Runtime:
    """A contestant, by the package that must be there."""

    name: str
    package: str
    keras_backend: str = ""


RUNTIMES = (
    Runtime("litert", "ai_edge_litert"),
    Runtime("tensorflow", "tensorflow", "tensorflow"),
    Runtime("tensorflow" + GPU, "tensorflow", "tensorflow"),
    Runtime("jax", "jax", "jax"),
    Runtime("torch", "torch", "torch"),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench score", description="Measure scoring.")
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES), metavar="N")
    parser.add_argument("--seconds", type=float, default=2.0, metavar="S", help="at least, of each figure")
    parser.add_argument("--bundle", type=Path, default=BUNDLE, metavar="DIR")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the figures as JSON, too")
    parser.add_argument("--runtime", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.runtime:
        print(json.dumps(measure(arguments)))
        return
    found, remarks = {}, []
    for runtime in RUNTIMES:
        if importlib.util.find_spec(runtime.package) is None:
            remarks.append(f"{runtime.name}: left out, {runtime.package} is not installed")
            continue
        figures, remark = in_a_process(runtime, arguments)
        if figures:
            found[str(figures.pop("device"))] = figures
        else:
            remarks.append(f"{runtime.name}: left out, {remark}")
    show("windows a second", {name: one["windows_s"] for name, one in found.items()}, arguments.batches)
    on_cpu = {name: one["windows_cpu_s"] for name, one in found.items() if not name.endswith("GPU")}
    show("windows a CPU second", on_cpu, arguments.batches)
    for remark in remarks:
        print(remark)
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


def in_a_process(runtime: Runtime, arguments: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """A runtime's figures, or why there are none: two runtimes in one process would share threads."""
    command = [sys.executable, "-m", "tests.bench.score", "--runtime", runtime.name]
    command += ["--batches", *map(str, arguments.batches), "--seconds", str(arguments.seconds)]
    command += ["--bundle", str(arguments.bundle)]
    quiet = {"KERAS_BACKEND": runtime.keras_backend or "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env={**os.environ, **quiet}, capture_output=True, text=True, check=False)
    if done.returncode:
        return {}, (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
    return json.loads(done.stdout.splitlines()[-1]), ""


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """In the process of one runtime: windows a second for each batch, and what computed them."""
    start = {"litert": litert, "jax": jax, "torch": torch}.get(arguments.runtime)
    if start is None:
        gpu = arguments.runtime.endswith(GPU)
        device, prepare = tensorflow(arguments.bundle, gpu)
    else:
        device, prepare = start(arguments.bundle)
    figures: dict[str, dict[str, float]] = {"windows_s": {}, "windows_cpu_s": {}}
    for batch in arguments.batches:
        wall, cpu = rate(prepare(batch), batch, arguments.seconds)
        figures["windows_s"][str(batch)], figures["windows_cpu_s"][str(batch)] = wall, cpu
    return {"device": device, **figures}


def rate(forward: Forward, batch: int, seconds: float) -> tuple[float, float]:
    """Windows a second of the fastest of three turns, once everything is compiled and warm, and windows a
    CPU second over all turns, of all threads: what is left of it on a machine that does other things."""
    forward()
    best, called, began_cpu = 0.0, 0, time.process_time()
    for _ in range(3):
        calls, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds / 3 or not calls:
            forward()
            calls += 1
        best, called = max(best, calls * batch / spent), called + calls
    return best, called * batch / (time.process_time() - began_cpu)


def windows(batch: int, spec: object) -> tuple[np.ndarray, np.ndarray]:
    """Scaled windows, uniformly random."""
    from models.network import NetworkSpec

    assert isinstance(spec, NetworkSpec)
    generator = np.random.default_rng(0)
    rows = generator.random((batch, spec.window, spec.row_features), np.float32)
    return rows, generator.random((batch, spec.counters), np.float32)


def litert(folder: Path) -> tuple[str, Callable[[int], Forward]]:
    """The flatbuffer as a gateway runs it: batches of its own size, the last one filled up."""
    from models.bundle import load_bundle
    from models.detector.litert import LiteRtRuntime

    bundle = load_bundle(folder)
    runtime = LiteRtRuntime(bundle)
    size = runtime.batch_size

    def prepare(batch: int) -> Forward:
        rows, counters = windows(-(-batch // size) * size, bundle.spec)

        def forward() -> None:
            for start in range(0, batch, size):
                runtime.forward(rows[start : start + size], counters[start : start + size])

        return forward

    return runtime.description, prepare


def network_of(folder: Path, *, unroll: bool) -> tuple[object, object]:
    """The bundle's specification and its network in Keras, by the same code as everywhere."""
    from models.bundle_files import parse_arrays
    from models.network import NetworkSpec, arrays_to_weights, build

    spec = NetworkSpec.from_dict(json.loads((folder / "manifest.json").read_text())["network"])
    network = build(spec, unroll=unroll)
    arrays_to_weights(network, parse_arrays((folder / "weights.npz").read_bytes(), "weights.npz"))
    return spec, network


def tensorflow(folder: Path, gpu: bool) -> tuple[str, Callable[[int], Forward]]:
    import tensorflow as tf

    if gpu and not tf.config.list_physical_devices("GPU"):
        sys.exit("no GPU is visible to TensorFlow")
    tf.config.experimental.enable_tensor_float_32_execution(False)
    place = "/GPU:0" if gpu else "/CPU:0"
    with tf.device(place):
        spec, network = network_of(folder, unroll=not gpu)
    run = tf.function(lambda rows, counters: network([rows, counters], training=False))

    def prepare(batch: int) -> Forward:
        with tf.device(place):
            rows, counters = (tf.constant(values) for values in windows(batch, spec))

            def forward() -> np.ndarray:
                return np.asarray(run(rows, counters)["logit"].numpy())

        return forward

    return f"TensorFlow {tf.__version__} on {'GPU' if gpu else 'CPU'}", prepare


def jax(folder: Path) -> tuple[str, Callable[[int], Forward]]:
    import jax as backend

    backend.config.update("jax_default_matmul_precision", "highest")  # full float32, as elsewhere
    device = backend.devices()[0]
    # Steps laid out one by one are a long program for a compiler that knows loops.
    spec, network = network_of(folder, unroll=False)
    state = [variable.value for variable in network.trainable_variables]  # type: ignore[attr-defined]
    fixed = [variable.value for variable in network.non_trainable_variables]  # type: ignore[attr-defined]

    @backend.jit
    def run(rows: object, counters: object) -> object:
        heads, _ = network.stateless_call(state, fixed, [rows, counters], training=False)  # type: ignore[attr-defined]
        return heads["logit"]

    def prepare(batch: int) -> Forward:
        rows, counters = (backend.device_put(values, device) for values in windows(batch, spec))
        return lambda: np.asarray(run(rows, counters))

    place = "CPU" if device.platform == "cpu" else f"{device.device_kind} GPU"
    return f"Keras and JAX {backend.__version__} on {place}", prepare


def torch(folder: Path) -> tuple[str, Callable[[int], Forward]]:
    import torch as backend

    backend.backends.cuda.matmul.allow_tf32 = backend.backends.cudnn.allow_tf32 = False
    spec, network = network_of(folder, unroll=False)
    device = "cuda" if backend.cuda.is_available() else "cpu"

    def prepare(batch: int) -> Forward:
        rows, counters = (backend.from_numpy(values).to(device) for values in windows(batch, spec))

        def forward() -> np.ndarray:
            with backend.inference_mode():
                return network([rows, counters], training=False)["logit"].cpu().numpy()  # type: ignore[operator,no-any-return]

        return forward

    place = "CPU" if device == "cpu" else f"{backend.cuda.get_device_name()} GPU"
    return f"Keras and PyTorch {backend.__version__} on {place}", prepare


def show(title: str, found: dict[str, dict[str, float]], batches: list[int]) -> None:
    """A table, with the ratio to the first runtime at that batch in brackets."""
    if not found:
        return
    names = list(found)
    width = [max(len(name), 20) for name in names]
    print(f"{title} (ratio to the first)")
    print("   batch  " + "  ".join(f"{name:>{w}}" for name, w in zip(names, width)))
    for batch in map(str, batches):
        first = found[names[0]][batch]
        cells = [f"{found[name][batch]:,.0f} ({found[name][batch] / first:.2f})" for name in names]
        print(f"{int(batch):>8,}  " + "  ".join(f"{cell:>{w}}" for cell, w in zip(cells, width)))


if __name__ == "__main__":
    main()
