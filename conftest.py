"""The suite's plugins; each module says what it adds to pytest."""

pytest_plugins = [
    "fixtures.controller",
    "fixtures.termination",
    "fixtures.options",
    "fixtures.claims",
    "fixtures.progress",
    "fixtures.stages",
    "fixtures.outcomes",
    "fixtures.recorder",
    "fixtures.subjects",
    "fixtures.parity",
    "fixtures.accuracy",
    "fixtures.machine",
    "fixtures.board",
    "fixtures.om_models",
    "fixtures.om_measurements",
    "fixtures.bounds",
    "fixtures.expected",
    "fixtures.gate",
    "fixtures.ending",
    "fixtures.nothing_ran",
]
