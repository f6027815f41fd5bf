"""The figures of a study show its numbers."""

import numpy as np

from neuralmutator.plots.study import Panel, curves_figure, together_figure
from neuralmutator.study import statistics

RANDOM = np.random.default_rng(5)


def test_curves_are_interquartile_means_of_their_runs():
    runs = {"a": RANDOM.normal(size=(8, 5)), "b": RANDOM.normal(3, 1, size=(8, 5))}
    moments = np.array([0, 10, 20, 30, 40])
    figure = curves_figure([Panel("task", moments, runs, changes=(20,))], "title")
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    for method, curves in runs.items():
        ranked = np.sort(curves, axis=0)[2:6].mean(0)  # of 8 runs the middle four
        np.testing.assert_allclose(lines[method].get_ydata(), ranked)
        np.testing.assert_array_equal(lines[method].get_xdata(), moments)
    assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"] == [20]
    assert axes.get_title("left") == "task"


def test_there_is_a_panel_for_every_task_and_no_other():
    panels = [Panel(f"task {i}", np.arange(3), {"a": RANDOM.normal(size=(4, 3))}) for i in range(4)]
    figure = curves_figure(panels, "title")
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title("left") for axes in shown] == ["task 0", "task 1", "task 2", "task 3"]


def test_methods_beyond_the_colours_are_told_apart():
    names = [str(i) for i in range(30)]
    curves = {name: RANDOM.normal(size=(4, 3)) for name in names}
    (axes,) = curves_figure([Panel("task", np.arange(3), curves)], "title").axes
    looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
    assert len(axes.lines) == 30 and len(looks) == 30


def test_pooled_scores_have_their_interval():
    champions = {"a": RANDOM.uniform(size=(10, 2)), "b": RANDOM.uniform(size=(10, 2))}
    figure = together_figure(champions, {name: scores / 2 for name, scores in champions.items()}, "title")
    bars, profiles = figure.axes
    value, low, high = statistics.bootstrap(statistics.iqm, champions["a"])
    spans = [tuple(line.get_xdata()) for line in bars.lines]
    assert (low, high) in spans and value in [x[0] for x in spans]
    assert [label.get_text() for label in bars.get_yticklabels()] == ["a", "b"]
    above = profiles.lines[0].get_ydata()
    assert above[0] == 1 and above[-1] == 0 and np.all(np.diff(above) <= 0)
