"""A board in a folder: found as a real one is, and independent of where it came from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import emulator
from emulator import MARK, BoardError, install
from emulator.__main__ import main
from selftest.emulated import Bench, make_bench

CHECKOUT = str(Path(emulator.__file__).parent.parent)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_bench(tmp_path_factory.mktemp("a board's folder"))


def test_programs_are_where_a_path_finds_them(bench: Bench) -> None:
    names = {"npu-smi", "atc", "aoe", "benchmark.x86_64", f"benchmark.{os.uname().machine}"}
    assert {path.name for path in bench.board.bin.iterdir()} == names
    for path in [*bench.board.bin.iterdir(), bench.board.python]:
        assert os.access(path, os.X_OK)
        assert MARK in path.read_text(encoding="utf-8")


def test_the_board_does_not_need_the_checkout(bench: Bench) -> None:
    for path in bench.board.folder.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            # Only its interpreter and the packages of that may lie there.
            text = path.read_text(encoding="utf-8").replace(sys.prefix, "")
            assert CHECKOUT not in text, path


def test_the_board_reads_the_tables_of_the_checkout(bench: Bench) -> None:
    library = bench.board.folder / "python" / "lib" / "emulator"
    for name in ("faults", "socs"):
        written = tomllib.loads((Path(CHECKOUT) / f"emulator/{name}.toml").read_text("utf-8"))
        # As text: one of the numbers is NaN, which is like nothing.
        assert (library / f"{name}.json").read_text("utf-8") == json.dumps(written)
    assert not list(library.glob("*.toml"))


@pytest.mark.parametrize("program", ["no such program", "/bin/false"])
def test_an_interpreter_that_does_not_run_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], program: str
) -> None:
    assert main(["install", str(tmp_path / "board"), f"--python={program}"]) == 2
    assert f"{program} is no interpreter that works: " in capsys.readouterr().err


def test_tools_ignore_the_callers_python_path(bench: Bench, tmp_path: Path) -> None:
    for name in ("emulator", "ais_bench", "onnx", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(99)", encoding="utf-8")
    variables = {"PYTHONPATH": str(tmp_path), "PYTHONHOME": str(tmp_path)}
    assert bench.run("npu-smi", "info", env=variables).status == 0
    found = bench.run("python3", "-c", "import ais_bench; print(ais_bench.__file__)", env=variables)
    assert found.stdout.strip() == str(
        bench.board.folder / "python" / "lib" / "ais_bench" / "__init__.py"
    )


def test_its_python_shows_ais_bench_as_installed(bench: Bench) -> None:
    script = "from importlib.metadata import version; print(version('ais_bench'))"
    assert bench.run("python3", "-c", script).stdout == "0.0.2\n"


def test_its_python_does_not_see_the_checkout(bench: Bench) -> None:
    script = f"import sys; print({CHECKOUT!r} in sys.path)"
    assert bench.run("python3", "-c", script).stdout == "False\n"


def test_set_env_puts_the_tools_on_the_path(bench: Bench) -> None:
    script = f'. "{bench.board.set_env}" && command -v atc && command -v python3'
    done = subprocess.run(
        ["/bin/sh", "-c", f'{script} && echo "$ASCEND_TOOLKIT_HOME"'],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    home = bench.board.folder / "ascend-toolkit" / "latest"
    assert done.stdout.splitlines() == [
        str(bench.board.bin / "atc"),
        str(bench.board.python),
        str(home),
    ]


def test_versions_are_told_and_marked(bench: Bench) -> None:
    folder = bench.board.folder
    home = folder / "ascend-toolkit" / "latest"
    info = home / f"{os.uname().machine}-linux" / "ascend_toolkit_install.info"
    rows = dict(line.split("=", 1) for line in info.read_text(encoding="utf-8").splitlines())
    assert rows["version"] == "5.0.1"
    assert rows["compatible_version"] == MARK
    assert "[EMU.5.0.1:5.0.1]" in (home / "version.cfg").read_text(encoding="utf-8")
    driver = (folder / "driver" / "version.info").read_text(encoding="utf-8")
    assert driver.splitlines()[0] == "Version=21.0.2"
    assert MARK in driver


def test_every_tool_says_what_it_is(bench: Bench) -> None:
    for argv in (["npu-smi", "info"], ["atc", "--help"], ["aoe"], ["benchmark.x86_64"],
                 ["python3", "-m", "ais_bench", "--help"]):  # fmt: skip
        assert MARK in bench.run(*argv).stdout, argv


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("soc", "Ascend999"),
        ("colour", "red"),
        ("faults", ["no-such-fault"]),
        ("chips", [{"npu": 0}]),
    ],
)
def test_a_wrong_state_is_named(tmp_path: Path, key: str, value: object) -> None:
    bench = make_bench(tmp_path)
    path = bench.board.folder / "board.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**state, key: value}), encoding="utf-8")
    result = bench.run("npu-smi", "info")
    assert result.status == 70
    assert "emulated npu-smi: " in result.stderr


def test_configure_refuses_what_is_unknown(tmp_path: Path) -> None:
    board = install(tmp_path)
    before = board.state
    for changes in ({"colour": "red"}, {"soc": "Ascend999"}, {"faults": ["no-such-fault"]}):
        with pytest.raises(BoardError):
            board.configure(**changes)
    assert board.state == before


def test_installing_again_makes_a_fresh_board(tmp_path: Path) -> None:
    install(tmp_path, fault="chip-alarm").configure(seed=5)
    board = install(tmp_path, "Ascend310P3")
    assert (board.state.soc, board.state.faults, board.state.seed) == ("Ascend310P3", (), 0)


def test_command_line_makes_a_board(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install", str(tmp_path), "--soc", "Ascend310B1", "--fault", "chip-alarm"]) == 0
    assert capsys.readouterr().out == f"source {tmp_path}/ascend-toolkit/set_env.sh\n"
    assert main(["install", str(tmp_path), "--fault", "no-such-fault"]) == 2


def test_command_line_lists_the_faults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults"]) == 0
    assert "decisions-flip-at-bs16" in capsys.readouterr().out
