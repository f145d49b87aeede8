"""``python -m conformance verify BUNDLE`` and ``verdict BUNDLE…``: read what runs left behind."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from conformance.check import Check
from conformance.errors import EvidenceError
from conformance.evidence.bundle import Decision
from conformance.evidence.gate import GATES_FILE, Gates, read_gates
from conformance.evidence.joining import demand_one_subject
from conformance.evidence.joint_accuracy import joint_accuracy, with_joint_checks
from conformance.evidence.signature import signature_problem
from conformance.evidence.verdict import Verdict, decide
from conformance.evidence.verify import Verified, verify
from conformance.spec import ModelSpec, load_spec, model_names

UNSIGNED = "unsigned: a consistent forgery is not excluded"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``verify`` and ``verdict`` to the command line."""
    text = (
        "compute everything in a bundle again; status 0 if it is consistent, whatever its verdict"
    )
    more = "1 if something contradicts it, 2 if it cannot be read. `verdict` has the gate's status"
    parser = commands.add_parser("verify", help=f"{text}, {more}", description=f"{text}, {more}.")
    parser.set_defaults(run=verify_bundle)
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help="folder that a run wrote")
    parser.add_argument(
        "--signature", metavar="FILE", type=Path, help="of statement.json, by `ssh-keygen -Y sign`"
    )
    parser.add_argument("--key", metavar="FILE", type=Path, help="public key of the signer")
    add_gates(parser)
    text = "verify bundles, join them and say a gate's verdict; status 0, 10 or 11, 2 if refused"
    parser = commands.add_parser("verdict", help=text, description=text)
    parser.set_defaults(run=say_verdict)
    parser.add_argument("bundles", metavar="BUNDLE", type=Path, nargs="+")
    parser.add_argument("--gate", metavar="NAME", help="default: the gate of the runs")
    add_gates(parser)


def add_gates(parser: argparse.ArgumentParser) -> None:
    """Add the option that names another gates file."""
    parser.add_argument(
        "--gates",
        metavar="FILE",
        type=Path,
        default=GATES_FILE,
        help="what the gates require (default: %(default)s)",
    )


def verify_bundle(arguments: argparse.Namespace) -> int:
    """Verify one bundle, and its signature where one is given.

    Raises:
        EvidenceError: The evidence cannot be read, or only one of signature and key is given.
    """
    start = time.perf_counter()
    gates, specs = read_gates(arguments.gates), _specs()
    found = verify(arguments.bundle, gates, specs)
    problems = [*found.problems, *_signature_problems(arguments)]
    for problem in problems:
        print(f"REFUSED: {problem}")
    evidence = found.evidence
    print(
        f"{len(evidence.checks)} checks, {len(evidence.tests)} tests and {found.recounted} sets of "
        f"predictions of run {evidence.run} verified in {time.perf_counter() - start:.1f} s"
    )
    if problems:
        print(f"refused: {len(problems)} contradictions, so there is no verdict")
        return 1
    print(
        f"consistent; signed with {arguments.key}" if arguments.key else f"consistent; {UNSIGNED}"
    )
    if found.decision:
        print(found.decision.line)
    return 0


def _signature_problems(arguments: argparse.Namespace) -> list[str]:
    if (arguments.signature is None) != (arguments.key is None):
        raise EvidenceError(
            "a signature and a key belong together",
            next_step="give both --signature=FILE and --key=FILE",
        )
    if arguments.signature is None:
        return []
    problem = signature_problem(arguments.bundle, arguments.signature, arguments.key)
    return [f"the signature is not good: {problem}"] if problem else []


def say_verdict(arguments: argparse.Namespace) -> int:
    """Join bundles, each verified first, and say the verdict as the last line.

    Raises:
        EvidenceError: A bundle cannot be read or contradicts itself, or they are not on one
            subject.
    """
    gates, specs = read_gates(arguments.gates), _specs()
    found = joined(arguments.bundles, gates, specs)
    checks = joint_accuracy([(run.evidence, run.predictions) for run in found], specs)
    for check in checks:
        print(check.describe())
    decision = _decided(found, checks, gates, arguments.gate or "", specs)
    for reason in decision.reasons:
        print(f"  {reason}")
    print(UNSIGNED)
    print(decision.line)
    return Verdict(decision.verdict).exit_status


def joint_decision(bundles: Sequence[Path], gate: str, gates_file: Path = GATES_FILE) -> Decision:
    """Verify bundles, join them and return what a gate makes of them; by default the runs' own.

    Raises:
        EvidenceError: A bundle cannot be read or contradicts itself, they are not on one subject,
            or nothing says which gate decides.
    """
    gates, specs = read_gates(gates_file), _specs()
    found = joined(bundles, gates, specs)
    checks = joint_accuracy([(run.evidence, run.predictions) for run in found], specs)
    return _decided(found, checks, gates, gate, specs)


def joined(bundles: Sequence[Path], gates: Gates, specs: dict[str, ModelSpec]) -> list[Verified]:
    """Return what is in bundles that contradict neither themselves nor each other.

    Raises:
        EvidenceError: One cannot be read or contradicts itself, or they are not on one subject.
    """
    found = [verified(bundle, gates, specs) for bundle in bundles]
    if len(found) > 1:
        demand_one_subject([each.evidence for each in found], gates)
    return found


def _decided(
    found: Sequence[Verified],
    checks: Sequence[Check],
    gates: Gates,
    gate: str,
    specs: dict[str, ModelSpec],
) -> Decision:
    """Decide on every run's own checks and on those of all runs together."""
    runs = with_joint_checks([each.evidence for each in found], checks)
    return decide(runs, gates, gate or common_gate(found), specs)


def verified(folder: Path, gates: Gates, specs: dict[str, ModelSpec]) -> Verified:
    """Return what is in a bundle that contradicts itself nowhere.

    Raises:
        EvidenceError: It does; the error names every contradiction.
    """
    found = verify(folder, gates, specs)
    if found.problems:
        raise EvidenceError(
            "the bundle contradicts itself",
            got="\n    ".join(found.problems),
            where={"bundle": folder},
            next_step="ask for the bundle as the run wrote it",
        )
    return found


def common_gate(found: Sequence[Verified]) -> str:
    """Return the gate that runs were made under.

    Raises:
        EvidenceError: They were made under different ones, or under none.
    """
    named = {each.evidence.decision.gate for each in found if each.evidence.decision}
    if len(named) == 1:
        return named.pop()
    raise EvidenceError(
        "the runs do not say which gate decides",
        got=", ".join(sorted(named)) or "no gate",
        next_step="name it with --gate=NAME",
    )


def _specs() -> dict[str, ModelSpec]:
    return {name: load_spec(name) for name in model_names()}
