"""The emulated board's ais_bench. ASCEND-EMULATOR: no Ascend chip is involved."""

__version__ = "0.0.2"
