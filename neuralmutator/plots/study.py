"""Figures of a study: learning curves of every task, and all tasks together."""

import numpy as np
from matplotlib.figure import Figure

from neuralmutator.plots.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, dress, new_figure
from neuralmutator.runs.study import Results, moments_of, scores, tasks_of
from neuralmutator.study import statistics

COLOURS = (RED, BLUE, GREEN, ORANGE, PURPLE, GREY, "#4aa8a0", "#a05a2c", "#5b5f97", "#c77cbd", "#7a8b2f", "#d0a215")
DRAWS = 500  # of the intervals in figures


def curves_figure(results: Results) -> Figure:
    """What the named member was worth along the run, for each task: interquartile mean over seeds and its interval."""
    tasks = tasks_of(results.study)
    columns = min(3, len(tasks))
    rows = -(-len(tasks) // columns)
    figure = new_figure((4.6 * columns + 1.6, 3.1 * rows + 0.4), f"Best of the generation, afresh · {_seeds(results)}")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(tasks) :]:
        axes.set_visible(False)
    for axes, task in zip(grid.flat, tasks, strict=False):
        dress(axes)
        moments = moments_of(results.study, task)
        for colour, method in zip(_colours(results), results.study.methods, strict=False):
            named = results.outcomes[task.name, method].named
            low, high = statistics.interval(_over_runs, named, draws=DRAWS)
            axes.fill_between(moments, low, high, color=colour, alpha=0.13, lw=0)
            axes.plot(moments, _over_runs(named), color=colour, lw=1.6, label=method)
        for at in task.switch.at if task.switch else ():
            axes.axvline(at, color=GREY, lw=0.8, ls=":")
        axes.set_title(task.name, loc="left", fontsize=10, fontweight="bold", color=INK)
        axes.set_xlabel("generation", fontsize=8, color=INK)
        axes.set_ylabel("fitness", fontsize=8, color=INK)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8, frameon=False)
    return figure


def together_figure(results: Results) -> Figure:
    """All tasks pooled: interquartile means with intervals, and performance profiles of the champions."""
    methods = list(results.study.methods)
    figure = new_figure((9.6, 0.3 * len(methods) + 2.6), f"All tasks, from 0 to 1 by their bounds · {_seeds(results)}")
    bars, profiles = figure.subplots(1, 2)
    dress(bars)
    dress(profiles)
    thresholds = np.linspace(0, 1.02, 103)
    for row, (colour, method) in enumerate(zip(_colours(results), methods, strict=False)):
        for shift, measure, marker in ((-0.14, "champion", "o"), (0.14, "named", "s")):
            value, low, high = statistics.bootstrap(statistics.iqm, scores(results, method, measure))
            bars.plot([low, high], [row + shift] * 2, color=colour, lw=2)
            bars.plot(
                value, row + shift, marker, color=colour, ms=5, mfc=colour if marker == "o" else "white", mec=colour
            )
        profiles.plot(
            thresholds, statistics.profile(scores(results, method, "champion"), thresholds), color=colour, lw=1.6
        )
    bars.set_yticks(range(len(methods)), methods, fontsize=8)
    bars.invert_yaxis()
    bars.set_title("● champion   □ named, mean over the run", loc="left", fontsize=9, color=INK)
    bars.set_xlabel("interquartile mean, 95 % interval", fontsize=8, color=INK)
    profiles.set_title("Champions above a score", loc="left", fontsize=9, color=INK)
    profiles.set_xlabel("score", fontsize=8, color=INK)
    profiles.set_ylabel("share of runs", fontsize=8, color=INK)
    return figure


def _over_runs(curves: np.ndarray) -> np.ndarray:
    """Interquartile mean over the runs of curves [..., runs, moments]."""
    moments_first = np.moveaxis(np.asarray(curves, float), -1, 0)[..., None]
    return np.moveaxis(statistics.iqm(moments_first), 0, -1)


def _colours(results: Results) -> tuple[str, ...]:
    return tuple(COLOURS[i % len(COLOURS)] for i in range(len(results.study.methods)))


def _seeds(results: Results) -> str:
    return f"{results.study.seeds} seeds"
