"""What many tests share: repeatable property tests, and replayed tools of an emulated board."""

import pytest
from hypothesis import settings

from emulator import EmulatedBoard, install
from selftest.emulated import Bench, make_bench
from selftest.replayed_tools import MODULES, Argv, Recording, Replay

# Property tests try the same examples in every run, so that a red run is about the change.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def recordings() -> dict[Argv, Recording]:
    """What the tools did, by their commands."""
    return {}


@pytest.fixture
def replay(recordings: dict[Argv, Recording], monkeypatch: pytest.MonkeyPatch) -> Replay:
    """Replay the tools of the emulated board, wherever the library runs one."""
    made = Replay(recordings)
    for module in MODULES:
        monkeypatch.setattr(f"conformance.ascend.{module}.run", made.run)
    return made


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A board with four Ascend310 and the CANN of 2021, and a model of batch 4."""
    bench = make_bench(tmp_path_factory.mktemp("standing"))
    made = bench.atc(batch=4)
    assert made.status == 0, made.stdout
    return bench


@pytest.fixture(scope="session")
def newer(tmp_path_factory: pytest.TempPathFactory) -> EmulatedBoard:
    """A board whose ATC does not tune any more."""
    return install(tmp_path_factory.mktemp("newer") / "board", cann="8.0.0")
