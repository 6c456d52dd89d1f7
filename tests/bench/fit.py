"""How long an epoch of the windows' network takes, and the memory, on synthetic windows.

    ./dev bench fit [--windows 1000000] [--rows 2000000] [--batch 256,1024] [--threads 2]

Rows are random, windows name sixteen of them each; what a window holds does not change the time.
An epoch is of the whole fit as the trainer does it: gathered, noised, rows dropped, both heads, Adam,
averaged.  RSS is the process's highest.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time

import numpy as np

from models.evidence import FAMILIES
from models.training.cli.options import load_tensorflow
from models.training.windows.fitting import network_spec
from models.training.windows.network_fit import Arrays, Options, fit_network
from models.training.windows.rows import WindowRows


def synthetic(windows: int, rows: int, seed: int = 1) -> Arrays:
    """Scaled windows on a table of random rows, half of them attacks."""
    spec, draw = network_spec(), np.random.default_rng(seed)
    table = draw.random((rows, spec.row_features), np.float32)
    table[0] = 0  # padding
    index = draw.integers(0, rows, (windows, spec.window), np.int32)
    label = (np.arange(windows) % 2).astype(np.float32)
    return Arrays(
        rows=WindowRows(table, index),
        counters=draw.random((windows, spec.counters), np.float32),
        label=label,
        family=np.where(label > 0, draw.integers(0, len(FAMILIES), windows), -1).astype(np.int32),
        weight=np.ones(windows, np.float32),
        offset=np.zeros(windows, np.float32),
    )


def epoch_seconds(data: Arrays, batch: int, epochs: int) -> tuple[list[float], list[float]]:
    """Wall and CPU seconds of each epoch; the first has the compilation in it."""
    wall, cpu = [time.monotonic()], [time.process_time()]

    def log(epoch: int, losses: dict[str, float]) -> None:
        wall.append(time.monotonic())
        cpu.append(time.process_time())
        print(f"batch {batch}, epoch {epoch}: loss {losses['loss']:.4f}", file=sys.stderr, flush=True)

    fit_network(network_spec(), data, None, Options(epochs=epochs, batch_size=batch), log)
    return np.diff(wall).tolist(), np.diff(cpu).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--windows", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--batch", default="256", help="sizes, separated by commas")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="of TensorFlow's operations")
    args = parser.parse_args()
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(args.threads)  # read when the first operation runs
    load_tensorflow()
    data = synthetic(args.windows, args.rows)
    print("| windows | batch | epoch, s | CPU of it, s | windows a CPU second | highest RSS, GiB |")
    print("|---:|---:|---:|---:|---:|---:|")
    for batch in map(int, args.batch.split(",")):
        wall, cpu = epoch_seconds(data, batch, args.epochs)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
        print(
            f"| {args.windows:,} | {batch:,} | {min(wall):.0f} | {min(cpu):.0f} |"
            f" {args.windows / min(cpu):,.0f} | {peak:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
