"""How kernels are compiled, kept, called without numba, and run un-jitted."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from capture import jit
from capture.jit import kernels as functions
from capture.jit.kernels import Helper, Kernel, Kernels
from capture.jit.store import ObjectCode, Store

pytestmark = pytest.mark.skipif(jit.DISABLED, reason="kernels are not compiled here")

ROOT = Path(__file__).parents[2]


class Pair(NamedTuple):
    values: np.ndarray
    factor: int


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernels:
    """Kernels kept in a folder of the test."""
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return Kernels(Store("test", []))


def total(values: Any, negate: Any) -> Any:
    found = np.int64(0)
    for value in values:
        found += np.int64(value)
    return -found if negate else found


def files(kernels: Kernels) -> list[Path]:
    return sorted(kernels.store.folder.glob("*.o"))


def check_twice(kernel: Kernel, arguments: tuple[Any, ...], given: Any) -> None:
    """At its first call, and when everything is ready, a kernel gives the same, and of the same type."""
    for _ in range(2):
        found = kernel(*arguments)
        assert found == given and type(found) is type(given)


def test_each_kind_of_argument_has_code_of_its_own(made: Kernels) -> None:
    kernel = made.kernel(total)
    numbers = np.arange(10)
    assert kernel(numbers, False) == 45
    assert kernel(numbers, np.True_) == -45
    assert len(files(made)) == 1
    assert kernel(numbers.astype(np.uint8), True) == -45
    assert len(files(made)) == 2
    assert kernel(numbers[::3], False) == 0 + 3 + 6 + 9
    assert len(files(made)) == 3
    locked = numbers.copy()
    locked.flags.writeable = False
    assert kernel(locked, False) == 45  # code for arrays with gaps, that writes: not for this one
    assert len(files(made)) == 4
    assert kernel(numbers[1:4], False) == 1 + 2 + 3
    assert kernel(numbers[:0], False) == 0
    assert len(files(made)) == 4


def test_code_for_arrays_with_gaps_takes_a_single_record(made: Kernels) -> None:
    kernel = made.kernel(total)
    numbers = np.arange(10)
    assert kernel.prepare(numbers[::2], False)
    assert kernel(numbers[4:5:2], False) == 4
    assert len(files(made)) == 1


@pytest.mark.parametrize(
    ("function", "arguments", "given"),
    [
        (lambda a, b: (a + b, a > b), (7, 5), (12, True)),
        (lambda a: a + np.uint64(1), (np.uint64(2**64 - 2),), 2**64 - 1),
        (lambda a: a, (2**63 + 5,), 2**63 + 5),
        (lambda a: a, (-(2**63),), -(2**63)),
        (lambda pair, by: len(pair.values) * pair.factor + by, (Pair(np.zeros((2, 3)), 10), -1), 19),
        (lambda a: None, (1,), None),
        (lambda a, b: (a > b, a, a < b, b), (7, 5), (True, 7, False, 5)),
    ],
)
def test_what_a_kernel_gives(
    made: Kernels, function: Callable[..., Any], arguments: tuple[Any, ...], given: Any
) -> None:
    check_twice(made.kernel(function), arguments, given)
    assert len(files(made)) == 1


def test_an_array_that_takes_the_place_of_another_is_seen(made: Kernels) -> None:
    kernel = made.kernel(total)
    for n in range(50):
        assert kernel(np.full(3, n), False) == 3 * n  # each freed before the next is made


def test_a_kernel_writes_into_the_records_it_is_given(made: Kernels) -> None:
    def count(records: Any, at: Any) -> Any:
        records[at].seen += 1
        return records[at].seen

    records = np.zeros(3, [("flag", np.uint8), ("seen", np.int64)])
    kernel = made.kernel(count)
    assert [kernel(records, 1), kernel(records, 1), kernel(records, 2)] == [1, 2, 1]
    assert records["seen"].tolist() == [0, 2, 1]


def test_what_is_handed_over_otherwise_is_called_by_numba_and_not_kept(made: Kernels) -> None:
    half, fraction = made.kernel(lambda value: value / 2), made.kernel(lambda value: value / 4)
    assert [half(3.0), half(5.0)] == [1.5, 2.5]  # takes one
    assert [fraction(3), fraction(5)] == [0.75, 1.25]  # gives one
    assert made.kernel(total)(np.asfortranarray(np.ones((2, 3)))[0], False) == 3
    assert all("lambda" not in path.name for path in files(made))


@pytest.mark.parametrize(
    ("function", "arguments", "given"),
    [
        (lambda a, b: (a > b, a < b, a), (7, 5), (True, False, 7)),  # two bytes side by side
        (lambda a: (a,), (5,), (5,)),
        (lambda a: Pair(a, 2), (1,), Pair(1, 2)),  # type: ignore[arg-type]
        (lambda a: np.random.seed(a), (1,), None),
        (lambda: 7, (), 7),
    ],
)
def test_what_native_calls_know_nothing_of_is_left_to_numba(
    made: Kernels, function: Callable[..., Any], arguments: tuple[Any, ...], given: Any
) -> None:
    check_twice(made.kernel(function), arguments, given)
    assert files(made) == []


def test_nothing_is_no_array_that_is_gone(made: Kernels) -> None:
    kernel = made.kernel(total)
    values = np.arange(3)
    assert kernel(values, False) == 3
    del values
    with pytest.raises(Exception, match="none"):
        kernel(None, False)


def test_tuples_of_other_classes_are_other_arguments(made: Kernels) -> None:
    class Turned(NamedTuple):
        factor: int
        values: np.ndarray

    kernel = made.kernel(lambda pair: 10 * len(pair.values) + pair.factor)
    assert kernel(Pair(np.zeros(3), 4)) == 34
    with pytest.raises(Exception, match="Failed in nopython"):
        kernel((np.zeros(3), 4))
    assert kernel(Turned(4, np.zeros(3))) == 34


def _plus(n: int) -> Callable[[int], int]:
    return lambda value: value + n


def test_functions_of_one_name_are_not_mixed_up(made: Kernels) -> None:
    assert [made.kernel(_plus(n))(1) for n in range(3)] == [1, 2, 3]
    one = made.kernel(lambda a: a + 1)
    other = made.kernel(lambda a: a * 100)
    assert [one(5), other(5)] == [6, 500]


def test_kernels_and_helpers_call_each_other_but_python_no_helper(made: Kernels) -> None:
    global _twice, _thrice
    _twice, _thrice = made.helper(lambda value: 2 * value), made.inlined(lambda value: 3 * value)
    kernel = made.kernel(lambda value: _twice(value) + _thrice(value))
    assert kernel(10) == 50
    with pytest.raises(TypeError, match="is a part of kernels"):
        _twice(1)


_twice: Helper
_thrice: Helper


def test_threads_have_arguments_and_results_of_their_own(made: Kernels) -> None:
    kernel = made.kernel(total)
    kernel(np.arange(2), False)
    wrong: list[int] = []

    def call(n: int) -> None:
        mine = np.full(1000, n)
        wrong.extend(n for _ in range(300) if kernel(mine, False) != 1000 * n)

    threads = [threading.Thread(target=call, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


_PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
from capture.jit.kernels import Kernels
from capture.jit.store import Store
kernels = Kernels(Store("test", []))
kernel = kernels.kernel(lambda values, by: (len(values) * by, by > 2))
found = [kernel(np.zeros(4), 2), kernel(np.zeros(5, np.uint8), 3)]
print(json.dumps([found, "numba" in sys.modules, str(kernels.store.folder)]))
"""


