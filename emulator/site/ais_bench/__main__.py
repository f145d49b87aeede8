"""``python -m ais_bench`` on an emulated board. ASCEND-EMULATOR: no Ascend chip is involved."""

import sys

from emulator.tools import run_tool

if __name__ == "__main__":
    sys.exit(run_tool("ais_bench", sys.argv[1:]))
