"""Predictions of an ``.om``: image by image in shards, and what remains when a tool fails."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
import psutil
import pytest

from conformance import measure_om, measure_rows, time_om
from conformance.ascend import run_chip
from conformance.ascend.host import AscendHost
from conformance.ascend.timed_run import TimedRun
from conformance.ascend.tool_run import Survivor
from conformance.build_om import OmBuilder
from conformance.check import Status
from conformance.errors import BoardError, DatasetError, DumpError, ToolError
from conformance.evidence.facts import gather
from conformance.imagenet.checks import fed_files_check
from conformance.imagenet.independent import digests_of_chunk
from conformance.imagenet.preprocess import open_rgb, prepare_file, prepare_image
from conformance.manifests import file_sha256
from conformance.measure_om import OmMeasurement, OmMeasurer
from conformance.measure_rows import RowMeasurer
from conformance.metrics.round_checks import regression_check
from conformance.om_key import OmKey
from conformance.runners import om_runner
from conformance.runners.om_facts import Regression
from conformance.runners.om_runner import INPUT_OF
from conformance.spec import Variant
from conformance.time_om import OmTimer
from selftest.emulated import classifier
from selftest.hosts import DrawnBuilder, Machine, machine, small_spec
from selftest.photographs import drawn

IMAGES = 5
SHARD_IMAGES = om_runner.SHARD_IMAGES
SPEC = small_spec()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(om_runner, "SHARD_IMAGES", 3)
    monkeypatch.setattr(run_chip, "SETTLING_S", 0.0)
    return machine(tmp_path)


def measurer(place: Machine, run: str = "run", **given: str) -> OmMeasurer:
    host = place.host(run, **given)
    builder = DrawnBuilder(host.config, place.folder / run, locks=place.locks)
    builder.images = drawn(place.folder / "images", IMAGES, (40, 30))
    return OmMeasurer(builder, OmBuilder(builder, host), host, place.folder / run / "om")


def measured(place: Machine, run: str = "run", batch: int = 2, **given: str) -> OmMeasurement:
    tool = given.get("inference_tool", "benchmark")
    assert tool in {"benchmark", "ais_bench"}
    return measurer(place, run, **given).dataset_run(
        SPEC, OmKey(batch), "benchmark" if tool == "benchmark" else "ais_bench"
    )


def expected(place: Machine) -> np.typing.NDArray[np.float32]:
    session = onnxruntime.InferenceSession(classifier().SerializeToString())
    prepare = SPEC.preprocess
    images = drawn(place.folder / "images", IMAGES, (40, 30)).images
    inputs = np.stack([prepare_image(open_rgb(image.path, prepare), prepare) for image in images])
    (scores,) = session.run(None, {"image": inputs})
    return np.asarray(scores)


@pytest.mark.parametrize("tool", ["benchmark", "ais_bench"])
def test_every_image_gets_its_own_scores(place: Machine, tool: str) -> None:
    found = measured(place, inference_tool=tool)
    reference = expected(place)
    between = np.abs(reference[:, None] - reference[None]).max(axis=2)
    smallest = between[~np.eye(IMAGES, dtype=bool)].min()
    error = np.abs(found.predictions.scores - reference).max()
    assert error < smallest / 4, "nearer to its own image than to any other"
    assert len(found.facts.rates_fps) == 2, "five images are two shards of three"
    assert found.facts.emulated
    assert not list((place.folder / "scratch").iterdir()), "shards are removed"
    assert list((place.folder / "run/om/logs").rglob("shard1-*.log")), "logs are kept"
    (told,) = (place.folder / "run/om/logs").rglob("preflight.txt")
    assert "shards: 2 of up to 3 images" in told.read_text()


def test_outputs_and_performance_files_leave_their_digests(place: Machine) -> None:
    measured(place)
    digests = gather(place.folder / "run/om").digests
    kinds = {found.kind: found.sha256 for found in digests.values()}
    assert set(kinds) == {"om_model", "dumps", "performance"}
    files = sorted((place.folder / "run/om/logs").rglob("shard*-perf_*"))
    assert len(files) == 2
    lines = [f"{file_sha256(path)}  {path.name.partition('-')[2]}\n" for path in files]
    assert kinds["performance"] == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert kinds["dumps"] not in {kinds["performance"], hashlib.sha256().hexdigest()}


@pytest.mark.parametrize("variant", ["float32", "aipp"])
def test_every_file_that_the_tool_gets_leaves_its_digest(place: Machine, variant: Variant) -> None:
    it = measurer(place)
    found = it.dataset_run(SPEC, OmKey(2, variant), "benchmark")
    images = drawn(place.folder / "images", IMAGES, (40, 30))
    expected = [
        float32 if variant == "float32" else uint8
        for float32, uint8 in digests_of_chunk(images.images, SPEC.preprocess)
    ]
    assert list(found.inputs) == expected
    check = fed_files_check(images, SPEC, INPUT_OF[variant], found.inputs, expected)
    assert check.status is Status.PASS


def other_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files for the tool be written with one bit changed from now on."""

    def spoilt(*given: Any) -> Any:
        made = prepare_file(*given).copy()
        made.reshape(-1).view(np.uint8)[5] ^= 1
        return made

    monkeypatch.setattr("conformance.imagenet.input_files.prepare_file", spoilt)
    monkeypatch.setattr(measure_om, "share_of_cores", lambda: 1)
    monkeypatch.setattr(measure_rows, "share_of_cores", lambda: 1)


