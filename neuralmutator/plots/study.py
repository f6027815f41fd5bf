"""Figures of a study: learning curves of every task, and all tasks together."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from neuralmutator.plots.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, dress, new_figure
from neuralmutator.study import statistics

COLOURS = (RED, BLUE, GREEN, ORANGE, PURPLE, GREY, "#4aa8a0", "#a05a2c", "#5b5f97", "#c77cbd", "#7a8b2f", "#d0a215")
DRAWS = 500  # of the intervals of curves


class Panel(NamedTuple):
    """The curves of one task."""

    title: str
    moments: np.ndarray  # [M] generations
    curves: Mapping[str, np.ndarray]  # [runs, M] by method
    changes: Sequence[int] = ()  # generations at which the task changes


def curves_figure(panels: Sequence[Panel], title: str) -> Figure:
    """Curves of every task, one panel each: interquartile mean over the runs, with its 95 % interval."""
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure((4.6 * columns + 1.6, 3.1 * rows + 0.4), title)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        dress(axes)
        for i, (method, curves) in enumerate(panel.curves.items()):
            low, high = statistics.interval(_over_runs, curves, draws=DRAWS)
            axes.fill_between(panel.moments, low, high, color=_colour(i), alpha=0.13, lw=0)
            axes.plot(panel.moments, _over_runs(curves), color=_colour(i), ls=_dashes(i), lw=1.6, label=method)
        for change in panel.changes:
            axes.axvline(change, color=GREY, lw=0.8, ls=":")
        axes.set_title(panel.title, loc="left", fontsize=10, fontweight="bold", color=INK)
        axes.set_xlabel("generation", fontsize=8, color=INK)
        axes.set_ylabel("fitness", fontsize=8, color=INK)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8, frameon=False)
    return figure


def together_figure(champions: Mapping[str, np.ndarray], named: Mapping[str, np.ndarray], title: str) -> Figure:
    """All tasks pooled: interquartile means with intervals, and performance profiles of the champions.

    Args:
        champions: scores [runs, tasks] by method, 0 and 1 being the tasks' bounds.
        named: the same of what was named along the run.
        title: heading.
    """
    figure = new_figure((9.6, 0.3 * len(champions) + 2.6), title)
    bars, profiles = figure.subplots(1, 2)
    dress(bars)
    dress(profiles)
    thresholds = np.linspace(0, 1.02, 103)
    for row, method in enumerate(champions):
        colour = _colour(row)
        for shift, scores, marker, face in ((-0.14, champions, "o", colour), (0.14, named, "s", "white")):
            value, low, high = statistics.bootstrap(statistics.iqm, scores[method])
            bars.plot([low, high], [row + shift] * 2, color=colour, lw=2)
            bars.plot(value, row + shift, marker, ms=5, mfc=face, mec=colour)
        profiles.plot(
            thresholds, statistics.profile(champions[method], thresholds), color=colour, ls=_dashes(row), lw=1.6
        )
    bars.set_yticks(range(len(champions)), list(champions), fontsize=8)
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


def _colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def _dashes(i: int) -> str:
    """So that methods of one colour can be told apart."""
    return ("-", "--", "-.")[i // len(COLOURS) % 3]