def run(program: str, home: Path) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env={"XDG_CACHE_HOME": str(home)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_is_kept_is_called_without_numba_and_what_is_damaged_is_made_anew(tmp_path: Path) -> None:
    expected = [[8, False], [15, True]]
    assert run(_PROGRAM, tmp_path)[:2] == [expected, True]
    found, with_numba, folder = run(_PROGRAM, tmp_path)
    assert (found, with_numba) == (expected, False)
    first, second = sorted(Path(folder).glob("*.o"))
    whole = first.read_bytes()
    first.write_bytes(whole[:-100])
    second.write_bytes(second.read_bytes().replace(b'"int64"', b'"int32"'))
    assert run(_PROGRAM, tmp_path)[:2] == [expected, True]
    assert first.read_bytes() == whole
    assert run(_PROGRAM, tmp_path)[:2] == [expected, False]


def test_where_nothing_can_be_kept_kernels_are_compiled_at_each_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for _ in range(2):
        assert run(_PROGRAM, tmp_path / "file")[:2] == [[[8, False], [15, True]], True]


def test_a_store_is_complete_once_that_was_said_of_these_very_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))
    source = tmp_path / "source.py"
    source.write_text("first")
    store = Store("some", [source])
    assert store.folder.parent == tmp_path / "cache" / "ids-daemon"
    store.mark_complete()  # a folder that is not there: nothing is kept, nothing is said
    assert not store.complete
    code = ObjectCode("symbol", ("int64", "bool"), b"\n\x7fELF\n")
    store.keep("module.name", "types", code)  # an interrupted start leaves some
    assert store.load("module.name", "types") == code
    assert store.load("module.name", "other types") is None
    assert not store.complete
    store.mark_complete()
    assert Store("some", [source]).complete
    source.write_text("second")
    changed = Store("some", [source])
    assert not changed.complete and changed.load("module.name", "types") is None


