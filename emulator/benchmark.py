"""The legacy inference tool, ``benchmark.<arch>``, as the READMEs of 2021 drive it.

Its own source is closed. Arguments, file names and figures follow the published READMEs; the
texts of a failed start and their exit status 0 follow a public copy of its main program of 2020.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from emulator import fault_files, fault_runs
from emulator.benchmark_args import BadArgumentError, BenchmarkArgs, parse
from emulator.benchmark_perf import figures_of, pure_report, write_perf
from emulator.board import Board
from emulator.chip import NoSuchDeviceError, OpenChip, opened
from emulator.clock import HEADROOM, wait_until
from emulator.marker import SENTENCE, STARTED_AT, say, seconds
from emulator.om import OmError
from emulator.tensor import Tensor, stacked

RESULT = Path("result")


class StartError(Exception):
    """A part of the tool could not start; the tool says so and returns 0 all the same."""

    def __init__(self, part: str, text: str) -> None:
        super().__init__(text)
        self.part = part


class ImageLine(NamedTuple):
    """One line of the info file: which file, of what width and height."""

    path: Path
    width: int
    height: int


def main(argv: Sequence[str], board: Board, name: str) -> int:
    """Run the tool in the current folder.

    Args:
        argv: Arguments without the program's name.
        board: The board it runs on.
        name: The program's name as npu-smi shows it.

    Returns:
        The exit status; 0 also when a part could not start.
    """
    say(f"[INFO] {SENTENCE}")
    fault_runs.strike(board.faults.at("start"))
    try:
        args = parse(argv)
        lines = [] if args.rounds else read_info(args)
        with _chip(args, board, name) as chip:
            _pure(args, chip) if args.rounds else _dataset(args, chip, lines)
            fault_runs.strike(board.faults.at("end", args.batch))
    except BadArgumentError as error:
        say(f"[ERROR] {error}")
        return 1
    except StartError as error:
        say(f"[ERROR] {error}")
        say(f"[ERROR] {error.part} init failed.")
    return 0


def read_info(args: BenchmarkArgs) -> list[ImageLine]:
    """Read the info file: lines of index, path, width and height with a blank between.

    Raises:
        StartError: the file or one of its lines cannot be used, or DVPP is asked for.
    """
    if args.use_dvpp:
        raise StartError("preprocessInstance", f"{SENTENCE}, and there is no DVPP to decode JPEG")
    try:
        lines = Path(args.info).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise StartError("preprocessInstance", f"open {args.info} failed: {error}") from error
    if not lines:
        raise StartError("preprocessInstance", f"{args.info} is empty")
    return [_image_line(line) for line in lines]


def _image_line(line: str) -> ImageLine:
    words = line.split(" ")
    if len(words) != 4 or not (words[0] + words[2] + words[3]).isdigit():
        raise StartError("preprocessInstance", f"info line is invalid: {line}")
    if not Path(words[1]).is_file():
        raise StartError("preprocessInstance", f"no such file: {words[1]}")
    return ImageLine(Path(words[1]), int(words[2]), int(words[3]))


@contextmanager
def _chip(args: BenchmarkArgs, board: Board, name: str) -> Iterator[OpenChip]:
    try:
        with opened(board, args.device, Path(args.om), name) as chip:
            model = chip.session.model
            if model.batch != args.batch:
                size = model.input_bytes // model.batch * args.batch
                text = f"input size mismatch: model needs {model.input_bytes}, batch has {size}"
                raise StartError("inferenceInstance", text)
            yield chip
    except NoSuchDeviceError as error:
        raise StartError("inferenceInstance", f"open device {error} failed") from error
    except OmError as error:
        raise StartError("inferenceInstance", f"load model failed: {error}") from error


def _dataset(args: BenchmarkArgs, chip: OpenChip, lines: list[ImageLine]) -> None:
    loaded_s = seconds()
    sharers = chip.sharers()
    batches = -(-len(lines) // args.batch)
    written = list(_write(args, chip, lines))
    fault_files.spoil(written, chip.board.faults.at("outputs", args.batch))
    times = chip.clock.batch_ms(batches, max(sharers, chip.sharers()))
    interface = 1000 * args.batch * batches / sum(times)
    wait_until(loaded_s + HEADROOM * len(lines) / interface)
    figures = figures_of(
        images=len(lines),
        batches=batches,
        total_s=seconds() - STARTED_AT,
        pipeline_s=seconds() - loaded_s,
        interface_fps=interface,
    )
    write_perf(RESULT, args, figures, chip.board.faults)


def _write(args: BenchmarkArgs, chip: OpenChip, lines: list[ImageLine]) -> Iterator[Path]:
    folder = RESULT / f"dumpOutput_device{args.device}"
    folder.mkdir(parents=True, exist_ok=True)
    for index, (line, outputs) in enumerate(zip(lines, _results(args, chip, lines), strict=False)):
        if index == (len(lines) + 1) // 2:
            fault_runs.strike(chip.board.faults.at("middle", args.batch))
        for number, values in enumerate(outputs, start=1):
            yield _write_output(folder / f"{line.path.stem}_{number}", values, binary=args.binary)


def _results(
    args: BenchmarkArgs, chip: OpenChip, lines: list[ImageLine]
) -> Iterator[tuple[Tensor, ...]]:
    """The outputs of each image in turn; all at once where a fault wants to see all."""
    rows = _rows(args, chip, lines)
    if not chip.board.faults.at("scores", args.batch):
        return rows
    from emulator.fault_scores import spoil

    whole = stacked([row[0] for row in rows])
    return ((row,) for row in spoil(whole, chip.board.faults, args.batch).rows())


def _rows(
    args: BenchmarkArgs, chip: OpenChip, lines: list[ImageLine]
) -> Iterator[tuple[Tensor, ...]]:
    size = chip.session.model.input_bytes // args.batch
    rows = (
        row
        for outputs in chip.session.infer_each(_feeds(args.batch, size, lines))
        for row in zip(*(output.rows() for output in outputs), strict=True)
    )
    return islice(rows, len(lines))


def _feeds(batch: int, size: int, lines: list[ImageLine]) -> Iterator[bytes]:
    for start in range(0, len(lines), batch):
        images = [_image(line, size) for line in lines[start : start + batch]]
        # The last batch is filled up; what with is not documented.
        yield b"".join(images) + bytes(size) * (batch - len(images))


def _image(line: ImageLine, size: int) -> bytes:
    content = line.path.read_bytes()
    if len(content) != size:
        text = f"input size mismatch: model needs {size}, {line.path} has {len(content)}"
        raise StartError("inferenceInstance", text)
    return content


def _write_output(path: Path, values: Tensor, *, binary: bool) -> Path:
    target = path.with_name(f"{path.name}.{'bin' if binary else 'txt'}")
    if binary:
        target.write_bytes(values.content)
    else:
        # Six significant digits, as a C++ stream prints them.
        text = " ".join(map("{:g}".format, values.values()))
        target.write_text(f"{text} \n", encoding="ascii")
    return target


def _pure(args: BenchmarkArgs, chip: OpenChip) -> None:
    chip.session.infer(bytes(chip.session.model.input_bytes))
    times = chip.clock.batch_ms(args.rounds, chip.sharers())
    started_s = seconds()
    for number, milliseconds in enumerate(times):
        say(f"[INFO] Dataset number: {number} finished cost {milliseconds:g}ms")
    wait_until(started_s + sum(times) / 1000)
    pure_report(RESULT, args, sum(times) / len(times), chip.board.faults)
