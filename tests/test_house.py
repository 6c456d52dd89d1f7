"""The arrows of the house: who may import whom, in no circle, and what stays unloaded."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("capture", "models", "ids_daemon")
MODULE_LINES = 450
HEAVY = ("numba", "ai_edge_litert", "tensorflow", "keras", "pyarrow", "scapy", "sklearn", "matplotlib")


@dataclass(frozen=True)
class Import:
    """One import statement's one module, as an absolute dotted name."""

    importer: str
    module: str
    line: int
    typing_only: bool  #: under `if TYPE_CHECKING:`, so never executed

    def __str__(self) -> str:
        return f"{self.importer} line {self.line} imports {self.module}"


@cache
def modules() -> dict[str, Path]:
    """Every module of the three packages by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _is_typing_guard(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and any(
        isinstance(part, ast.Name | ast.Attribute) and ast.unparse(part).endswith("TYPE_CHECKING")
        for part in ast.walk(node.test)
    )


def _named_by(
    node: ast.Import | ast.ImportFrom, importer: str, is_package: bool, known: set[str]
) -> list[str]:
    """The modules a statement loads; `from package import module` loads the module, too."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = node.module or ""
    if node.level:
        parts = importer.split(".")
        keep = len(parts) - node.level + is_package
        base = ".".join(parts[:keep] + ([base] if base else []))
    below = [f"{base}.{alias.name}" for alias in node.names if f"{base}.{alias.name}" in known]
    return below if len(below) == len(node.names) else [base, *below]


def imports_in(source: str, importer: str, is_package: bool, known: set[str]) -> Iterator[Import]:
    """Every import in a module, late ones inside functions and `import_module("...")` included."""

    def visit(node: ast.AST, typing_only: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in _named_by(node, importer, is_package, known):
                yield Import(importer, name, node.lineno, typing_only)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "importlib.import_module",
            "import_module",
        ):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield Import(importer, argument.value, node.lineno, typing_only)
        if isinstance(node, ast.If) and _is_typing_guard(node):
            for child in node.body:
                yield from visit(child, True)
            for child in node.orelse:
                yield from visit(child, typing_only)
            return
        for child in ast.iter_child_nodes(node):
            yield from visit(child, typing_only)

    yield from visit(ast.parse(source), False)


@cache
def all_imports() -> tuple[Import, ...]:
    known = set(modules())
    return tuple(
        one
        for name, path in modules().items()
        for one in imports_in(path.read_text(), name, path.name == "__init__.py", known)
    )


def trespasses(imports: tuple[Import, ...]) -> list[str]:
    """The imports that go against `ids_daemon -> models -> capture.columns`."""

    def allowed(one: Import) -> bool:
        home, there = one.importer.split(".")[0], one.module.split(".")[0]
        if there not in PACKAGES:
            return True
        match home:
            case "capture":
                return there == "capture"
            case "models":
                shared = {"capture.columns"}
                if one.importer.startswith("models.training."):  # offline: reads records from files
                    shared.add("capture.records")
                if one.importer.startswith("models.windows."):  # has kernels, too
                    shared.add("capture.jit")
                return there == "models" or one.module in shared
            case _:
                return there == "ids_daemon" or one.module in ("capture", "models")

    return [str(one) for one in imports if not allowed(one)]


def circles(imports: tuple[Import, ...], known: set[str]) -> list[str]:
    """Groups of modules that load each other, late imports counted, by following every path."""
    edges: dict[str, set[str]] = {name: set() for name in known}
    for one in imports:
        if not one.typing_only and one.module in known and one.module != one.importer:
            edges[one.importer].add(one.module)
    found: list[str] = []
    done: set[str] = set()

    def follow(name: str, path: list[str]) -> None:
        if name in path:
            found.append(" -> ".join([*path[path.index(name) :], name]))
            return
        if name in done:
            return
        for target in sorted(edges[name]):
            follow(target, [*path, name])
        done.add(name)

    for name in sorted(known):
        follow(name, [])
    return found


def loaded_after(code: str) -> set[str]:
    """The heavy packages in memory after a fresh interpreter ran `code`."""
    report = f"import sys\n{code}\nprint('LOADED', *(n for n in {HEAVY!r} if n in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", report], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_imports_follow_the_arrows() -> None:
    assert "\n".join(trespasses(all_imports())) == ""


def test_no_module_loads_itself_through_others() -> None:
    assert "\n".join(circles(all_imports(), set(modules()))) == ""


def test_every_package_has_modules_to_judge() -> None:
    assert {name.split(".")[0] for name in modules()} == set(PACKAGES)


@pytest.mark.parametrize("name", modules())
def test_module_is_read_in_one_sitting(name: str) -> None:
    lines = modules()[name].read_text().count("\n")
    assert lines <= MODULE_LINES


def test_columns_load_no_heavy_package() -> None:
    assert loaded_after("import capture.columns") == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_face_loads_no_heavy_package(package: str) -> None:
    assert loaded_after(f"import {package}") == set()


@pytest.mark.parametrize("arguments", [["tail", "--help"], ["check-config"], ["--help"]])
def test_light_commands_load_no_heavy_package(arguments: list[str]) -> None:
    code = f"""
from ids_daemon.cli import main
sys.argv = ['ids-daemon', *{arguments!r}]
try:
    status = main()
except SystemExit as end:
    status = end.code
assert not status, status
"""
    assert loaded_after(code) == set()


KNOWN = {
    "capture",
    "capture.columns",
    "capture.meter",
    "capture.records",
    "models",
    "models.windows",
    "models.training.cli",
    "ids_daemon",
    "ids_daemon.x",
}


def _judge(source: str, importer: str) -> list[str]:
    return trespasses(tuple(imports_in(source, importer, importer.count(".") == 0, KNOWN)))


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("capture.meter", "import models"),
        ("capture.meter", "def f():\n    from ids_daemon import x"),
        ("models.windows", "import capture"),
        ("models.windows", "from capture import FLOW_DTYPE"),
        ("models.windows", "from capture.meter import FlowMeter"),
        ("models.windows", "from capture.records import read_records"),
        ("models", "from ..ids_daemon import x"),
        ("ids_daemon.x", "from capture.columns import FLOW_DTYPE"),
        ("ids_daemon.x", "import importlib\nimportlib.import_module('models.windows')"),
        ("ids_daemon.x", "from models import windows"),
    ],
)
def test_judge_sees_a_trespass(importer: str, source: str) -> None:
    assert len(_judge(source, importer)) == 1


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("models.windows", "from capture.columns import FLOW_DTYPE"),
        ("models.windows", "from capture import columns"),
        ("models.training.cli", "from capture.records import read_records"),
        ("ids_daemon.x", "from capture import FLOW_DTYPE\nfrom models import Detector"),
        ("ids_daemon.x", "import numpy\nfrom . import x"),
    ],
)
def test_judge_lets_the_arrows_pass(importer: str, source: str) -> None:
    assert _judge(source, importer) == []


def test_judge_sees_a_circle_through_a_late_import() -> None:
    known = {"a", "b", "c"}
    imports = tuple(
        one
        for name, source in {"a": "import b", "b": "def f():\n    import c", "c": "from a import x"}.items()
        for one in imports_in(source, name, False, known)
    )
    assert circles(imports, known) == ["a -> b -> c -> a"]
