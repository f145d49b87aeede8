"""Vendor tools run in CANN's environment, with nothing of ours in it, and are found in order."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from conformance.ascend import environment as environment_module
from conformance.ascend import tools
from conformance.ascend.environment import (
    SUITE_FOLDER,
    VendorEnvironment,
    vendor_environment,
    without_our_python,
)
from conformance.ascend.versions import read_versions
from conformance.errors import ToolError

SET_ENV = """
# Like CANN's own: sets variables, prepends folders, prints, and ends with a test that fails.
echo "sourcing"
export ARGUMENTS=$#
export ASCEND_TOOLKIT_HOME="{home}"
export ASCEND_OPP_PATH="{home}/opp"
export PATH="{home}/bin:$PATH"
export PYTHONPATH="{home}/python/site-packages:$PYTHONPATH"
export MULTILINE="one
two"
[ -f /does/not/exist ] && echo never
"""


def executable(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def install_cann(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "set_env.sh").write_text(SET_ENV.format(home=folder))
    return folder


def base(**variables: str) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": "/nowhere", **variables}


def of(path: str, **variables: str) -> VendorEnvironment:
    return VendorEnvironment({"PATH": path, **variables}, None, "test")


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, Path]:
    return {"standard": tmp_path / "no", "home": tmp_path / "nobody"}


def test_our_python_is_removed_and_the_rest_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", "/our/venv")
    clean = without_our_python(
        base(
            PATH="/our/venv/bin:/other/bin::/usr/bin",
            PYTHONPATH=f"{SUITE_FOLDER}:/usr/local/Ascend/python",
            VIRTUAL_ENV="/our/other-venv",
            PYTEST_CURRENT_TEST="x",
            CONFORMANCE_BOARD="auto",
            PYTHONHOME="/our",
            ASCEND_DEVICE_ID="1",
        )
    )
    assert clean == {
        "PATH": "/other/bin:/usr/bin",
        "PYTHONPATH": "/usr/local/Ascend/python",
        "HOME": "/nowhere",
        "ASCEND_DEVICE_ID": "1",
    }
    assert "PYTHONPATH" not in without_our_python(base(PYTHONPATH=str(SUITE_FOLDER)))


@pytest.mark.parametrize(
    "place", ["$ASCEND_HOME_PATH", "$ASCEND_TOOLKIT_HOME", "latest", "cann", "home"]
)
def test_set_env_is_found_in_every_place_and_sourced(tmp_path: Path, place: str) -> None:
    standard, home = tmp_path / "usr/Ascend", tmp_path / "me"
    folders = {
        "latest": standard / "ascend-toolkit/latest",
        "cann": standard / "cann",
        "home": home / "Ascend/ascend-toolkit/latest",
    }
    cann = install_cann(folders.get(place, tmp_path / "else where"))
    given = {place[1:]: str(cann)} if place.startswith("$") else {}
    made = vendor_environment(base(**given), standard=standard, home=home)
    assert made.set_env == cann / "set_env.sh"
    assert made.variables["ASCEND_OPP_PATH"] == f"{cann}/opp"
    assert made.variables["ARGUMENTS"] == "0"
    assert made.variables["MULTILINE"] == "one\ntwo"
    assert made.variables["PYTHONPATH"].startswith(f"{cann}/python")
    assert "CONFORMANCE_SUPERVISED" not in made.variables


def test_set_env_beside_the_latest_link_is_found(tmp_path: Path) -> None:
    cann = install_cann(tmp_path / "Ascend/ascend-toolkit")
    (cann / "latest").mkdir()
    made = vendor_environment(base(ASCEND_HOME_PATH=str(cann / "latest")), standard=tmp_path / "no")
    assert made.set_env == cann / "set_env.sh"


def test_tools_on_path_come_before_those_of_set_env(tmp_path: Path) -> None:
    cann = install_cann(tmp_path / "cann")
    executable(cann / "bin/atc")
    mine = executable(tmp_path / "mine/atc")
    variables = base(PATH=f"{mine.parent}:/usr/bin:/bin")
    made = vendor_environment(variables, standard=tmp_path, home=tmp_path / "nobody")
    assert tools.find_program("atc", made) == mine
    made = vendor_environment(base(), standard=tmp_path, home=tmp_path / "nobody")
    assert tools.find_program("atc", made) == cann / "bin/atc"


def test_an_environment_that_is_set_up_is_left_alone(tmp_path: Path) -> None:
    install_cann(tmp_path / "cann")
    mine = executable(tmp_path / "mine/atc")
    variables = base(PATH=f"{mine.parent}:/usr/bin:/bin", ASCEND_OPP_PATH="/old/opp")
    made = vendor_environment(variables, standard=tmp_path, home=tmp_path / "nobody")
    assert made.set_env is None
    assert made.variables == variables
    assert "ASCEND_OPP_PATH" in made.origin


def test_without_cann_the_environment_is_ours_cleaned(nowhere: dict[str, Path]) -> None:
    made = vendor_environment(base(), standard=nowhere["standard"], home=nowhere["home"])
    assert (made.variables, made.set_env, made.origin) == (base(), None, "no set_env.sh found")


@pytest.mark.parametrize("text", ["exit 3\n", "echo nothing\n", "sleep 60\n"])
def test_a_set_env_that_does_not_work_is_an_error(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment_module, "SOURCING_LIMIT_S", 1.0)
    script = tmp_path / "cann/set_env.sh"
    script.parent.mkdir()
    script.write_text(text)
    with pytest.raises(ToolError, match=r"set_env\.sh cannot be used") as caught:
        vendor_environment(base(), standard=tmp_path, home=tmp_path / "nobody")
    assert str(script) in str(caught.value)


def test_a_missing_and_a_lame_program_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="atc is missing"):
        tools.require_program("atc", of(str(tmp_path)))
    (tmp_path / "atc").write_text("#!/bin/sh\n")
    with pytest.raises(ToolError, match="atc is not executable") as caught:
        tools.require_program("atc", of(str(tmp_path)))
    assert f"chmod +x {tmp_path}/atc" in str(caught.value)
    executable(tmp_path / "atc")
    assert tools.require_program("atc", of(str(tmp_path))) == tmp_path / "atc"


def test_benchmark_is_taken_as_given_then_here_then_on_path(tmp_path: Path) -> None:
    name = tools.benchmark_name()
    assert name == f"benchmark.{os.uname().machine}"
    here = tmp_path / "here"
    here.mkdir()
    env = of(str(tmp_path / "bin"))
    assert tools.find_benchmark(env, folder=here) is None
    on_path = executable(tmp_path / "bin" / name)
    assert tools.find_benchmark(env, folder=here) == on_path
    local = executable(here / name)
    assert tools.find_benchmark(env, folder=here) == local
    given = executable(tmp_path / "given")
    assert tools.find_benchmark(env, given=given, folder=here) == given
    local.chmod(0o644)
    with pytest.raises(ToolError, match="cannot be executed"):
        tools.find_benchmark(env, folder=here)
    with pytest.raises(ToolError, match="cannot be executed"):
        tools.find_benchmark(env, given=tmp_path / "gone")


def python_with(folder: Path, **packages: str) -> Path:
    """An interpreter folder whose python3 sees the named packages and nothing of ours."""
    site = folder / "site"
    for name, version in packages.items():
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").write_text("")
        info = site / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    base_python = Path(sys.base_prefix) / "bin/python3"
    text = f'#!/bin/sh\nPYTHONPATH={site} exec {base_python} "$@"\n'
    return executable(folder / "bin/python3", text)


def test_the_first_python_that_has_ais_bench_is_taken(tmp_path: Path) -> None:
    without = python_with(tmp_path / "a")
    having = python_with(tmp_path / "b", ais_bench="0.0.2", aclruntime="0.0.2")
    found = tools.find_ascend_python(of(f"{without.parent}:{having.parent}:/bin"))
    assert found
    assert found.path == having
    assert found.versions["ais_bench"] == "0.0.2"
    assert found.versions["python"].startswith("3.")
    assert tools.find_ascend_python(of(str(without.parent))) is None


def test_a_python_that_cannot_be_started_is_passed_over(tmp_path: Path) -> None:
    dead = executable(tmp_path / "a/python3", "#!/nowhere/python\n")
    having = python_with(tmp_path / "b", ais_bench="0.0.2")
    found = tools.find_ascend_python(of(f"{dead.parent}:{having.parent}:/bin"))
    assert found
    assert found.path == having
    with pytest.raises(ToolError, match="ais_bench cannot be imported") as caught:
        tools.find_ascend_python(of(""), given=dead)
    assert "could not be started" in str(caught.value)


def test_what_packages_print_at_their_end_hides_no_version(tmp_path: Path) -> None:
    having = python_with(tmp_path / "a", ais_bench="0.0.2")
    package = tmp_path / "a/site/ais_bench/__init__.py"
    package.write_text(
        "import atexit\nprint('hello', end='')\natexit.register(print, 'bye from aclruntime')\n"
    )
    found = tools.find_ascend_python(of(f"{having.parent}:/bin"))
    assert found
    assert found.versions["ais_bench"] == "0.0.2"


def test_our_own_python_is_not_taken_for_canns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = python_with(tmp_path / "venv", ais_bench="9")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    assert tools.find_ascend_python(of(str(ours.parent))) is None


def test_a_given_python_without_ais_bench_says_why(tmp_path: Path) -> None:
    given = python_with(tmp_path / "a")
    with pytest.raises(ToolError, match="No module named 'ais_bench'"):
        tools.find_ascend_python(of(""), given=given)
    having = python_with(tmp_path / "b", ais_bench="1")
    assert tools.find_ascend_python(of(""), given=having) is not None


INSTALL_INFO = (
    "package_name=Ascend-cann-toolkit\nversion=8.0.0\ninnerversion=V100R001C20SPC001B251\n"
    "compatible_version=[V100R001C15],[V100R001C18]\narch=aarch64\nos=linux\npath=/usr/local\n"
)
VERSION_CFG = "# version\nruntime_running_version=[7.7.T20.0.B210:8.1.RC1]\n"
DRIVER_INFO = "Version=25.5.2\nascendhal_version=7.35.19\npackage_version=25.5.2\n"


@pytest.mark.parametrize(
    ("file", "text", "component", "version"),
    [
        (
            "ascend-toolkit/latest/aarch64-linux/ascend_toolkit_install.info",
            INSTALL_INFO,
            "cann",
            "8.0.0",
        ),
        ("cann/x86_64-linux/ascend_toolkit_install.info", INSTALL_INFO, "cann", "8.0.0"),
        ("ascend-toolkit/latest/version.cfg", VERSION_CFG, "cann", "7.7.T20.0.B210:8.1.RC1"),
        ("driver/version.info", DRIVER_INFO, "driver", "25.5.2"),
        ("firmware/version.info", "Version=7.7.0.1.231\n", "firmware", "7.7.0.1.231"),
    ],
)
def test_versions_are_read_with_the_file_that_states_them(
    tmp_path: Path, file: str, text: str, component: str, version: str
) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text)
    (fact,) = read_versions(of(""), standard=tmp_path)
    assert (fact.component, fact.version, fact.file) == (component, version, tmp_path / file)


def test_the_cann_in_use_is_the_one_that_is_recorded(tmp_path: Path) -> None:
    for folder, version in (("standard/cann", "8.5.0"), ("mine", "6.0.RC1")):
        place = tmp_path / folder / "x86_64-linux"
        place.mkdir(parents=True)
        (place / "ascend_toolkit_install.info").write_text(f"version={version}\n")
    env = of("", ASCEND_TOOLKIT_HOME=str(tmp_path / "mine"))
    assert [fact.version for fact in read_versions(env, standard=tmp_path / "standard")] == [
        "6.0.RC1"
    ]
    assert read_versions(of(""), standard=tmp_path / "nothing") == ()
