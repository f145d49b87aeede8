"""Options: which source wins, what is refused and how, and that workers share one run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from conformance.config import OPTIONS, Option, RunConfig, resolve
from conformance.errors import ConfigError
from conformance.evidence.record import read
from selftest.suites import ROOT, run_suite

Given = str | Sequence[str] | None


def resolved(
    given: Mapping[str, Given] | None = None, environ: Mapping[str, str] | None = None
) -> RunConfig:
    return resolve(given or {}, rootdir=Path("/checkout"), environ=environ or {})


def refusal(
    given: Mapping[str, Given] | None = None, environ: Mapping[str, str] | None = None
) -> str:
    with pytest.raises(ConfigError) as caught:
        resolved(given, environ)
    assert caught.value.next_step
    return str(caught.value)


# Which source wins


def test_defaults() -> None:
    config = resolved(environ={"HOME": "/nobody"})
    assert config == RunConfig(
        model=("squeezenet1_1",),
        weights=None,
        imagenet=None,
        images=None,
        looks="shared",
        batch=None,
        board="auto",
        soc=None,
        chips=None,
        inference_tool="auto",
        inference_tool_path=None,
        ascend_python=None,
        tune="stored",
        atc_log="error",
        time_limits=1.0,
        profiling=None,
        baseline_om=None,
        scratch=Path(tempfile.gettempdir()),
        artifacts=Path("~/.cache/ascend-conformance").expanduser(),
        evidence=Path("/checkout/evidence"),
        thumbnails="on",
    )


VARIABLES = {option.name: option.variable for option in OPTIONS if option.variable}
# option, what is given, environment's text, what the option and the environment resolve to
SOURCES: list[tuple[str, Given, str, object, object]] = [
    ("model", ["squeezenet1_1"], "all", ("squeezenet1_1",), None),
    ("weights", "sample", __file__, "sample", Path(__file__)),
    ("imagenet", str(ROOT), "sample", ROOT, "sample"),
    ("board", "none", "auto", "none", "auto"),
    ("soc", "Ascend310", "Ascend310P3", "Ascend310", "Ascend310P3"),
    ("chips", "0,1", "2", (0, 1), (2,)),
    ("inference-tool-path", "/a", "/b", Path("/a"), Path("/b")),
    ("ascend-python", "/a", "/b", Path("/a"), Path("/b")),
    ("scratch", "/a", "/b", Path("/a"), Path("/b")),
    ("artifacts", "/a", "/b", Path("/a"), Path("/b")),
    ("evidence", "/a", "/b", Path("/a"), Path("/b")),
]


@pytest.mark.parametrize(("name", "option", "text", "by_option", "by_environment"), SOURCES)
def test_an_option_wins_over_its_variable_and_that_over_the_default(
    name: str, option: Given, text: str, by_option: object, by_environment: object
) -> None:
    variable, field = VARIABLES[name], name.replace("-", "_")
    assert getattr(resolved({name: option}, {variable: text}), field) == by_option
    if by_environment is not None:
        assert getattr(resolved({}, {variable: text}), field) == by_environment
    assert getattr(resolved({}, {variable: ""}), field) == getattr(resolved(), field)


def test_every_variable_is_tried() -> None:
    assert {name for name, *_ in SOURCES} == VARIABLES.keys()
    assert all(variable.startswith("CONFORMANCE_") for variable in VARIABLES.values())


def test_the_store_lies_in_the_users_cache() -> None:
    environ = {"XDG_CACHE_HOME": "/cache"}
    assert resolved(environ=environ).artifacts == Path("/cache/ascend-conformance")
    relative = resolved(environ={"XDG_CACHE_HOME": "cache"}).artifacts
    assert relative == Path.cwd() / "cache/ascend-conformance"


def test_paths_are_absolute_and_models_are_named_once() -> None:
    config = resolved({"artifacts": "a", "weights": os.path.relpath(__file__)})
    assert config.artifacts == Path.cwd() / "a"
    assert str(config.weights) == os.path.abspath(__file__)  # noqa: PTH100 - as the library does, without resolving links
    assert resolved({"artifacts": "~/a"}).artifacts == Path.home() / "a"
    assert resolved({"model": ["squeezenet1_1", "all", "squeezenet1_1"]}).model.count(
        "squeezenet1_1"
    ) == 1  # fmt: skip


# Bad values


@pytest.mark.parametrize(
    ("given", "environ", "told"),
    [
        ({"images": "0"}, {}, "--images needs a whole number of at least 1, got '0'"),
        ({"images": "1.5"}, {}, "got '1.5'"),
        ({"images": "-3"}, {}, "got '-3'"),
        ({"images": "²"}, {}, "got '²'"),
        ({"board": "npu"}, {}, "--board needs"),
        ({}, {"CONFORMANCE_BOARD": "npu"}, "environment variable CONFORMANCE_BOARD needs"),
        ({"batch": "1,x"}, {}, "--batch needs"),
        ({"batch": "0"}, {}, "--batch needs"),
        ({"batch": ","}, {}, "--batch needs"),
        ({"chips": "0,-1"}, {}, "--chips needs"),
        ({"chips": "0,0"}, {}, "--chips needs"),
        ({"soc": "310"}, {}, "--soc needs"),
        ({"tune": "always"}, {}, "--tune needs one of stored, run, off, got 'always'"),
        ({"inference-tool": "msame"}, {}, "--inference-tool needs one of"),
        ({"profiling": "/gone"}, {}, "next: correct --profiling=DIR\n"),
        ({"artifacts": "~no-such-user/x"}, {}, "--artifacts needs a path"),
        ({"weights": "/gone.pth"}, {}, "--weights names nothing that can be read\n  got: /gone"),
        ({"weights": "/"}, {}, "expected: a checkpoint file (.pth)"),
        ({}, {"CONFORMANCE_WEIGHTS": "/gone.pth"}, "got: /gone.pth"),
        ({"imagenet": __file__}, {}, "expected: a folder with val/ and val_label.txt"),
        ({"imagenet": "/gone"}, {}, "--imagenet=sample"),
        ({"imagenet": "/gone/imagenet"}, {}, "  does not exist: /gone\n"),
        ({"model": ["squeezenet"]}, {}, "did you mean 'squeezenet1_1'?"),
        ({"model": ["squeezenet1_1", ""]}, {}, "unknown model ''"),
        ({}, {"CONFORMANCE_MODEL": "resnet"}, "unknown model 'resnet'"),
    ],
)
def test_bad_value_is_refused(
    given: dict[str, Given], environ: dict[str, str], told: str
) -> None:  # fmt: skip
    assert told in refusal(given, environ) + "\n"


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_an_option_given_empty_is_refused(option: Option) -> None:
    """Nothing is not the default: above all an empty gate must not drop the gate."""
    assert refusal({option.name: [""] if option.repeatable else ""})


@pytest.mark.parametrize("variable", VARIABLES.values())
def test_an_empty_variable_counts_as_not_given(variable: str) -> None:
    assert resolved(environ={variable: ""}) == resolved()


# On the command line


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["--images=0"], {}, "argument --images: needs a whole number of at least 1, got '0'"),
        (["--weights="], {}, "argument --weights: needs a path, got nothing"),
        (["--gate="], {}, "argument --gate: needs a name, got nothing"),
        (["--gate=rehearsal", "--gate="], {}, "argument --gate: needs a name, got nothing"),
        (["--model="], {}, "unknown model ''"),
        (["--evidence=~no-such-user/x"], {}, "argument --evidence: needs a path"),
        (["--model=squezenet1_1", "-n", "2"], {}, "did you mean 'squeezenet1_1'?"),
        (["--weights=gone.pth"], {}, "--weights names nothing that can be read"),
        ([], {"CONFORMANCE_BOARD": "npu"}, "environment variable CONFORMANCE_BOARD needs"),
    ],
)
def test_bad_value_is_a_usage_error(
    arguments: list[str], environment: dict[str, str], told: str
) -> None:
    done = run_suite("--collect-only", "-q", *arguments, environment=environment)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert told in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "INTERNALERROR" not in done.stdout + done.stderr


def test_help_shows_every_option_with_its_default() -> None:
    shown = " ".join(run_suite("--help").stdout.split())
    assert "conformance of models on Ascend boards: " in shown
    for option in OPTIONS:
        assert f"{option.flag}={option.metavar} {_help(option)}" in shown
        assert option.default_text


def _help(option: Option) -> str:
    variable = f", or ${option.variable}" if option.variable else ""
    return " ".join(f"{option.help} (default: {option.default_text}{variable})".split())


def test_a_path_outside_the_checkout_keeps_the_root(tmp_path: Path) -> None:
    weights = tmp_path / "net.pth"
    weights.touch()
    relative = os.path.relpath(weights, ROOT)
    assert relative.startswith("../")
    done = run_suite("--collect-only", "-q", f"--weights={relative}", "--imagenet=sample")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_export.py::" in done.stdout


def test_workers_share_the_controllers_run(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    (tmp_path / "pytest.ini").write_text((ROOT / "pytest.ini").read_text())
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_it.py").write_text(
        "import os, pytest\n"
        "from conformance.check import recorded\n"
        "@pytest.mark.parametrize('batch', range(4))\n"
        "def test_it(claim, run, batch):\n"
        "    told = f'{run.id} {run.config.images} {run.config.weights}'\n"
        "    claim(recorded('a.run', told), recorded('a.worker', os.getpid()))\n"
    )
    environment = {"PYTHONPATH": str(ROOT), "CONFORMANCE_WEIGHTS": "sample"}
    done = run_suite("-n", "2", "--images=7", cwd=tmp_path, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (tmp_path / "evidence").iterdir()
    made = [record.check for record in read(folder) if hasattr(record, "check")]
    assert {c.value for c in made if c.id == "a.run"} == {f"{folder.name} 7 sample"}
    assert len({c.value for c in made if c.id == "a.worker"}) == 2


def test_batch_sizes_are_numbers_each_once() -> None:
    assert resolved({"batch": "1,16"}).batch == (1, 16)
    for text in ("0", "1,1", "a", "1;2"):
        assert "--batch" in refusal({"batch": text})


@pytest.mark.parametrize("text", ["emulate", "emulated:", "none:Ascend310", "emulated:310"])
def test_a_strange_board_is_refused(text: str) -> None:
    assert "--board" in refusal({"board": text})


def test_an_emulated_board_may_name_its_soc() -> None:
    assert resolved({"board": "emulated:Ascend310P3"}).board == "emulated:Ascend310P3"
