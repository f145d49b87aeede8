"""``python -m ais_bench``: the inference tool of today, as its open sources of 2023 behave."""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from pathlib import Path

from emulator import ais_bench_files as files
from emulator import fault_files, fault_runs
from emulator.ais_bench_args import NOT_EMULATED, parse
from emulator.ais_bench_report import RunRecord, report
from emulator.board import Board
from emulator.chip import NoSuchDeviceError, OpenChip, find_chip, opened
from emulator.clock import wait_until
from emulator.marker import SENTENCE, say, seconds
from emulator.om import OmError, tensor_bytes
from emulator.tensor import Tensor, stacked


def main(argv: Sequence[str], board: Board) -> int:
    """Run the tool in the current folder.

    Args:
        argv: Arguments without the program's name.
        board: The board it runs on.

    Returns:
        0; what goes wrong is an exception, as in the real tool.

    Raises:
        RuntimeError: chip, model or files cannot be used.
        ValueError: the output folder's name is absolute.
    """
    say(f"[INFO] {SENTENCE}")
    args = parse(argv)
    fault_runs.strike(board.faults.at("start"))
    _refuse(args)
    dirname = args.output_dirname or time.strftime("%Y_%m_%d-%H_%M_%S")
    rates = []
    for index, device in enumerate(args.device):
        several = len(args.device) > 1
        folder = Path(dirname, f"device{device}") if several else Path(dirname)
        rates.append(_run(args, board, device, folder, list(argv)))
        if several:
            say(f"[INFO] i:{index} device_{device} throughput:{rates[-1]}")
    if len(rates) > 1:
        say(f"[INFO] summary throughput:{sum(rates)}")
    return 0


def _refuse(args: argparse.Namespace) -> None:
    asked = [name for name in NOT_EMULATED if getattr(args, name) is not None]
    if asked:
        _fail(f"--{asked[0]} is not emulated")
    if args.output_dirname and not args.output:
        _fail("parameter --output_dirname cann't be used alone. Please use it together with the "
              "parameter --output!")  # fmt: skip
    if args.output_dirname and Path(args.output_dirname).is_absolute():
        raise ValueError("parameter --output_dirname cann't support absolute path")


def _fail(text: str) -> None:
    say(f"[ERROR] {text}")
    raise RuntimeError(text)


def _run(
    args: argparse.Namespace, board: Board, device: int, folder: Path, argv: list[str]
) -> float:
    say("[INFO] acl init success")
    try:
        find_chip(board.state, device)
        say(f"[INFO] open device {device} success")
        with opened(board, device, Path(args.model), "python3") as chip:
            say(f"[INFO] load model {args.model} success")
            say("[INFO] create model description success")
            throughput = _infer(args, chip, folder, argv)
            fault_runs.strike(board.faults.at("end", chip.session.model.batch))
    except NoSuchDeviceError:
        say("EL003: The argument is invalid.")
        say(f"[ERROR] acl open device {device} failed")
        raise RuntimeError("SetDevice failed.ret=507033") from None
    except OmError:
        say(f"[ERROR] load model from file failed, model file is {args.model}")
        raise RuntimeError("[1][ACL:invalid parameter]") from None
    say("[INFO] unload model success, model Id is 1")
    say("[INFO] end to destroy context")
    say(f"[INFO] end to reset device is {device}")
    say("[INFO] end to finalize acl")
    return throughput


def _infer(args: argparse.Namespace, chip: OpenChip, folder: Path, argv: list[str]) -> float:
    model = chip.session.model
    batch = args.batchsize or model.batch
    if args.batchsize is None:
        say(f"[INFO] try get model batchsize:{batch}")
    if args.debug:
        _describe(chip)
    target = Path(args.output, folder) if args.output else None
    if target is not None:
        target.mkdir(parents=True, exist_ok=True)
        say(f"[INFO] output path:{target}")
    record = _from_files(args, chip, target) if args.input else _pure(args, chip, target)
    return report(record, batch=batch, argv=argv, target=target, board=chip.board)


