"""Pictures of quines: weights beside what the network says of them, losses, trade-offs."""

import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure

from neuralmutator.plots.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, dress, new_figure

COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, GREY)
Curves = Mapping[str, Mapping[str, np.ndarray]]  # label -> metric -> values [seeds, epochs] or [epochs]


def weights_figure(params: np.ndarray, predictions: np.ndarray, sizes: Sequence[int], title: str) -> Figure:
    """Weight matrices beside the network's predictions of them, on one logarithmic scale of colours.

    The paper's figures 2 and 7.

    Args:
        params: f32[N].
        predictions: f32[N].
        sizes: inputs, hidden layers …, outputs of a perceptron without biases; matrices of one column are left out.
        title: heading.
    """
    shapes = list(pairwise(sizes))
    ends = np.cumsum([a * b for a, b in shapes])
    if params.shape != predictions.shape or ends[-1] != params.size:
        raise ValueError(f"sizes {tuple(sizes)} hold {ends[-1]} weights, got {params.shape} and {predictions.shape}")
    shown = [i for i, (_, columns) in enumerate(shapes) if columns > 1] or [0]
    largest = max(float(np.abs(params).max()), float(np.abs(predictions).max()), 1e-30)
    norm = SymLogNorm(linthresh=largest / 100, vmin=-largest, vmax=largest)
    figure = new_figure((3.4 * len(shown) + 1.2, 6.4), title)
    grid = figure.subplots(2, len(shown), squeeze=False)
    for row, (values, name) in enumerate(((params, "weights"), (predictions, "predictions"))):
        parts = np.split(values, ends[:-1])
        for column, i in enumerate(shown):
            axes = grid[row, column]
            image = axes.imshow(parts[i].reshape(shapes[i]), cmap="RdBu_r", norm=norm, interpolation="nearest")
            axes.set_title(f"layer {i + 1}: {name}", loc="left", fontsize=10, color=INK)
            axes.set(xticks=[], yticks=[])
    figure.colorbar(image, ax=grid, shrink=0.7, label="weight (symmetric logarithm)")
    return figure


def training_figure(curves: Curves, title: str, unit: str = "epoch") -> Figure:
    """The self-replicating loss, and beside it the share of the weights' size that predictions miss.

    Args:
        curves: of every method "loss", "unexplained" and, drawn where all have it, "accuracy" (0 to 1); [epochs] or
            [seeds, epochs], a thick line for the median, thin ones for the seeds.
        title: heading.
        unit: of the horizontal axis.
    """
    panels = [("loss", "self-replicating loss"), ("unexplained", "unexplained share of the weights")]
    if all("accuracy" in values for values in curves.values()):
        panels.append(("accuracy", "accuracy on held-out images"))
    figure = new_figure((4.6 * len(panels), 3.8), title)
    for axes, (metric, label) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for colour, (name, values) in zip(COLOURS, curves.items(), strict=False):
            data = np.atleast_2d(np.asarray(values[metric], np.float64))
            data = np.where(np.isfinite(data) & (data > 0), data, np.nan)
            moments = np.arange(data.shape[1])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # an epoch in which no seed is alive has no median
                median = np.nanmedian(data, axis=0)
            axes.plot(moments, median, color=colour, lw=1.6, label=name)
            for seed in data if len(data) > 1 else ():
                axes.plot(moments, seed, color=colour, lw=0.6, alpha=0.5)
        drawn = np.concatenate([line.get_ydata() for line in axes.lines])
        first, low, high = axes.lines[0].get_ydata()[0], np.nanmin(drawn), np.nanmax(drawn)
        if high > 5 * low:
            axes.set_yscale("log")
            axes.set_ylim(top=min(2 * high, 1e4 * first))  # what explodes is not followed to the end
        axes.set(xlabel=unit, ylabel=label)
        dress(axes)
        if metric == "unexplained":
            axes.axhline(1, color=INK, lw=0.8, ls=":")
            axes.annotate(
                "says nothing", (1, 1), (0, 3), ("axes fraction", "data"), "offset points", ha="right", fontsize=8
            )
    axes.legend(fontsize=8, frameon=False, loc="best")
    return figure


def trade_off_figure(points: Mapping[str, np.ndarray], baseline: float, title: str) -> Figure:
    """Accuracy against what replication leaves unexplained; the corner at the upper left is a quine that classifies.

    Args:
        points: by name, rows of (unexplained share, accuracy).
        baseline: accuracy of the task alone.
        title: heading.
    """
    figure = new_figure((5.6, 4.0), title)
    axes = figure.subplots()
    for colour, (name, rows) in zip(COLOURS, points.items(), strict=False):
        rows = np.atleast_2d(rows)
        axes.plot(rows[:, 0], 100 * rows[:, 1], "o", ms=5, color=colour, label=name, alpha=0.85)
    axes.axhline(100 * baseline, color=INK, lw=0.8, ls=":")
    axes.annotate(
        "the task alone",
        (1, 100 * baseline),
        (0, 3),
        ("axes fraction", "data"),
        "offset points",
        ha="right",
        fontsize=8,
    )
    axes.set(xscale="log", xlabel="unexplained share of the weights", ylabel="accuracy, %")
    dress(axes)
    axes.legend(fontsize=8, frameon=False, loc="center")
    return figure
