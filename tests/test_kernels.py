"""Nothing is compiled once packets come: `load_kernels` has loaded all that a replay calls."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packets import at, tcp_frame, write_pcap, write_pcapng

ROOT = Path(__file__).parents[1]

_REPLAY = """
import gc, sys
from numba.core.dispatcher import Dispatcher
from ids_daemon import stages
from ids_daemon.cli import main

def loaded():
    return sorted(
        (one.py_func.__module__, one.py_func.__name__, str(signature))
        for one in gc.get_objects() if isinstance(one, Dispatcher)
        for signature in one.signatures if one.py_func.__module__.startswith(("capture", "models"))
    )

def load(*arguments, **options):
    real(*arguments, **options)
    before.extend(loaded())

before, real = [], stages.load_kernels
stages.load_kernels = load
sys.argv = ["ids-daemon", "replay", "--quiet", sys.argv[1]]
assert main() == 0
after = loaded()
assert len(before) > 3
assert before == after, [one for one in after if one not in before]
"""


@pytest.mark.parametrize("write", [write_pcap, write_pcapng])
@pytest.mark.parametrize("packets", [1, 40])
def test_nothing_is_compiled_or_loaded_after_the_first_packet(
    write: Callable[..., Path], packets: int, tmp_path: Path
) -> None:
    frames = [tcp_frame("10.0.0.1", f"10.0.1.{i}", 40_000 + i, 80, "S") for i in range(packets)]
    capture = write(tmp_path / "some.pcap", frames, [at(i) for i in range(packets)])
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_DISABLE_JIT"}
    done = subprocess.run(
        [sys.executable, "-c", _REPLAY, str(capture)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
