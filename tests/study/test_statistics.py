"""Statistics of tables of scores against worked numbers, SciPy and brute force."""

import numpy as np
import pytest
from scipy import stats

from neuralmutator.study import statistics

RUNS, TASKS = np.mgrid[0:10, 0:3]
X = (7 * RUNS + 3 * TASKS) % 11 / 10
Y = (5 * RUNS + 2 * TASKS + 1) % 11 / 10


def test_worked_numbers():
    """What rliable 1.2 gives for these two tables."""
    assert statistics.iqm(X) == pytest.approx(0.475) and statistics.iqm(Y) == pytest.approx(0.4875)
    assert statistics.mean(X) == pytest.approx(0.48) and statistics.median(X) == pytest.approx(0.48)
    assert statistics.optimality_gap(X) == pytest.approx(0.52)
    assert statistics.probability_of_improvement(X, Y) == pytest.approx(0.4816667, abs=1e-6)
    assert statistics.profile(X, np.array([0.5]))[0] == pytest.approx(0.433333, abs=1e-5)


def test_the_interquartile_mean_is_scipys_trimmed_mean():
    values = np.random.default_rng(0).normal(size=(13, 2))
    assert statistics.iqm(values) == pytest.approx(stats.trim_mean(values.ravel(), 0.25))


def test_the_probability_of_improvement_is_mann_whitneys():
    random = np.random.default_rng(1)
    x, y = random.integers(0, 5, (9, 1)).astype(float), random.integers(1, 6, (7, 1)).astype(float)
    u = stats.mannwhitneyu(x[:, 0], y[:, 0]).statistic
    assert statistics.probability_of_improvement(x, y) == pytest.approx(u / 63)


def test_statistics_take_many_tables_at_once():
    tables = np.random.default_rng(2).normal(size=(4, 6, 3))
    others = np.random.default_rng(3).normal(size=(4, 5, 3))
    thresholds = np.array([-1.0, 0.0, 1.0])
    for statistic in (statistics.iqm, statistics.mean, statistics.median, statistics.optimality_gap):
        np.testing.assert_allclose(statistic(tables), [statistic(table) for table in tables])
    np.testing.assert_allclose(
        statistics.probability_of_improvement(tables, others),
        [statistics.probability_of_improvement(a, b) for a, b in zip(tables, others, strict=True)],
    )
    np.testing.assert_allclose(
        statistics.profile(tables, thresholds), [statistics.profile(table, thresholds) for table in tables]
    )


def test_an_interval_covers_the_truth_as_often_as_it_says():
    random, covered = np.random.default_rng(4), 0
    for trial in range(200):
        found = statistics.bootstrap(statistics.mean, random.normal(3.0, 1.0, (30, 2)), draws=300, seed=trial)
        covered += found.low <= 3.0 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_runs_are_drawn_within_their_task():
    """Tasks of very different scores: drawn across tasks, the interval would be a hundred times as wide."""
    table = np.array([[0.0, 100.0]]) + np.random.default_rng(5).normal(0, 0.1, (20, 2))
    found = statistics.bootstrap(statistics.mean, table)
    assert found.low < found.value < found.high and found.high - found.low < 0.2
    assert found == statistics.bootstrap(statistics.mean, table)  # the same draws each time


def test_two_tables_are_drawn_each_on_its_own():
    x, y = np.full((6, 1), 1.0), np.array([[0.0], [2.0]] * 3)
    found = statistics.bootstrap(statistics.probability_of_improvement, x, y)
    assert found.value == 0.5 and found.low < 0.2 and found.high > 0.8


def test_a_paired_test_sees_what_is_common():
    random = np.random.default_rng(6)
    luck = random.normal(0, 10, 12)
    assert statistics.paired_p(luck + 1 + random.normal(0, 0.2, 12), luck) < 0.01
    assert statistics.paired_p(luck + random.normal(0, 0.2, 12), luck) > 0.05
    exact = statistics.paired_p(np.arange(1.0, 9.0), np.zeros(8))  # all eight signs must fall one way, or the other
    assert exact == pytest.approx(2 / 2**8)


def test_holms_correction():
    np.testing.assert_allclose(statistics.holm(np.array([0.04, 0.01, 0.03])), [0.06, 0.03, 0.06])
    np.testing.assert_allclose(statistics.holm(np.array([0.9, 0.8])), [1.0, 1.0])


def test_recovery_counts_from_the_change():
    moments = np.arange(0, 100)
    curve = np.ones((3, 100))
    curve[:, 50:] = 0.2
    curve[0, 57:], curve[1, 62] = 0.95, 0.9  # back for good; back once; never
    np.testing.assert_array_equal(statistics.recovery(curve, moments, 50, 100), [7, 12, np.inf])
    assert statistics.recovery(curve, moments, 50, 60)[1] == np.inf
    assert statistics.recovery(curve[:, ::10], moments[::10], 50, 100)[0] == 10  # measured every tenth
    assert statistics.censored_median(np.array([3, np.inf, np.inf]), 50) == 50
    assert statistics.censored_median(np.array([3, 5, np.inf]), 50) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"draws": 0}, "draws must be a whole number of at least 1, got 0"),
        ({"level": 1.0}, "level must lie in .0, 1., got 1.0"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        statistics.bootstrap(statistics.mean, X, **arguments)
    with pytest.raises(ValueError, match=r"scores must be tables \[runs, tasks\].*got shape \(10,\)"):
        statistics.bootstrap(statistics.mean, X[:, 0])
