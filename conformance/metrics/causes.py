"""What scores beyond their bound look like: known mistakes that can be told from scores alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from conformance.metrics.scores import Scores, largest_errors

SHOWN = 5
# Of more columns than a tenth it cannot be said that they alone are wrong.
FEW_CLASSES = 0.1
# Sound scores are off by a quarter of what they may be, or less.
SURE_SHARE = 0.5
SURE_SUM = 1e-2
# A fit to sound scores is off by less.
LEAST_SCALE = 0.005

Looks = Callable[[Scores, Scores, float], str]


def likely_cause(reference: Scores, candidate: Scores, epsilon: float) -> str:
    """Return what would turn the reference's scores into these, within epsilon; empty if unknown.

    Args:
        reference: Trusted scores (images, classes).
        candidate: Those that are beyond the bound.
        epsilon: Largest allowed difference of a score.
    """
    looks: tuple[Looks, ...] = (_probabilities, _moved_classes, _scaled, _few_classes, _noise)
    return next(filter(None, (look(reference, candidate, epsilon) for look in looks)), "")


def how_far(reference: Scores, candidate: Scores) -> str:
    """Return in numbers how two sides differ, where no cause can be told."""
    difference = candidate.astype(np.float64) - reference
    together = np.corrcoef(reference.ravel(), candidate.ravel())[0, 1]
    return (
        f"differences of mean {difference.mean():+.3g} and standard deviation "
        f"{difference.std():.3g} over all scores, correlation {together:.4f}"
    )


def _probabilities(reference: Scores, candidate: Scores, _: float) -> str:
    sums = candidate.sum(axis=1)
    is_one = candidate.min() >= 0 and bool(np.all(np.abs(sums - 1) < SURE_SUM))
    if not is_one or candidate.shape != reference.shape:
        return ""
    return "every row adds up to 1: a softmax stands behind the scores"


def _moved_classes(reference: Scores, candidate: Scores, epsilon: float) -> str:
    for step, place in ((1, "before"), (-1, "behind")):
        # The class at the end may have been cut off, so its own score is not looked at.
        kept = slice(1, None) if step > 0 else slice(None, -1)
        moved = np.roll(reference, step, axis=1)[:, kept]
        if largest_errors(moved, candidate[:, kept]).max() <= epsilon:
            return (
                f"every class has the score of the one {place} it: is there a background class, "
                "or does another list of classes count from 1?"
            )
    return ""


def _few_classes(reference: Scores, candidate: Scores, epsilon: float) -> str:
    errors = np.abs(candidate - reference).max(axis=0)
    wrong = np.flatnonzero(errors > epsilon).tolist()
    if not wrong or len(wrong) > max(2, FEW_CLASSES * reference.shape[1]):
        return ""
    if np.any((errors > SURE_SHARE * epsilon) & (errors <= epsilon)):
        return ""  # others are nearly as wrong: these are the tip of what all have
    if len(wrong) == 2:
        swapped = candidate[:, wrong[::-1]]
        if largest_errors(reference[:, wrong], swapped).max() <= epsilon:
            return f"classes {wrong[0]} and {wrong[1]} have each other's scores"
    named = ", ".join(map(str, wrong[:SHOWN])) + (" ..." if len(wrong) > SHOWN else "")
    return f"only the scores of {len(wrong)} classes are beyond: {named}"


def _scaled(reference: Scores, candidate: Scores, epsilon: float) -> str:
    """Say by which factor and offset all scores were changed, if that explains them."""
    factor, offset = np.polyfit(reference.ravel().astype(np.float64), candidate.ravel(), 1)
    changed = abs(factor - 1) > LEAST_SCALE or abs(offset) > epsilon / 4
    left = largest_errors(factor * reference + offset, candidate).max()
    if factor <= 0 or not changed or left > epsilon:
        return ""
    told = f"{offset:+.3g} " if abs(offset) > epsilon / 4 else ""
    return (
        f"every score is {factor:.4g} times the reference's {told}within {epsilon:.3g}: look for a "
        "scale or a bias in the conversion, or a quantisation"
    )


def _noise(reference: Scores, candidate: Scores, epsilon: float) -> str:
    """Say so where each image's differences are of one size and have nothing in common."""
    difference = (candidate - reference).astype(np.float64)
    spread = difference.std(axis=1)
    shared = np.abs(difference.mean(axis=0)).mean()
    alike = spread.max() <= 1.3 * spread.min()
    if not alike or len(difference) < 8 or shared > 2 * spread.mean() / np.sqrt(len(difference)):
        return ""
    if largest_errors(reference, candidate).max() <= epsilon:
        return ""
    return (
        f"differences are noise of standard deviation {spread.mean():.2g}, alike for every image: "
        "not rounding, which grows with the scores; look at the chip's health"
    )


def told_lines(
    reference: Scores,
    candidate: Scores,
    epsilon: float,
    explain: Callable[[], str] | None = None,
) -> Iterator[str]:
    """Yield what is known of scores beyond their bound, or by how much and what to look at.

    Args:
        reference: Trusted scores (images, classes).
        candidate: Those that are beyond the bound.
        epsilon: Largest allowed difference of a score.
        explain: Asked where scores alone do not tell; returns an empty text if it cannot either.
    """
    cause = likely_cause(reference, candidate, epsilon) or (explain() if explain else "")
    if cause:
        yield f"looks like this: {cause}"
        return
    yield f"no known mistake explains it: {how_far(reference, candidate)}"
    yield (
        "look at: the weights that the .om was converted from, and the precision and operators "
        "that ATC was asked for"
    )
