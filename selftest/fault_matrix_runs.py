"""A standing emulated board, a warm store and a few photographs: what every row runs on."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import FileLock

from conformance.check import Check
from conformance.evidence.record import OutcomeRecord, Record
from conformance.imagenet.folders import open_dataset
from emulator import EmulatedBoard, install
from emulator.memory import MEMORY_FOLDER
from emulator.tenants import forget_runs
from selftest.fault_rows import Row, known_rows
from selftest.fault_server import Ask, FaultServer
from selftest.photographs import PHOTOGRAPHS, WEIGHTS_OPTION
from selftest.suites import checks, records

IMAGES = 37
BOARD_VARIABLE = "ASCEND_EMULATOR_BOARD"
SOC = "Ascend310"
CLOCK = {"clock_factor": 1.0, "clock_spread": 0.004}
ALL_ON_BOARD = ("-m", "npu", "tests")


@dataclass(frozen=True)
class Outcome:
    """What one run found.

    Attributes:
        status: pytest's exit status.
        seconds: How long it took.
        work_s: Processor time of it and of every tool.
        records: What it left on record.
        output: What it printed.
        running: Command lines of the board's tools that still run.
    """

    status: int
    seconds: float
    work_s: float
    records: list[Record]
    output: str
    running: list[str]

    def checks(self, check_id: str) -> list[Check]:
        """Return the checks of one id."""
        return [check for check in checks(self.records) if check.id == check_id]

    @property
    def ends(self) -> list[OutcomeRecord]:
        """How each test ended."""
        return [record for record in self.records if isinstance(record, OutcomeRecord)]


@dataclass(frozen=True)
class FaultBench:
    """Where the rows of one worker run.

    Attributes:
        folder: This worker's own.
        shared: What all workers of pytest share: the photographs and the warm store.
        server: Runs the suite.
        boards: This worker's boards, by their system on chip.
    """

    folder: Path
    shared: Path
    server: FaultServer
    boards: Mapping[str, EmulatedBoard]

    @property
    def store(self) -> Path:
        """The artifact store, the same for all workers."""
        return self.shared / "store"

    @property
    def images(self) -> Path:
        """The photographs, the same for all workers."""
        return self.shared / "imagenet"

    @property
    def names(self) -> list[str]:
        """Stems of the photographs, in order."""
        return sorted(path.stem for path in (self.images / "val").iterdir())

    @property
    def options(self) -> list[str]:
        """Options of every run."""
        return [
            "--board=emulated",
            WEIGHTS_OPTION,
            f"--imagenet={self.images}",
        ]

    def warm_up(self) -> None:
        """Fill the store by a run of what builds something, unless a worker has done so."""
        filled = self.shared / "filled"
        with FileLock(self.shared / "filling.lock"):
            if filled.exists():
                return
            prepare_photographs(self.images)
            builds = (*ALL_ON_BOARD, "--ignore=tests/test_perf.py")
            warm = self.run("warm", [*builds, "--batch=1,16", "--tune=run"])
            assert warm.status == 0, warm.output
            for row in {row.soc: row for row in known_rows().values() if row.soc != SOC}.values():
                one = [row.node, f"--batch={row.batch}", *row.more]
                warm = self.run(f"warm-{row.soc}", one, soc=row.soc)
                assert warm.status == 0, warm.output
            filled.touch()

    def clean(self, seed: int) -> Outcome:
        """Run every claim about a board that is another one of its kind.

        The first time also those about the host, which are the same for every board.
        """
        self.boards[SOC].configure(seed=seed, faults=[], **CLOCK)
        claims = ("tests",) if seed == 1 else ALL_ON_BOARD
        return self.run(f"clean-{seed}", [*claims, "--batch=1,16", "--tune=stored"])

    def row(self, row: Row) -> Outcome:
        """Run the test that must catch a row's fault."""
        board = self.boards[row.soc]
        faults = [] if row.cause else [row.name]
        board.configure(seed=0, faults=faults, **(CLOCK | dict(row.clock)))
        forget_runs(board.folder)
        arguments = [row.node, f"--batch={row.batch}", *row.more]
        arguments.append("--tune=run" if row.om.endswith("tuned") else "--tune=off")
        return self.run(row.name, arguments, row, soc=row.soc)

    def run(
        self, name: str, arguments: list[str], row: Row | None = None, *, soc: str = SOC
    ) -> Outcome:
        """Run the suite once in a folder of its own, which is removed."""
        board = self.boards[soc].folder
        folder = self.folder / "runs" / name
        folder.mkdir(parents=True)
        (folder / "scratch").mkdir()
        store = self._store_without(row.fresh, folder) if row and row.fresh else self.store
        options = [
            *("-q", "-p", "no:cacheprovider", "-p", "no:randomly"),
            *(f"--artifacts={store}", f"--evidence={folder / 'evidence'}"),
            *(f"--scratch={folder / 'scratch'}", *self.options, *arguments),
        ]
        ask = Ask(
            arguments=tuple(options),
            folder=str(folder),
            environment={
                "CONFORMANCE_EMULATED_BOARD": str(board),
                "TMPDIR": str(folder / "scratch"),
            },
            cause=row.cause if row else "",
            hasty=bool(row and row.hasty),
        )
        status, seconds, work_s = self.server.run(ask)
        output = (folder / "output.txt").read_text("utf-8", "replace")
        found = records(folder / "evidence") if (folder / "evidence").exists() else []
        running = still_running(board)
        outcome = Outcome(status, seconds, work_s, found, output, running)
        shutil.rmtree(folder, ignore_errors=True)
        return outcome

    def _store_without(self, kinds: tuple[str, ...], folder: Path) -> Path:
        """Return a copy of the store in which some kinds of artifacts are still to be made."""
        copy = folder / "store"
        shutil.copytree(
            self.store, copy, copy_function=os.link, ignore=lambda _, names: {*kinds} & {*names}
        )
        return copy