def test_spoilt_files_fail_the_digest(place: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    other_inputs(monkeypatch)
    it = measurer(place)
    found = it.dataset_run(SPEC, OmKey(2), "benchmark")
    images = drawn(place.folder / "images", IMAGES, (40, 30))
    expected = [float32 for float32, _ in digests_of_chunk(images.images, SPEC.preprocess)]
    check = fed_files_check(images, SPEC, "float32", found.inputs, expected)
    assert (check.status, check.value) == (Status.FAIL, IMAGES)


def test_rounds_and_rows_are_given_what_the_accuracy_run_was(
    place: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, key = timer(place), OmKey(2)
    it.timed_run(SPEC, key, "Ascend310")
    host = place.host()
    builder = DrawnBuilder(host.config, place.folder / "run")
    builder.images = drawn(place.folder / "images", IMAGES, (40, 30))
    oms = OmBuilder(builder, host)
    om_measurer = OmMeasurer(builder, oms, host, place.folder / "run")
    rows = RowMeasurer(builder, oms, om_measurer, host, place.folder / "run")
    other_inputs(monkeypatch)
    (om,) = (place.folder / "store").rglob("*.om")
    with pytest.raises(DatasetError, match="not those that the accuracy run was given"):
        it.regression(SPEC, key, "Ascend310", om)
    with pytest.raises(DatasetError, match="not those that the accuracy run was given"):
        rows.row_run(SPEC, key, "benchmark")


def test_one_worker_measures_and_the_others_read(place: Machine) -> None:
    first = measured(place)
    place.board.configure(faults=["outputs-all-missing"])
    again = measured(place)
    assert np.array_equal(first.predictions.scores, again.predictions.scores)
    with pytest.raises(DumpError):
        measured(place, "another run")


@pytest.mark.parametrize("fault", ["output-nan", "output-extra", "outputs-of-other-device"])
def test_bad_outputs_are_refused(place: Machine, fault: str) -> None:
    place.board.configure(faults=[fault])
    with pytest.raises(DumpError) as caught:
        measured(place)
    assert caught.value.next_step


def test_what_a_failed_tool_wrote_can_still_be_read(place: Machine) -> None:
    place.board.configure(faults=["output-missing"])
    with pytest.raises(DumpError) as caught:
        measured(place)
    (shard,) = (place.folder / "scratch").iterdir()
    assert not (shard / "inputs").exists(), "inputs can be made again"
    assert Path(str(caught.value.where["folder"])).is_dir()
    assert Path(str(caught.value.where["log"])).is_file()
    assert list((place.folder / "run/om/logs").rglob("benchmark.log")), "the record has the log too"


def fails_at_run(place: Machine, number: int) -> None:
    """Let the inference tool die in one of its runs, after it wrote some of its outputs."""
    (tool,) = place.board.bin.glob("benchmark.*")
    real, counter = tool.with_name(f"{tool.name}.real"), place.folder / "runs"
    tool.rename(real)
    tool.write_text(
        f"#!/bin/sh\necho run >> {counter}\n"
        f'[ $(wc -l < {counter}) -lt {number} ] && exec {real} "$@"\n'
        f'{real} "$@" > /dev/null\n'
        "rm $(ls result/dumpOutput_device*/* | tail -n 1)\necho boom\nexit 1\n"
    )
    tool.chmod(0o755)


def test_a_crash_half_way_keeps_what_was_written_and_says_how_far_it_came(
    place: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selftest.test_om_runner.IMAGES", 8)
    whole = measured(place).predictions
    fails_at_run(place, 3)
    with pytest.raises(ToolError) as caught:
        measured(place, "crash")
    assert "1 of 2 outputs written" in caught.value.what
    assert caught.value.where["so far"] == "6 of 8 images; shard 3 of 3 failed"
    kept = Path(str(caught.value.where["kept"]))
    assert kept.is_relative_to(place.folder / "crash/om/logs")
    lines = [kept / f"shard{number}-scores.txt" for number in (1, 2)]
    rows = [line.split() for path in lines for line in path.read_text().splitlines()]
    assert tuple(name for name, *_ in rows) == whole.names[:6]
    assert np.array_equal(np.array([row[1:] for row in rows], np.float32), whole.scores[:6])
    (output,) = (kept / "shard3-outputs").rglob("*_1.txt")
    assert len(output.read_text().split()) == 1000
    assert not list(kept.rglob("*.om"))
    assert not list(kept.rglob("*.bin")), "inputs can be made again"
    assert not list((place.folder / "crash/om").rglob("scores.npy")), "no result to be read"


def test_stranger_on_the_chip_spoils_the_timing(place: Machine) -> None:
    place.occupy(0)
    assert "stranger" in measured(place, chips="0").facts.spoiled
    assert measured(place, "run on another chip", chips="1").facts.spoiled == ""


def test_time_limits_can_be_set(place: Machine) -> None:
    with pytest.raises(ToolError, match="its time limit"):
        measured(place, time_limits="0.00001")


def test_chip_held_by_an_unkillable_tool_is_not_used(place: Machine) -> None:
    host = place.host()
    born = psutil.Process().create_time()
    host.locks.mark_unusable(host.device.chip.key, [Survivor(os.getpid(), born, "stuck", "disk")])
    with pytest.raises(BoardError, match="could not be killed"):
        measured(place)


class AsDevice:
    """A host that says that its board is none that was asked to be emulated."""

    emulated = False

    def __init__(self, host: AscendHost) -> None:
        self._host = host

    def __getattr__(self, name: str) -> object:
        return getattr(self._host, name)


def timer(
    place: Machine, run: str = "run", *, images: int = IMAGES, device: bool = False, **given: str
) -> OmTimer:
    host = place.host(run, **given)
    builder = DrawnBuilder(host.config, place.folder / run, locks=place.locks)
    builder.images = drawn(place.folder / "images", images, (40, 30))
    oms = OmBuilder(builder, host)
    shown = cast("AscendHost", AsDevice(host)) if device else host
    return OmTimer(builder, oms, shown, OmMeasurer(builder, oms, host, place.folder / run))


@pytest.mark.parametrize("images", [9, 3])
def test_rounds_on_a_device_are_as_large_as_its_shards(
    place: Machine, monkeypatch: pytest.MonkeyPatch, images: int
) -> None:
    """As 2,000 and 2,000 on a device; a dataset below that is one round and no more."""
    assert time_om.ROUND_IMAGES == SHARD_IMAGES
    monkeypatch.setattr(om_runner, "SHARD_IMAGES", 4)
    monkeypatch.setattr(time_om, "ROUND_IMAGES", 4)
    monkeypatch.setattr(time_om, "EMULATED_ROUND_IMAGES", 2)
    found = timer(place, images=images, device=True).timed_run(SPEC, OmKey(2), "Ascend310")
    shards = {9: [4, 4, 1], 3: [3]}[images]
    rounds = [run.images for run in found.runs[len(shards) :]]
    assert [run.images for run in found.runs[: len(shards)]] == shards
    assert set(rounds) == {shards[0]}
    assert found.dropped_fps == [found.runs[0].interface_fps]
    assert len(found.rates_fps) == len(rounds) + shards.count(shards[0]) - 1 == 5
    assert (found.sampled, found.differences) == (sum(rounds), {})


def test_whole_shards_are_rounds_and_the_missing_ones_are_made(place: Machine) -> None:
    found = timer(place).timed_run(SPEC, OmKey(2), "Ascend310")
    assert [run.images for run in found.runs] == [3, 2, 3, 3, 3, 3, 3], "two shards, five rounds"
    assert found.dropped_fps == [found.runs[0].interface_fps]
    assert found.rates_fps == [run.interface_fps for run in found.runs[2:]], "the rest is no round"
    assert len(set(found.rates_fps)) == 5
    assert (found.sampled, found.differences) == (15, {})


def test_a_spoiled_chip_is_not_timed_for_long(place: Machine) -> None:
    place.occupy(0)
    found = timer(place, chips="0").timed_run(SPEC, OmKey(2), "Ascend310")
    assert "stranger" in found.spoiled
    assert len(found.rates_fps) == 1


def test_rounds_with_other_outputs_name_the_images(place: Machine) -> None:
    place.board.configure(faults=["timed-outputs-wrong"])
    found = timer(place).timed_run(SPEC, OmKey(2), "Ascend310")
    assert len(found.differences) == 3
    assert min(found.differences.values()) > 1


def test_two_models_take_turns_on_one_chip(place: Machine) -> None:
    it = timer(place)
    key = OmKey(2)
    it.timed_run(SPEC, key, "Ascend310")
    (om,) = (place.folder / "store").rglob("*.om")
    found = it.regression(SPEC, key, "Ascend310", om)
    assert len(found.before) == len(found.now) == 10
    assert found.sampled == 10 * 3, "ten rounds of a shard of three"
    began = sorted((run.started_s, side) for side in "AB" for run in sides(found)[side])
    assert "".join(side for _, side in began) == "ABBA" * 5
    made = regression_check(found, SPEC, "Ascend310", om.name, 0.1, [1e4])
    assert made.status is Status.PASS


def sides(found: Regression) -> dict[str, list[TimedRun]]:
    return {"A": found.before, "B": found.now}


def test_generated_input_is_timed_in_blocks_of_batches(place: Machine) -> None:
    p3 = machine(place.folder / "other", "Ascend310P3")
    found = timer(p3).timed_run(SPEC, OmKey(8), "Ascend310P3")
    assert found.method == "pure"
    assert found.runs[-1].images == 3100 * 8
    assert (len(found.rates_fps), len(found.dropped_fps), found.rounds_before) == (30, 1, 29)
    assert found.sampled, "and a round over images lies before it"


def test_pure_run_leaves_rate_and_no_scores(place: Machine) -> None:
    facts = measurer(place).pure_run(SPEC, OmKey(2), "ais_bench")
    assert facts.method == "pure"
    assert facts.fps > 0
    assert not list((place.folder / "run/om").rglob("*.npy"))
