"""Nothing is compiled or loaded once packets come, and a warm start loads no numba."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from capture import flowfile, kernel_folder, loading
from capture.jit import KERNELS
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
assert "capture.text_kernels" not in {module for module, _, _ in after}, "nobody wants flows written"
print("numba" in sys.modules)
"""


@pytest.fixture(scope="module")
def warm() -> None:
    """The kernels are kept, whichever test comes first."""
    _run(
        "from capture import load_kernels; load_kernels();"
        "from models.windows import load_kernels; load_kernels()"
    )


def _run(program: str, *arguments: str | Path, **environment: str) -> str:
    """A Python program's output; it must end well and complain of nothing."""
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_DISABLE_JIT"}
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("write", [write_pcap, write_pcapng])
@pytest.mark.parametrize("packets", [1, 40])
def test_nothing_is_compiled_or_loaded_after_the_first_packet(
    write: Callable[..., Path], packets: int, tmp_path: Path
) -> None:
    frames = [tcp_frame("10.0.0.1", f"10.0.1.{i}", 40_000 + i, 80, "S") for i in range(packets)]
    capture = write(tmp_path / "some.pcap", frames, [at(i) for i in range(packets)])
    assert _run(_REPLAY, capture) == "False\n"


_WRITE = """
import sys
from ids_daemon.cli import main
for output in sys.argv[2:]:
    assert main(["flows", "--quiet", sys.argv[1], "-o", output]) == 0
print("numba" in sys.modules)
"""


@pytest.mark.usefixtures("warm")
def test_what_writes_flows_is_compiled_at_the_first_start_with_all_else(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    cache = tmp_path / "ids-daemon" / kernel_folder().name
    # All that is kept but this, so that only this is compiled here.
    shutil.copytree(kernel_folder(), cache, ignore=shutil.ignore_patterns("complete", "*text_kernels*"))
    environment = {"CACHE_DIRECTORY": str(tmp_path)}
    _run("import capture; capture.load_kernels(); assert capture.kernels_are_cached()", **environment)
    kept = {path.name for path in cache.glob("capture.text_kernels.*")}
    assert {name.split("-")[0] for name in kept} == {
        "capture.text_kernels.put_rows",
        "capture.text_kernels.put_addresses",
    }
    frames = [tcp_frame("10.0.0.1", f"10.0.1.{i}", 40_000 + i, 80, "S") for i in range(3)]
    outputs = [tmp_path / "flows.csv", tmp_path / "flows.parquet"]
    for count in (1, 3):
        capture = write_pcap(tmp_path / "some.pcap", frames[:count], [at(0)] * count)
        assert _run(_WRITE, capture, *outputs, **environment) == "False\n"
    assert {path.name for path in cache.glob("capture.text_kernels.*")} == kept


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(
    ("complete", "keeps", "made"), [(False, True, 1), (False, False, 0), (True, True, 0)]
)
def test_what_writes_flows_is_made_ahead_only_once_and_where_it_can_be_kept(
    monkeypatch: pytest.MonkeyPatch, complete: bool, keeps: bool, made: int
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(loading, "DISABLED", False)
    monkeypatch.setattr(KERNELS, "are_cached", lambda: complete)
    monkeypatch.setattr(KERNELS.store, "keeps", keeps)
    monkeypatch.setattr(KERNELS.store, "mark_complete", lambda: calls.append("complete"))
    monkeypatch.setattr(flowfile, "load_kernels", lambda: calls.append("written"))
    loading.load_kernels()
    assert calls == ["written"] * made + ["complete"]