def _describe(chip: OpenChip) -> None:
    for kind, specs in (
        ("input", chip.session.model.inputs),
        ("output", chip.session.model.outputs),
    ):
        say(f"[DEBUG] {kind} info of model:")
        for index, spec in enumerate(specs):
            size = tensor_bytes(spec)
            say(f"[DEBUG]   #{index}    {spec.name}  {spec.shape}  {spec.dtype}  {size}  {size}")


def _from_files(args: argparse.Namespace, chip: OpenChip, target: Path | None) -> RunRecord:
    model = chip.session.model
    folders = args.input.split(",")
    if len(folders) != len(model.inputs):
        _fail(f"error intputs list len:{len(folders)} not equal model len:{len(model.inputs)}")
    inputs = files.list_inputs(folders[0])
    count = files.files_per_batch(inputs, model.input_bytes)
    say(f"[INFO] warm up {args.warmup_count} done")
    started_s = seconds()
    sharers = chip.sharers()
    outputs = list(chip.session.infer_each(files.batches(inputs, count)))
    # Each batch is computed --loop times, and each time counts.
    times = chip.clock.batch_ms(args.loop * len(outputs), max(sharers, chip.sharers()))
    wait_until(started_s + sum(times) / 1000)
    _progress(len(outputs), started_s)
    saved = _save(args.outfmt, chip, target, inputs, outputs) if target else []
    return RunRecord(times, saved)


def _progress(count: int, started_s: float) -> None:
    rate = count / (seconds() - started_s)
    bar = f"{count}/{count} [00:00<00:00, {rate:.2f}it/s]"
    say(f"\rInference array Processing: 100%|{'█' * 10}| {bar}")


def _save(
    outfmt: str, chip: OpenChip, target: Path, inputs: list[Path], outputs: list[list[Tensor]]
) -> list[tuple[Path, list[Path]]]:
    """Write the outputs of each input file; what belongs to filled-up places is left out."""
    model, faults = chip.session.model, chip.board.faults
    count = model.input_bytes // files.file_size(inputs[0])
    if model.batch % count:
        shape = outputs[0][0].shape
        _fail(f"save out files error array shape:{shape} filesPerbatch:{count} not divisible")
    per_file = model.batch // count
    wholes = [
        [row for batch in batches for row in batch.rows()][: per_file * len(inputs)]
        for batches in zip(*outputs, strict=True)
    ]
    if faults.at("scores", model.batch):
        from emulator.fault_scores import spoil

        wholes[0] = spoil(stacked(wholes[0]), faults, model.batch).rows()
    saved: list[tuple[Path, list[Path]]] = []
    # A fault may have dropped the rows of the last files.
    for index, path in enumerate(inputs[: len(wholes[0]) // per_file]):
        if index == (len(inputs) + 1) // 2:
            fault_runs.strike(faults.at("middle", model.batch))
        parts = [stacked(whole[index * per_file :][:per_file]) for whole in wholes]
        saved.append((path, files.write_outputs(target, path, parts, outfmt)))
    written = [output for _, outputs_of in saved for output in outputs_of]
    fault_files.spoil(written, faults.at("outputs", model.batch))
    return saved


def _pure(args: argparse.Namespace, chip: OpenChip, target: Path | None) -> RunRecord:
    model = chip.session.model
    say(f"[INFO] warm up {args.warmup_count} done")
    feed = bytes(model.input_bytes)
    if args.pure_data_type == "random":
        feed = random.Random(0).randbytes(model.input_bytes)  # noqa: S311 - no secret
    started_s = seconds()
    outputs = chip.session.infer(feed)
    times = chip.clock.batch_ms(args.loop, chip.sharers())
    wait_until(started_s + sum(times) / 1000)
    _progress(args.loop, started_s)
    if target is not None:
        files.write_outputs(target, Path("pure_infer_data"), outputs, args.outfmt)
    return RunRecord(times, [])
