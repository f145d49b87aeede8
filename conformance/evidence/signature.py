"""Detached signatures over a bundle's statement, made and checked by OpenSSH's ``ssh-keygen``.

The suite makes no signature and keeps no key. A user signs ``statement.json`` with a key of their
own; since the statement names every file of the bundle by its digest, any edit is found.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from conformance.errors import EvidenceError, ToolError
from conformance.evidence.bundle import STATEMENT_FILE
from conformance.evidence.bundle_files import read_limited
from conformance.evidence.statement import MAX_BYTES

# Keeps a signature that the same key made for another purpose from counting here.
NAMESPACE = "ascend-conformance"
SIGNER = "signer"
LIMIT_S = 30
SMALL = 64 * 1024


def signature_problem(folder: Path, signature: Path, key: Path) -> str:
    """Check a signature over a bundle's statement; empty if it is good.

    Args:
        folder: The bundle.
        signature: What ``ssh-keygen -Y sign -n ascend-conformance -f KEY statement.json`` wrote.
        key: The signer's public key, one line as in ``id_ed25519.pub``.

    Raises:
        ToolError: ``ssh-keygen`` is missing or hangs.
        EvidenceError: A file cannot be read, or the key is none.
    """
    program = shutil.which("ssh-keygen")
    if program is None:
        raise ToolError(
            "the signature cannot be checked: there is no ssh-keygen",
            expected="ssh-keygen of OpenSSH 8.2 or newer on PATH",
            next_step="install OpenSSH's client",
        )
    read_limited(signature, SMALL)
    with tempfile.TemporaryDirectory() as scratch:
        allowed = Path(scratch) / "allowed_signers"
        allowed.write_text(f'{SIGNER} namespaces="{NAMESPACE}" {_public_key(key)}\n', "utf-8")
        words = [program, "-Y", "verify", "-f", str(allowed), "-I", SIGNER]
        words += ["-n", NAMESPACE, "-s", str(signature.absolute())]
        return _answer(words, read_limited(folder / STATEMENT_FILE, MAX_BYTES))


def _public_key(key: Path) -> str:
    lines = read_limited(key, SMALL).decode("utf-8", errors="replace").strip().splitlines()
    if len(lines) == 1 and lines[0].startswith(("ssh-", "ecdsa-", "sk-")):
        return lines[0]
    raise EvidenceError(
        "this is no public key",
        expected="one line, such as that of ~/.ssh/id_ed25519.pub",
        where={"file": key},
        next_step="name the signer's public key with --key=FILE",
    )


def _answer(words: list[str], message: bytes) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - a program found by name, and no shell
            words, input=message, capture_output=True, check=False, timeout=LIMIT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolError("ssh-keygen cannot be run", got=error) from None
    if done.returncode == 0:
        return ""
    return (done.stderr + done.stdout).decode("utf-8", errors="replace").strip() or "refused"