def test_a_folder_where_others_may_write_is_left_alone(made: Kernels) -> None:
    code = ObjectCode("symbol", ("int64",), b"code")
    made.store.keep("module.name", "types", code)
    made.store.mark_complete()
    assert made.are_cached() and made.store.load("module.name", "types") == code
    made.store.folder.chmod(0o777)
    assert not made.are_cached() and made.store.load("module.name", "types") is None


def test_nothing_is_called_complete_that_was_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path))
    store = Store("some", [])
    store.folder.parent.mkdir()
    store.folder.mkdir(mode=0o755)
    monkeypatch.setattr("tempfile.mkstemp", _no_room)
    store.keep("module.name", "types", ObjectCode("symbol", (), b"code"))
    store.mark_complete()
    assert list(store.folder.iterdir()) == [] and not store.complete


def _no_room(**options: Any) -> Any:
    raise OSError(28, "No space left on device")


def test_without_a_home_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("CACHE_DIRECTORY", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    store = Store("some", [])
    store.keep("module.name", "types", ObjectCode("symbol", (), b"code"))
    assert store.load("module.name", "types") is None and not store.complete


def test_the_folder_is_one_that_is_cleaned_up(made: Kernels) -> None:
    from ids_daemon.kernelcache import _NAME

    for name in ("kernels", "windows"):
        assert _NAME.fullmatch(Store(name, []).folder.name)


def test_unjitted_kernels_wrap_around_as_compiled_ones_do(
    made: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def square(value: Any) -> Any:
        return value * value

    assert made.kernel(square)(np.uint64(1 << 33)) == 0
    monkeypatch.setattr(functions, "DISABLED", True)
    unjitted = made.kernel(square)
    assert not isinstance(unjitted, Kernel)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert unjitted(np.uint64(1 << 33)) == 0
    row = functions.structured(np.zeros(1, [("count", np.int64)]))[0]
    row.count = 3
    assert row.count == 3
    assert made.are_cached()


@pytest.mark.skipif(importlib.util.find_spec("scipy") is None, reason="needs scipy")
def test_numba_is_loaded_without_linear_algebra_and_others_still_get_it() -> None:
    program = (
        "import sys, capture.jit.compiling, numba.np.arraymath; print('scipy.linalg' in sys.modules);"
        "import scipy.linalg; print(round(scipy.linalg.det([[2, 0], [0, 3]])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "6"]
