"""The builder: which weights and images a run takes, and failures that are met only once."""

from __future__ import annotations

import dataclasses
import inspect
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch

from conformance import errors
from conformance.build import Builder
from conformance.check import NotApplicable, SkipReason
from conformance.config import resolve
from conformance.errors import (
    ArtifactError,
    CheckpointError,
    ConfigError,
    ConformanceError,
    DatasetError,
    DownloadError,
)
from conformance.evidence.failures import KeptFailures
from conformance.evidence.record import read_artifacts
from conformance.imagenet.dataset import ImageClass
from conformance.spec import ModelSpec, PublishedWeights
from selftest.tiny_images import write_photographs
from selftest.weights_files import SPEC, saved, untrained, weights_of

FORK = multiprocessing.get_context("fork")
Made = Callable[..., Builder]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights of the network."""
    return saved(tmp_path_factory.mktemp("weights") / "net.pth", untrained(SPEC))


@pytest.fixture(scope="module")
def spec(weights: Path) -> ModelSpec:
    """The spec, with those weights as the published ones."""
    published = weights_of(weights.read_bytes(), md5=True)
    return msgspec.structs.replace(SPEC, weights=(published, SPEC.weights[1]))


@pytest.fixture
def attempts(tmp_path: Path) -> Path:
    """A file with one line for each download that was tried."""
    path = tmp_path / "attempts"
    path.touch()
    return path


@pytest.fixture(autouse=True)
def machine(
    tmp_path: Path, attempts: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    """A machine without board, network, torch's cache or images, where samples cost nothing."""

    def refuse(*_: object, **__: object) -> Path:
        with attempts.open("a") as stream:
            stream.write("tried\n")
        raise DownloadError("no answer", got="connection refused", next_step="check the network")

    def write_sample(folder: Path) -> None:
        write_photographs(folder, 8)

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("conformance.build.STANDARD_IMAGENET", tmp_path / "standard")
    monkeypatch.setattr("conformance.build_checkpoint.board_signs", list)
    monkeypatch.setattr("conformance.export.download.download_published", refuse)
    monkeypatch.setattr("conformance.imagenet.sample_images.write_sample", write_sample)
    monkeypatch.setattr(
        "conformance.export.sample_weights.save_sample_weights",
        lambda _, file: shutil.copyfile(weights, file),
    )
    return monkeypatch


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Make the builder of a worker; workers of one run share its folder."""

    def make(run: str = "run", **options: object) -> Builder:
        given = {"artifacts": str(tmp_path / "store"), "evidence": str(tmp_path / "evidence")}
        config = resolve(given, rootdir=tmp_path, environ={})
        return Builder(dataclasses.replace(config, **options), config.evidence / run)  # type: ignore[arg-type] # options by name

    return make


def board(machine: pytest.MonkeyPatch) -> None:
    machine.setattr("conformance.build_checkpoint.board_signs", lambda: ["/dev/davinci0"])


def downloading(machine: pytest.MonkeyPatch, source: Path, attempts: Path) -> None:
    def fetch(published: PublishedWeights, folder: Path, *, progress: bool) -> Path:
        with attempts.open("a") as stream:
            stream.write(f"tried {progress}\n")
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(source, folder / published.file))

    machine.setattr("conformance.export.download.download_published", fetch)


def events(tmp_path: Path, run: str = "run") -> list[tuple[str, str]]:
    return [(made.event, made.kind) for made in read_artifacts(tmp_path / "evidence" / run)]


# Weights


def test_a_given_file_is_taken_and_kept(
    made: Made, spec: ModelSpec, weights: Path, tmp_path: Path, attempts: Path
) -> None:
    given = Path(shutil.copy(weights, tmp_path / "mine.pth"))
    found = made(weights=given).checkpoint(spec)
    assert found.weights_class == "published"
    assert str(given) in found.origin
    assert (tmp_path / "store") in found.path.parents
    assert found.path.read_bytes() == given.read_bytes()
    custom = made("other", weights=given).checkpoint(SPEC)
    assert custom.weights_class == "custom"
    assert attempts.read_text() == ""
    assert events(tmp_path) == [("built", "checkpoint")]
    assert events(tmp_path, "other") == [("found", "checkpoint")]


def test_origin_and_class_are_of_the_file_at_hand_and_not_of_an_older_copy(
    made: Made, spec: ModelSpec, weights: Path, tmp_path: Path
) -> None:
    made("first", weights=weights).checkpoint(SPEC)
    other = Path(shutil.copy(weights, tmp_path / "other.pth"))
    found = made("second", weights=other).checkpoint(spec)
    assert events(tmp_path, "second") == [("found", "checkpoint")]
    assert (found.weights_class, found.published_as) == ("published", spec.weights[0].file)
    assert str(other) in found.origin
    assert str(weights) not in found.origin


def test_a_given_file_that_does_not_fit_is_refused_and_not_kept(made: Made, tmp_path: Path) -> None:
    wrong = saved(tmp_path / "wrong.pth", {"a": torch.zeros(1)})
    for _ in range(2):
        with pytest.raises(CheckpointError, match="not those of squeezenet1_1"):
            made(weights=wrong).checkpoint(SPEC)
    assert not list((tmp_path / "store").glob("checkpoint/*"))


def test_torchs_cache_is_taken_without_a_download(
    made: Made, spec: ModelSpec, weights: Path, tmp_path: Path, attempts: Path
) -> None:
    cached = tmp_path / "torch/hub/checkpoints" / spec.weights[0].file
    cached.parent.mkdir(parents=True)
    shutil.copy(weights, cached)
    found = made().checkpoint(spec)
    assert (found.weights_class, found.published_as) == ("published", spec.weights[0].file)
    assert "torch's cache" in found.origin
    assert attempts.read_text() == ""


def test_a_wrong_file_in_torchs_cache_is_no_reason_for_the_sample(
    made: Made, spec: ModelSpec, tmp_path: Path, attempts: Path
) -> None:
    cached = tmp_path / "torch/hub/checkpoints" / spec.weights[0].file
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"others")
    with pytest.raises(CheckpointError, match="not the published"):
        made().checkpoint(spec)
    assert attempts.read_text() == ""


def test_a_download_is_kept_for_the_next_run(
    made: Made, spec: ModelSpec, weights: Path, tmp_path: Path, machine: pytest.MonkeyPatch
) -> None:
    attempts = tmp_path / "attempts"
    downloading(machine, weights, attempts)
    board(machine)
    first, second = made("first").checkpoint(spec), made("second").checkpoint(spec)
    assert attempts.read_text().count("tried") == 1
    for found in (first, second):
        assert (found.weights_class, found.published_as) == ("published", spec.weights[0].file)
        assert spec.weights[0].url in found.origin
        assert found.path.read_bytes() == weights.read_bytes()
    assert first.path == second.path
    assert not list((tmp_path / "store/downloads").iterdir())
    assert events(tmp_path, "second") == [("found", "checkpoint")]


def test_a_download_that_is_not_the_published_file_is_no_reason_for_the_sample(
    made: Made, spec: ModelSpec, machine: pytest.MonkeyPatch
) -> None:
    def wrong(*_: object, **__: object) -> Path:
        raise CheckpointError("this is not the published net", got="a web page")

    machine.setattr("conformance.export.download.download_published", wrong)
    for _ in range(2):
        with pytest.raises(CheckpointError, match="not the published"):
            made().checkpoint(spec)


def test_a_refused_download_gives_the_sample_and_says_why(
    made: Made, spec: ModelSpec, tmp_path: Path
) -> None:
    found = made().checkpoint(spec)
    assert (found.weights_class, found.published_as) == ("sample", None)
    assert found.origin == (
        "embedded sample weights, because no answer: connection refused"
    )  # fmt: skip
    assert events(tmp_path) == [("built", "checkpoint")]


def test_a_refused_download_is_not_tried_twice_in_a_run(
    made: Made, spec: ModelSpec, attempts: Path
) -> None:
    first, second = made(), made()
    for builder in (first, first, second):
        assert builder.checkpoint(spec).weights_class == "sample"
    assert attempts.read_text() == "tried\n"
    made("another run").checkpoint(spec)
    assert attempts.read_text() == "tried\ntried\n"


def test_workers_that_start_together_download_once(
    made: Made, spec: ModelSpec, attempts: Path
) -> None:
    workers = [FORK.Process(target=lambda: made().checkpoint(spec)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert attempts.read_text() == "tried\n"


def test_on_a_board_nothing_takes_the_place_of_weights(
    made: Made, spec: ModelSpec, machine: pytest.MonkeyPatch, attempts: Path
) -> None:
    board(machine)
    for _ in range(2):
        with pytest.raises(NotApplicable) as caught:
            made().checkpoint(spec)
        assert caught.value.reason is SkipReason.NO_WEIGHTS
        for text in ("connection refused", "/dev/davinci0", "--weights=FILE", "--weights=sample"):
            assert text in caught.value.detail
    assert attempts.read_text() == "tried\n"
    assert made("a", board="none").checkpoint(spec).weights_class == "sample"


def test_the_sample_is_taken_where_it_is_asked_for(
    made: Made, spec: ModelSpec, machine: pytest.MonkeyPatch, attempts: Path
) -> None:
    board(machine)
    found = made(weights="sample").checkpoint(spec)
    assert found.weights_class == "sample"
    assert "--weights=sample" in found.origin
    assert attempts.read_text() == ""


# Images


def test_images_that_are_given(made: Made, tmp_path: Path) -> None:
    write_photographs(tmp_path / "given", 5)
    found = made(imagenet=tmp_path / "given").dataset(SPEC)
    assert (found.image_class, len(found)) == (ImageClass.SUBSET, 5)
    fewer = made("other", imagenet=tmp_path / "given", images=2).dataset(SPEC)
    assert len(fewer) == 2
    assert set(fewer.names) < set(found.names)


def test_the_standard_folder_is_taken_where_it_can_be_read(
    made: Made, tmp_path: Path, machine: pytest.MonkeyPatch
) -> None:
    board(machine)
    write_photographs(tmp_path / "standard", 3)
    assert made().dataset(SPEC).root == tmp_path / "standard"


def test_without_images_the_sample_is_drawn_once(made: Made, tmp_path: Path) -> None:
    first, second = made().dataset(SPEC), made("second").dataset(SPEC)
    assert first.image_class is ImageClass.SAMPLE
    assert first.root == second.root
    assert events(tmp_path) == [("built", "sample_images")]
    assert events(tmp_path, "second") == [("found", "sample_images")]


def test_on_a_board_nothing_takes_the_place_of_images(
    made: Made, machine: pytest.MonkeyPatch
) -> None:
    board(machine)
    with pytest.raises(NotApplicable) as caught:
        made().dataset(SPEC)
    assert caught.value.reason is SkipReason.NO_IMAGES
    assert "--imagenet=DIR, or --imagenet=sample" in caught.value.detail
    assert made("a", imagenet="sample").dataset(SPEC).image_class is ImageClass.SAMPLE
    assert made("b", board="none").dataset(SPEC).image_class is ImageClass.SAMPLE


def test_a_folder_that_cannot_be_used_is_no_reason_for_the_sample(
    made: Made, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="folder is empty"):
        made(imagenet=tmp_path / "empty").dataset(SPEC)
    write_photographs(tmp_path / "few", 3)
    with pytest.raises(DatasetError, match="subset of that size"):
        made("other", imagenet=tmp_path / "few", images=4).dataset(SPEC)


@pytest.mark.parametrize(("gate", "seen"), [(None, False), ("board", False), ("release", True)])
def test_a_release_takes_the_digests_of_images_afresh(
    made: Made, tmp_path: Path, gate: str | None, seen: bool
) -> None:
    write_photographs(tmp_path / "given", 2)
    images = sorted((tmp_path / "given" / "val").iterdir())
    for image in images:
        os.utime(image, ns=(10**18, 10**18))
    given = {"imagenet": tmp_path / "given", "gate": gate}
    before = made("before", **given).dataset_digest(SPEC)
    content = images[0].read_bytes()
    with images[0].open("r+b") as file:  # the same size, time and inode: only its bytes tell
        file.write(content[:-3] + b"\0" + content[-2:])
    os.utime(images[0], ns=(10**18, 10**18))
    assert (made("after", **given).dataset_digest(SPEC) != before) is seen


# The ONNX model


@pytest.fixture
def exports(machine: pytest.MonkeyPatch) -> list[str]:
    """The exports that were made, by a stand-in for the exporter."""
    done: list[str] = []

    def export(_: torch.nn.Module, spec: ModelSpec, target: Path) -> None:
        done.append(spec.name)
        target.write_bytes(b"onnx")

    machine.setattr("conformance.export.onnx_model.export_onnx", export)
    return done


def test_a_model_is_exported_once_for_weights_spec_and_tools(
    made: Made, weights: Path, exports: list[str], machine: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert made(weights=weights).onnx_model(SPEC).read_bytes() == b"onnx"
    made("second", weights=weights).onnx_model(SPEC)
    assert len(exports) == 1
    state = untrained(SPEC)
    made("third", weights=saved(tmp_path / "o.pth", state)).onnx_model(SPEC)
    assert len(exports) == 2
    newer = msgspec.structs.replace(SPEC.export, opset=12)
    made("fourth", weights=weights).onnx_model(msgspec.structs.replace(SPEC, export=newer))
    assert len(exports) == 3
    machine.setattr("conformance.build.versions", lambda *names: dict.fromkeys(names, "9"))
    made("fifth", weights=weights).onnx_model(SPEC)
    assert len(exports) == 4


@pytest.mark.usefixtures("exports")
def test_a_board_without_torch_finds_what_a_build_host_made(
    made: Made, weights: Path, machine: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    built = made(weights=weights).onnx_model(SPEC)
    machine.setattr("conformance.build.versions", lambda *names: None if names else {})
    assert made("board", weights=weights).onnx_model(SPEC) == built
    other = saved(tmp_path / "o.pth", untrained(SPEC))
    machine.setattr("conformance.export.state_dict.load_state_dict", lambda *_: {})
    with pytest.raises(ArtifactError, match="the store has no onnx_model"):
        made("other", weights=other).onnx_model(SPEC)


def test_weights_that_failed_are_the_cause_of_all_that_follows(
    made: Made, tmp_path: Path, exports: list[str]
) -> None:
    wrong = saved(tmp_path / "wrong.pth", {"a": torch.zeros(1)})
    told = set()
    for step in ("checkpoint", "network", "onnx_model"):
        with pytest.raises(CheckpointError) as caught:
            getattr(made(weights=wrong), step)(SPEC)
        told.add(str(caught.value))
    assert len(told) == 1
    assert exports == []


# Failures that are kept


KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, ConformanceError)
]


def raising(error: Exception, log: list[int]) -> Callable[[], None]:
    def make() -> None:
        log.append(os.getpid())
        raise error

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_comes_back_as_it_was(tmp_path: Path, kind: type[ConformanceError]) -> None:
    error = kind("what", got=1.5, expected=Path("x"), where={"file": tmp_path}, next_step="next")
    log: list[int] = []
    told = []
    for _ in range(3):  # each as another worker
        with pytest.raises(ConformanceError) as caught:
            KeptFailures(tmp_path / "failures").first("step", raising(error, log))
        assert type(caught.value) is kind
        told.append(str(caught.value))
    assert told == [str(error)] * 3
    assert len(log) == 1


def test_what_does_not_apply_comes_back_as_it_was(tmp_path: Path) -> None:
    log: list[int] = []
    for _ in range(2):
        with pytest.raises(NotApplicable) as caught:
            KeptFailures(tmp_path).first(
                "step", raising(NotApplicable(SkipReason.NO_ATC, "none"), log)
            )
        assert (caught.value.reason, caught.value.detail) == (SkipReason.NO_ATC, "none")
    assert len(log) == 1


def test_other_steps_and_other_runs_try_for_themselves(tmp_path: Path) -> None:
    error = CheckpointError("what")
    log: list[int] = []
    for folder, step in (("a", "one"), ("a", "two"), ("b", "one")):
        with pytest.raises(CheckpointError):
            KeptFailures(tmp_path / folder).first(step, raising(error, log))
    assert len(log) == 3


def test_a_defect_is_raised_as_it_is_each_time(tmp_path: Path) -> None:
    log: list[int] = []
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            KeptFailures(tmp_path).first("step", raising(ZeroDivisionError(), log))
    assert len(log) == 2
    assert KeptFailures(tmp_path).first("step", lambda: 3) == 3


def test_a_run_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(ConfigError, match="the run's records cannot be written") as caught:
        KeptFailures(tmp_path / "taken").first("step", lambda: 3)
    assert "--evidence=DIR" in str(caught.value)
