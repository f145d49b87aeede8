"""A tree like CANN's beside an emulated board: what sets an environment up, and who is who."""

from __future__ import annotations

import platform
import shlex
from pathlib import Path

from emulator.board import BoardState, write_atomically
from emulator.marker import MARK, SENTENCE

SET_ENV = """# {sentence}.
export ASCEND_TOOLKIT_HOME={home}
export ASCEND_HOME_PATH={home}
export ASCEND_AICPU_PATH={home}
export ASCEND_OPP_PATH={home}/opp
export PYTHONPATH={home}/python/site-packages${{PYTHONPATH:+:$PYTHONPATH}}
export LD_LIBRARY_PATH={home}/lib64${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}
export PATH={programs}:{interpreter}:$PATH
"""


def write_cann(folder: Path, state: BoardState) -> None:
    """Write ``set_env.sh`` and the version files of toolkit and driver, all marked as emulated.

    Args:
        folder: The board's folder.
        state: Its releases of CANN and driver.
    """
    toolkit = folder / "ascend-toolkit"
    home = toolkit / "latest"
    machine = platform.machine()
    arch = home / f"{machine}-linux"
    for path in (arch, home / "opp", home / "compiler", home / "python" / "site-packages",
                 home / "lib64", folder / "driver"):  # fmt: skip
        path.mkdir(parents=True, exist_ok=True)
    script = SET_ENV.format(
        sentence=SENTENCE,
        home=shlex.quote(str(home)),
        programs=shlex.quote(str(folder / "bin")),
        interpreter=shlex.quote(str(folder / "python" / "bin")),
    )
    inner = f"EMU.{state.cann}"
    toolkit_info = (
        f"package_name=Ascend-cann-toolkit\nversion={state.cann}\ninnerversion={inner}\n"
        f"compatible_version={MARK}\narch={machine}\nos=linux\npath={home}\n"
    )
    files = {
        toolkit / "set_env.sh": script,
        home / "set_env.sh": script,
        home / "version.cfg": f"# {SENTENCE}.\nruntime_running_version=[{inner}:{state.cann}]\n",
        arch / "ascend_toolkit_install.info": toolkit_info,
        home / "compiler" / "version.info": f"Version={inner}\n# {SENTENCE}.\n",
        folder / "driver" / "version.info": (
            f"Version={state.driver}\nascendhal_version=EMU\npackage_version={MARK}\n"
        ),
    }
    for path, text in files.items():
        write_atomically(path, text.encode())
