"""Pictures of reaction networks: species and reactions as a graph, and concentrations over time."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.ticker import NullFormatter

from neuralmutator.chemistry.reactions import Reactions, check_rates
from neuralmutator.plots.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, dress, new_figure

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, RED, GREY)


def reactions_figure(
    reactions: Reactions, rates: Sequence[float] | np.ndarray, title: str, least: float = 0.0, most: int = 16
) -> Figure:
    """The reactions that are left, the fastest at the top, each a row: what meets on its left, what parts on its right.

    A line from a species of the left column runs to a reaction that takes it, and from a reaction to a species of the
    right column that it gives; two molecules are two lines, and the bars are the rates, on a logarithmic scale.

    Args:
        reactions: which.
        rates: f32[R].
        title: heading.
        least: rates up to this are left out.
        most: reactions that are drawn at most; the picture says how many slower ones there are.
    """
    rates = check_rates(reactions, rates)
    order = [int(r) for r in np.argsort(-rates, kind="stable") if rates[r] > least]
    drawn, texts = order[:most], reactions.texts
    rows, width = len(drawn), len(reactions.species)
    figure = new_figure((8.2, 1.3 + 0.36 * max(rows, width + 1)), title)
    graph, bars = figure.subplots(1, 2, width_ratios=[3.2, 1], sharey=True)
    heights = np.linspace(0, max(rows - 1, 0), width) if rows > 1 and width > 1 else np.zeros(width)
    for row, r in enumerate(drawn):
        for counts, side in ((reactions.reactants[r], -1), (reactions.products[r], 1)):
            for s in np.flatnonzero(counts).tolist():
                _connect(graph, side, heights[s], row, int(counts[s]), COLOURS[s % len(COLOURS)])
        graph.text(
            0,
            row,
            texts[r].replace("->", "→"),
            ha="center",
            va="center",
            fontsize=9,
            color=INK,
            bbox={"boxstyle": "round,pad=0.25", "fc": "white", "ec": "#b9bdc4", "lw": 0.8},
            zorder=4,
        )
    for side in (-1, 1):
        for s, name in enumerate(reactions.species):
            graph.plot(side, heights[s], "o", ms=17, color=COLOURS[s % len(COLOURS)], zorder=4)
            graph.text(side, heights[s], name, color="white", ha="center", va="center", fontsize=9, zorder=5)
    graph.set(xlim=(-1.12, 1.12), ylim=(rows - 0.4, -0.6), xticks=[-1, 0, 1])
    graph.set_xticklabels(["takes", "reaction", "gives"], fontsize=8, color=INK)
    graph.tick_params(length=0)
    graph.yaxis.set_visible(False)
    graph.spines[:].set_visible(False)
    dress(bars)
    if drawn:
        bars.barh(range(rows), rates[drawn], height=0.5, color=INK, alpha=0.75)
        bars.set_xscale("log")
        bars.set_xlim(10 ** np.floor(np.log10(rates[drawn].min() / 2)), rates[drawn].max() * 8)
        bars.xaxis.set_minor_formatter(NullFormatter())
        for row, r in enumerate(drawn):
            bars.text(rates[r] * 1.15, row, f"{rates[r]:.3g}", va="center", fontsize=8, color=INK)
    bars.grid(axis="y", visible=False)
    bars.tick_params(axis="y", left=False, labelleft=False)
    bars.set_xlabel("rate constant", fontsize=9)
    if len(order) > rows:
        bars.set_title(f"{len(order) - rows} slower ones are not drawn", fontsize=8, color=INK, loc="right")
    return figure


def concentrations_figure(
    times: np.ndarray,
    courses: np.ndarray,
    species: Sequence[str],
    title: str,
    wanted: Mapping[str, np.ndarray] | None = None,
    trained: float | None = None,
) -> Figure:
    """Concentrations over time.

    Args:
        times: f32[T].
        courses: f32[T, S] or, one picture below the other, f32[n, T, S].
        species: names of the S columns.
        title: heading.
        wanted: what a species was to do, f32[T], dashed.
        trained: time up to which it was trained; a line marks it.
    """
    courses = np.asarray(courses)
    stack = courses[None] if courses.ndim == 2 else courses
    figure = new_figure((7.6, 1.0 + 1.9 * len(stack)), title)
    panels = figure.subplots(len(stack), 1, sharex=True, squeeze=False)[:, 0]
    for axes, course in zip(panels, stack, strict=True):
        for s, name in enumerate(species):
            axes.plot(times, course[:, s], color=COLOURS[s % len(COLOURS)], lw=1.5, label=name)
        for name, values in (wanted or {}).items():
            axes.plot(times, values, "--", color=INK, lw=0.9, label=f"{name}, wanted")
        if trained is not None:
            axes.axvline(trained, color=INK, lw=0.8, ls=":")
            axes.annotate(
                "trained up to here",
                (trained, 1),
                (-4, 2),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="right",
                fontsize=8,
                color=INK,
            )
        axes.set(ylabel="concentration", xlim=(0, float(np.max(times))))
        axes.set_ylim(bottom=0)
        dress(axes)
    panels[0].legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    panels[-1].set_xlabel("time")
    return figure


def _connect(axes: Axes, side: int, height: float, row: int, count: int, colour: str) -> None:
    """`count` curves between a species and a reaction, pointing to the right."""
    species, reaction = (side, height), (side * 0.22, float(row))
    ends = (species, reaction) if side < 0 else (reaction, species)
    for offset in np.linspace(-0.09, 0.09, count) if count > 1 else [0.0]:
        shifted = [(x, y + offset) for x, y in ends]
        arrow = FancyArrowPatch(
            *shifted,
            arrowstyle="-|>",
            mutation_scale=8,
            shrinkA=9 if side < 0 else 1,
            shrinkB=1 if side < 0 else 10,
            color=colour,
            lw=1.1,
            alpha=0.85,
            zorder=2,
            connectionstyle="arc3",
        )
        axes.add_patch(arrow)
