"""What a measurement on a chip found, apart from the scores."""

from __future__ import annotations

from typing import Literal

import msgspec

from conformance.ascend.timed_run import TimedRun


class OmFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a measurement on a chip found, apart from the scores.

    Attributes:
        tool: The inference tool.
        method: Whether it ran the run's images or generated input.
        chip: The chip, as npu-smi calls it.
        rates_fps: Rate of the chip alone, images per second, one a round.
        spoiled: Why the timing decides nothing; empty if nothing speaks against it.
        notes: Oddities of the tool that are no errors.
        slowest_stage: The stage that limits the end-to-end rate.
        emulated: Whether anything bore the mark of an emulated board.
        om_sha256: Digest of the model.
        runs: Every run of the tool behind the rates: its claims, and what was seen of it.
        dropped_fps: Rates that warmed the chip up and do not count.
        rounds_before: Rounds, first among the rates, that were there before any could decide.
        sampled: Outputs of timed rounds that were compared with the accuracy run's.
        differences: Images of which they are not equal: largest difference of a score.
    """

    tool: Literal["benchmark", "ais_bench"]
    method: Literal["dataset", "pure"]
    chip: str
    rates_fps: list[float]
    spoiled: str
    notes: list[str]
    slowest_stage: str
    emulated: bool
    om_sha256: str
    runs: list[TimedRun] = []
    dropped_fps: list[float] = []
    rounds_before: int = 0
    sampled: int = 0
    differences: dict[str, float] = {}

    @property
    def fps(self) -> float:
        """Rate over all rounds, which count alike."""
        return len(self.rates_fps) / sum(1 / rate for rate in self.rates_fps)


class Regression(msgspec.Struct, frozen=True):
    """A model and the one that it replaces, timed in turn.

    Attributes:
        tool: The inference tool.
        before: Rounds of the earlier model, in time with those of the other.
        now: Rounds of the model.
        spoiled: Why the timing decides nothing; empty if nothing speaks against it.
        sampled: Outputs of the model's rounds that were compared with the accuracy run's.
        differences: Images of which they are not equal: largest difference of a score. The earlier
            model's may be of other weights.
    """

    tool: str
    before: list[TimedRun]
    now: list[TimedRun]
    spoiled: str
    sampled: int = 0
    differences: dict[str, float] = {}