def make_bench(folder: Path, shared: Path, server: FaultServer) -> FaultBench:
    """Make a board, and a folder of photographs and a warm store where there are none yet."""
    shared.mkdir(parents=True, exist_ok=True)
    socs = {row.soc for row in known_rows().values()}
    boards = {soc: install(folder / f"board-{soc}", soc) for soc in sorted(socs)}
    (shared / MEMORY_FOLDER).mkdir(exist_ok=True)
    for board in boards.values():  # what one has computed, none computes again
        (board.folder / MEMORY_FOLDER).symlink_to(shared / MEMORY_FOLDER)
    bench = FaultBench(folder, shared, server, boards)
    bench.warm_up()
    return bench


def prepare_photographs(target: Path) -> None:
    """Copy the images of a subset, so that a row may spoil them.

    Real photographs where they are, else drawn ones; their sides differ, so that every step of
    resizing shows.
    """
    if PHOTOGRAPHS.is_dir():
        source = PHOTOGRAPHS
    else:
        from conformance.imagenet.sample_images import write_sample

        source = target.with_name("drawn")
        write_sample(source)
    chosen = open_dataset(source, 1000).subset(IMAGES)
    (target / "val").mkdir(parents=True)
    for image in chosen.images:
        shutil.copyfile(image.path, target / "val" / image.name)
    lines = [f"{image.name} {image.label}\n" for image in chosen.images]
    (target / "val_label.txt").write_text("".join(lines), "utf-8")


def still_running(board: Path, patience_s: float = 2.0) -> list[str]:
    """Return the tools of a board that run on; they get a moment to end."""
    deadline_s = time.monotonic() + patience_s
    while (found := _tools_of(board)) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    return found


def _tools_of(board: Path) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            environment = path.read_bytes().split(b"\0")
        except OSError:  # another user's, or gone
            continue
        if f"{BOARD_VARIABLE}={board}".encode() in environment:
            try:
                process = psutil.Process(int(path.parent.name))
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(process.cmdline()))
            except psutil.NoSuchProcess:
                continue
    return found
