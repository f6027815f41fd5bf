"""The figure of an analysis: what mutators change, how that is shaped, what it is worth, and whose line took over."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from neuralmutator.plots.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, dress, new_figure
from neuralmutator.study.analysis import Analysis

COLOURS = (RED, ORANGE, PURPLE, BLUE, GREY, GREEN)
SHAPES = (("correlation", "Mean cosine of two changes"), ("concentration", "Share of weights with 90 % of the change"))


def analysis_figure(maps: Mapping[str, Analysis], analyses: Sequence[Analysis]) -> Figure:
    """The figure.

    Args:
        maps: whose changes are shown along the genome, by what to call them.
        analyses: that are shown together, one for each run.
    """
    figure = new_figure((11.0, 1.9 * len(maps) + 5.6), "What the mutators have learnt")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[1.9 * len(maps), 5.6])[:, 0]
    for axes, (name, analysis) in zip(above.subplots(len(maps), 1, squeeze=False)[:, 0], maps.items(), strict=True):
        _changes(axes, name, analysis)
    grid = below.subplots(2, 2)
    for axes, (field, title) in zip(grid[0], SHAPES, strict=True):
        _shapes(axes, analyses, field, title)
    _worth(grid[1, 0], analyses)
    _founders(grid[1, 1], analyses)
    return figure


def _changes(axes: Axes, name: str, analysis: Analysis) -> None:
    """Changes as a map: a row is a child, a column a weight."""
    values = analysis.changed
    most = np.quantile(np.abs(values), 0.99) or 1.0
    image = axes.imshow(values, aspect="auto", cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest")
    for start in analysis.starts[1:]:
        axes.axvline(start - 0.5, color=INK, lw=0.8)
    axes.set_title(
        f"{name}: changes of the champion's policy (lines: layers' weights and biases)",
        loc="left",
        fontsize=9,
        color=INK,
    )
    axes.set_ylabel("child", fontsize=8, color=INK)
    axes.set_xlabel("weight", fontsize=8, color=INK)
    axes.tick_params(labelsize=7)
    axes.figure.colorbar(image, ax=axes, pad=0.01, fraction=0.03).ax.tick_params(labelsize=7)


def _shapes(axes: Axes, analyses: Sequence[Analysis], field: str, title: str) -> None:
    """A number of the shape, a dot for each run, by what made the changes."""
    dress(axes)
    sources = list(dict.fromkeys(source for analysis in analyses for source in analysis.shapes))
    for row, source in enumerate(sources):
        values = [float(getattr(x.shapes[source], field)) for x in analyses if source in x.shapes]
        shift = np.linspace(-0.18, 0.18, len(values)) if len(values) > 1 else [0.0]
        axes.plot(values, row + np.asarray(shift), "o", ms=4, color=COLOURS[row], alpha=0.75)
        axes.plot([np.median(values)] * 2, [row - 0.3, row + 0.3], color=INK, lw=1.2)
    axes.set_yticks(range(len(sources)), sources, fontsize=8)
    axes.invert_yaxis()
    axes.set_title(title, loc="left", fontsize=9, color=INK)


def _worth(axes: Axes, analyses: Sequence[Analysis]) -> None:
    """Share of children that are better, by the size of the change."""
    dress(axes)
    sources = list(dict.fromkeys(source for analysis in analyses for source in analysis.better))
    for row, source in enumerate(sources):
        having = [x for x in analyses if source in x.better]
        sizes = np.median([x.sizes[source] for x in having], axis=0)
        better = 100 * np.mean([x.better[source] for x in having], axis=0)
        axes.plot(sizes, better, "o-", ms=4, lw=1.5, color=COLOURS[row], label=source)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_title("Children better than the champion, %", loc="left", fontsize=9, color=INK)
    axes.set_xlabel("root mean square of the change", fontsize=8, color=INK)
    axes.legend(fontsize=7, frameon=False)


def _founders(axes: Axes, analyses: Sequence[Analysis]) -> None:
    """Founders of which descendants are left, a line for each run."""
    dress(axes)
    for analysis in analyses:
        axes.plot(analysis.founders, color=BLUE, lw=1, alpha=0.7)
    axes.set_yscale("log")
    most = max(int(analysis.founders[0]) for analysis in analyses)
    ticks = [step * 10**power for power in range(6) for step in (1, 2, 5) if step * 10**power <= most]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(bottom=0.9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("Founders with descendants", loc="left", fontsize=9, color=INK)
    axes.set_xlabel("generation", fontsize=8, color=INK)
