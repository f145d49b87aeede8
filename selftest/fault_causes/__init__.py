"""What goes wrong on the host: files prepared on disk, or one function that does something else.

Each cause runs in a process of its own, before pytest starts there, and returns further arguments
for pytest. What it patches dies with the process.
"""

from selftest.fault_causes import dataset, export, machine, preprocessing, weights
from selftest.fault_causes.scene import CAUSES, Scene

__all__ = ["CAUSES", "Scene", "dataset", "export", "machine", "preprocessing", "weights"]
