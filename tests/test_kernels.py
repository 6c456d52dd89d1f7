"""Nothing is compiled or loaded once packets come, and a warm start loads no numba."""

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
from capture.jit.kernels import Kernel
from ids_daemon import stages
from ids_daemon.cli import main

def loaded():
    return sorted((one.__module__, one.__name__, len(one._natives)) for one in gc.get_objects()
                  if isinstance(one, Kernel) and one._natives)

def load(*arguments, **options):
    real(*arguments, **options)
    before.extend(loaded())

before, real = [], stages.load_kernels
stages.load_kernels = load
sys.argv = ["ids-daemon", "replay", "--quiet", sys.argv[1]]
assert main() == 0
after = loaded()
assert {name for _, name, _ in before} >= {"process", "advance", "index_pcap", "push"}, before
assert before == after, [one for one in after if one not in before]
print("numba" in sys.modules)
"""


@pytest.fixture(scope="module")
def warm() -> None:
    """The kernels are kept, whichever test comes first."""
    program = (
        "from capture import load_kernels; load_kernels();"
        "from models.windows import load_kernels; load_kernels()"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=_jitted(), check=True)


def _jitted() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "NUMBA_DISABLE_JIT"}


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("write", [write_pcap, write_pcapng])
@pytest.mark.parametrize("packets", [1, 40])
def test_nothing_is_compiled_or_loaded_after_the_first_packet(
    write: Callable[..., Path], packets: int, tmp_path: Path
) -> None:
    frames = [tcp_frame("10.0.0.1", f"10.0.1.{i}", 40_000 + i, 80, "S") for i in range(packets)]
    capture = write(tmp_path / "some.pcap", frames, [at(i) for i in range(packets)])
    done = subprocess.run(
        [sys.executable, "-c", _REPLAY, str(capture)],
        cwd=ROOT,
        env=_jitted(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "False\n")
