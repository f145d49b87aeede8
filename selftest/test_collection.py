"""What collecting costs and imports, which plugins may stand beside, and what may import what."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.evidence.record import read
from selftest.suites import BESIDE_OTHERS, ROOT, checks, run_folder, run_python, run_suite

HEAVY = ("torch", "torchvision", "onnx", "onnxruntime", "scipy", "matplotlib", "jinja2", "requests")
BESIDE = ("profiling", "benchmark", "playwright")
WATCHER = f"""
import sys

def pytest_collection_finish(session):
    heavy = sorted(set({HEAVY!r}) & set(sys.modules))
    print("heavy:", heavy)
    if not hasattr(session.config, "workerinput"):
        active = [n for n in {BESIDE!r} if session.config.pluginmanager.hasplugin(n)]
        print("beside:", active)
"""


@pytest.fixture
def watcher(tmp_path: Path) -> dict[str, str]:
    """The environment in which ``-p watcher`` tells what was imported for the collection."""
    (tmp_path / "watcher.py").write_text(WATCHER)
    return {"PYTHONPATH": str(tmp_path), **BESIDE_OTHERS}


def test_collecting_imports_nothing_heavy(watcher: dict[str, str]) -> None:
    done = run_suite("-p", "watcher", "--collect-only", "-q", "-s", environment=watcher)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "heavy: []" in done.stdout
    assert f"beside: {list(BESIDE)}" in done.stdout
    files = {path.name for path in (ROOT / "tests").glob("test_*.py")}
    assert files == {name for name in files if f"{name}::" in done.stdout}


def test_the_watcher_would_see_a_heavy_import(tmp_path: Path, watcher: dict[str, str]) -> None:
    for name in ("conftest.py", "pytest.ini"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_it.py").write_text("import onnx\n\ndef test_it():\n    pass\n")
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = run_suite(
        "-p", "watcher", "--collect-only", "-q", "-s", cwd=tmp_path, environment=environment
    )
    assert watcher
    assert "heavy: ['onnx']" in done.stdout


@pytest.mark.parametrize(
    ("fixture", "options"),
    [
        ("request", ["--profile", "--browser=firefox"]),
        ("benchmark", ["--benchmark-max-time=0.01", "--benchmark-min-rounds=1"]),
    ],
)
def test_the_suite_runs_beside_other_plugins(
    tmp_path: Path, fixture: str, options: list[str]
) -> None:
    for name in ("conftest.py", "pytest.ini"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_it.py").write_text(
        "from conformance.check import recorded\n"
        f"def test_it(claim, browser_name, {fixture}, run):\n"
        f"    if callable({fixture}):\n"
        f"        {fixture}(lambda: None)\n"
        "    claim(recorded('a.browser', browser_name), recorded('a.board', run.config.board))\n"
    )
    done = run_suite(
        *options, "--board=none", f"--pstats-dir={tmp_path / 'prof'}",
        cwd=tmp_path, environment={"PYTHONPATH": str(ROOT), **BESIDE_OTHERS},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    profiled = fixture == "request"
    assert bool(list(tmp_path.glob("prof/*.prof"))) == profiled
    assert ("Name (time in" in done.stdout) != profiled
    found = read(run_folder(tmp_path / "evidence"))
    assert [c.value for c in checks(found)] == ["firefox" if profiled else "chromium", "none"]


def test_no_option_shares_its_name_or_destination_with_a_plugin() -> None:
    done = run_suite("--help", environment=BESIDE_OTHERS)
    assert done.returncode == 0, done.stderr
    assert "ValueError" not in done.stdout + done.stderr


# What may import what


def modules(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found
    return found


def imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield (module, name) of every import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


# Of what is not the project's own, a claim may import these.
CLAIMS_MAY_IMPORT = {"__future__", "collections.abc", "pathlib", "pytest", "torch", "typing"}


def claim_faults(tree: ast.Module) -> list[str]:
    """Return what a file of claims does that is not its business."""
    found = []
    for module, name in imported(tree):
        own = module.partition(".")[0] in {"conformance", "fixtures"}
        if not own and module not in CLAIMS_MAY_IMPORT:
            found.append(f"imports {module}")
        if module == "pathlib" and name != "Path":
            found.append(f"imports {name or module} of pathlib")
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            found.append(f"line {node.lineno} divides, or builds a path")
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("Path"):
            found.append(f"line {node.lineno} builds a path")
        if isinstance(node, ast.Attribute) and node.attr in {"joinpath", "with_name", "parent"}:
            found.append(f"line {node.lineno} builds a path")
    return found


@pytest.mark.parametrize("path", modules("tests"), ids=lambda path: path.name)
def test_claims_run_no_programs_compute_nothing_and_build_no_paths(path: Path) -> None:
    assert claim_faults(parsed(path)) == []


@pytest.mark.parametrize(
    "code",
    [
        "import subprocess",
        "import numpy as np",
        "def test():\n    from os import path",
        "import pathlib",
        "from pathlib import PurePath",
        "from pathlib import Path\nPath('x')",
        "a / 'b'",
        "a.joinpath('b')",
    ],
)
def test_a_claim_that_does_is_found(code: str) -> None:
    assert claim_faults(ast.parse(code))


def test_only_tests_and_the_adapter_import_pytest() -> None:
    folders = [
        path.name
        for path in ROOT.iterdir()
        if path.is_dir() and not path.name.startswith(".") and list(path.rglob("*.py"))
    ]
    importing = {
        path.relative_to(ROOT).parts[0]
        for path in [*modules(*folders), *ROOT.glob("*.py")]
        for module, _ in imported(parsed(path))
        if module.partition(".")[0] in {"pytest", "_pytest", "xdist", "pluggy"}
    }
    assert importing == {"tests", "selftest", "fixtures"}


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("conformance/check.py", "import emulator"),
        ("fixtures/board.py", "from emulator import install"),
        ("emulator/board.py", "from conformance.check import Check"),
        ("emulator/clock.py", "import pytest"),
    ],
)
def test_suite_and_emulator_cannot_import_each_other(
    tmp_path: Path, module: str, line: str
) -> None:
    for name in ("conformance", "fixtures", "emulator"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    with (tmp_path / module).open("a") as stream:
        stream.write(f"\n{line}\n")
    lint = (
        "import sys; sys.path.insert(0, ''); import importlinter.cli as c; c.lint_imports_command()"
    )
    done = run_python("-c", lint, "--no-cache", cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout


def top_level(tree: ast.Module) -> Iterator[str]:
    """Yield the packages that importing the module imports."""
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield from (module.partition(".")[0] for module, _ in imported(node))


@pytest.mark.parametrize("folder", ["conformance", "fixtures", "tests"])
def test_no_module_imports_something_heavy_at_its_top(folder: str) -> None:
    faults = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules(folder)
        for name in set(top_level(parsed(path))) & set(HEAVY)
    }
    assert faults == set()


def plugins() -> list[str]:
    body = parsed(ROOT / "conftest.py").body
    kinds = [type(node) for node in body]
    assert kinds == [ast.Expr, ast.Assign], "conftest.py holds more than a list of plugins"
    assignment = body[1]
    assert isinstance(assignment, ast.Assign)
    assert [ast.unparse(target) for target in assignment.targets] == ["pytest_plugins"]
    return [str(name) for name in ast.literal_eval(assignment.value)]


def test_conftest_lists_every_plugin_and_holds_nothing_else() -> None:
    listed = plugins()
    assert len(set(listed)) == len(listed)
    modules_there = {f"fixtures.{path.stem}" for path in (ROOT / "fixtures").glob("[a-z]*.py")}
    assert set(listed) <= modules_there
    for name in modules_there - set(listed):
        text = (ROOT / f"{name.replace('.', '/')}.py").read_text()
        assert "@pytest.fixture" not in text, f"{name} is not listed"
        assert "def pytest_" not in text, f"{name} is not listed"
