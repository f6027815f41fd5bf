"""What a table of scores says: robust means with intervals, profiles, who beats whom (Agarwal et al. 2021).

Scores are arrays f64[runs, tasks], higher is better, in units that may be pooled over tasks. Everything is NumPy:
nothing here is worth a compiler.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from neuralmutator.core import check

__all__ = [
    "Estimate",
    "bootstrap",
    "censored_median",
    "holm",
    "interval",
    "iqm",
    "mean",
    "median",
    "optimality_gap",
    "paired_p",
    "probability_of_improvement",
    "profile",
    "recovery",
]

Statistic = Callable[[np.ndarray], np.ndarray]  # scores [..., runs, tasks] -> value [...]


class Estimate(NamedTuple):
    """A statistic and its interval."""

    value: float
    low: float
    high: float


def iqm(scores: np.ndarray) -> np.ndarray:
    """Interquartile mean: the mean of the middle half of all values, pooled over runs and tasks.

    Args:
        scores: [..., runs, tasks].
    """
    pooled = np.sort(np.reshape(scores, (*np.shape(scores)[:-2], -1)), axis=-1)
    cut = pooled.shape[-1] // 4
    return pooled[..., cut : pooled.shape[-1] - cut].mean(-1)


def mean(scores: np.ndarray) -> np.ndarray:
    """Mean over runs and tasks."""
    return np.mean(scores, axis=(-2, -1))


def median(scores: np.ndarray) -> np.ndarray:
    """Median over tasks of the mean over runs."""
    return np.median(np.mean(scores, axis=-2), axis=-1)


def optimality_gap(scores: np.ndarray, optimum: float = 1.0) -> np.ndarray:
    """How far runs stay below the optimum, those above it counted as being there."""
    return optimum - np.mean(np.minimum(scores, optimum), axis=(-2, -1))


def probability_of_improvement(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Probability that a run of x scores more than one of y on the same task, ties count half; mean over tasks.

    Args:
        x: [..., runs, tasks].
        y: [..., other runs, tasks].
    """
    above = x[..., :, None, :] > y[..., None, :, :]
    equal = x[..., :, None, :] == y[..., None, :, :]
    return np.mean(above + 0.5 * equal, axis=(-3, -2, -1))


def profile(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Performance profile: share of all runs on all tasks that score above each threshold.

    Args:
        scores: [..., runs, tasks].
        thresholds: [T].

    Returns:
        Shares [..., T].
    """
    return np.mean(np.asarray(scores)[..., None] > thresholds, axis=(-3, -2))


def bootstrap(
    statistic: Callable[..., np.ndarray], *scores: np.ndarray, draws: int = 2000, level: float = 0.95, seed: int = 0
) -> Estimate:
    """A statistic with its percentile interval, runs drawn again within each task (stratified bootstrap).

    Args:
        statistic: of arrays [..., runs, tasks], one for each of `scores`; gives [...].
        scores: tables [runs, tasks]; each is drawn from on its own.
        draws: number of resampled tables.
        level: share of the draws within the interval.
        seed: of the draws.

    Raises:
        ValueError: if a table is not [runs, tasks], or a number is out of range.
    """
    low, high = (float(x) for x in interval(statistic, *scores, draws=draws, level=level, seed=seed))
    return Estimate(float(statistic(*map(np.asarray, scores))), low, high)


def interval(
    statistic: Callable[..., np.ndarray], *scores: np.ndarray, draws: int = 2000, level: float = 0.95, seed: int = 0
) -> np.ndarray:
    """The ends of the percentile interval of a statistic that may be an array, [2, ...]; see `bootstrap`."""
    check.whole(1, draws=draws)
    check.number(0, 1, open_low=True, open_high=True, level=level)
    random = np.random.default_rng(seed)
    tables = [np.asarray(table, float) for table in scores]
    for table in tables:
        if table.ndim != 2 or table.shape[0] < 1:
            raise ValueError(f"scores must be tables [runs, tasks] with at least one run, got shape {table.shape}")
    found = []
    for start in range(0, draws, 250):  # bounds memory
        count = min(250, draws - start)
        drawn = [
            np.take_along_axis(table[None], random.integers(len(table), size=(count, *table.shape)), axis=1)
            for table in tables
        ]
        found.append(statistic(*drawn))
    tail = (1 - level) / 2
    return np.quantile(np.concatenate(found), [tail, 1 - tail], axis=0)


def holm(p_values: np.ndarray) -> np.ndarray:
    """p-values corrected for their number (Holm 1979), in their own order."""
    p = np.asarray(p_values, float)
    order = np.argsort(p)
    raised = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(raised, 1.0)
    return corrected


def paired_p(x: np.ndarray, y: np.ndarray) -> float:
    """p-value of the mean difference of paired runs, by flips of their signs (two-sided permutation test).

    Args:
        x: f64[runs].
        y: f64[runs] of the same seeds.
    """
    from scipy import stats

    test = stats.permutation_test(
        (np.asarray(x) - np.asarray(y),),
        lambda d, axis: np.mean(d, axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9999,
        rng=np.random.default_rng(0),
    )
    return float(test.pvalue)


def censored_median(times: np.ndarray, limit: float) -> float:
    """Median of times of which those that never came are infinite; the limit where half of them did not.

    Args:
        times: f64[runs].
        limit: what is said where the median is beyond what was observed.
    """
    return float(min(np.median(times), limit))


def recovery(curve: np.ndarray, moments: np.ndarray, change: int, until: int, share: float = 0.9) -> np.ndarray:
    """Generations after a change until a share of the score before it is back; infinite where it never is.

    The score before is the mean over the last tenth of the time since the run began (at least one measurement). Scores
    are counted from the task's lower bound, so that a share means something where they are negative.

    Args:
        curve: [runs, moments], scores between 0 and 1 or so.
        moments: i64[moments] generations at which they were measured.
        change: generation of the change.
        until: generation at which the phase ends.
        share: of the score before that must be back.

    Returns:
        f64[runs].
    """
    curve, moments = np.asarray(curve, float), np.asarray(moments)
    earlier = np.flatnonzero(moments < change)
    late = earlier[moments[earlier] >= min(0.9 * change, moments[earlier[-1]])]
    before = curve[:, late].mean(1, keepdims=True)
    inside = (moments >= change) & (moments < until)
    back = curve[:, inside] >= share * before
    first = moments[inside][np.argmax(back, axis=1)] - change
    return np.where(back.any(1), first.astype(float), np.inf)
