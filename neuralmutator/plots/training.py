"""One figure of a training: fitness, self-replication, mutators, species, topology and strategy genes."""

import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from neuralmutator.plots.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, dress, new_figure

PANEL_SIZE = (4.3, 2.9)  # inches
STEPS = (1, 2, 2.5, 5, 10)  # of the ticks
LABEL_GAP = 0.08  # least distance between two labels, in heights of a panel

Run = Mapping[str, np.ndarray]


class Curve(NamedTuple):
    """One metric as a line."""

    metric: str
    label: str
    colour: str
    style: str = "-"


class Panel(NamedTuple):
    """What one pair of axes shows, curves in the order of drawing; `right` has a scale of its own."""

    title: str
    unit: str
    curves: tuple[Curve, ...]
    right: tuple[str, Curve] | None = None
    log: bool = False


PANELS = (
    Panel(
        "Fitness",
        "fitness",
        (
            Curve("fitness_worst", "worst", GREY),
            Curve("fitness_mean", "mean", BLUE),
            Curve("fitness_best", "best", RED),
        ),
    ),
    Panel("Islands", "mean fitness of each", (Curve("island_fitness_mean", "", BLUE),)),
    Panel(
        "Rewriting of mutators",
        "‖rewriting − parent‖₂ of mutators",
        (Curve("replication_error_mean", "mean", BLUE), Curve("replication_error_best", "best", RED)),
    ),
    Panel(
        "Mutator drift",
        "‖mutator − founder‖₂",
        (Curve("mutator_drift_mean", "mean", BLUE), Curve("mutator_drift_max", "max", RED)),
    ),
    Panel(
        "Species",
        "number of species",
        (Curve("species", "all", PURPLE), Curve("species_effective", "effective", GREEN)),
    ),
    Panel(
        "Topology",
        "hidden neurons (mean)",
        (Curve("neurons_mean", "", BLUE),),
        right=("hidden layers (mean)", Curve("layers_mean", "", ORANGE, "--")),
    ),
    Panel(
        "Strategy genes",
        "value (mean)",
        (
            Curve("correction_scale_policy", "correct policy", BLUE),
            Curve("correction_scale_meta", "correct mutator", BLUE, "--"),
            Curve("explore_scale_policy", "explore policy", ORANGE),
            Curve("explore_scale_meta", "explore mutator", ORANGE, "--"),
            Curve("gauss_scale", "escape scale", GREEN),
            Curve("p_gauss", "escape probability", GREEN, "--"),
            Curve("step_size", "step size", PURPLE),
            Curve("last_change", "last change", RED),
            Curve("shape_spread", "shape spread", GREY),
        ),
        log=True,
    ),
)


def training_figure(runs: Sequence[Run], title: str) -> Figure:
    """Everything that a training reports about itself, one panel per question.

    One run is drawn as it was, with a band of one standard deviation around the mean fitness. Of several runs the
    median and the interquartile range are drawn, up to the end of the shortest. Values that are not finite are left
    out, and so is a panel whose metrics no run has; that of species where there is only one.

    Args:
        runs: one dict per run, from the name of a metric in `Generation.metrics` to its values [generations]; those of
            single islands are [generations, I].
        title: heading of the figure.

    Returns:
        A figure of its own, outside pyplot; ``figure.savefig(path)`` writes it at 150 dpi.

    Raises:
        ValueError: if there is no run, no generation, or nothing to draw.
    """
    if not runs:
        raise ValueError("runs must hold at least one run, got none")
    runs = [_with_effective_species(run) for run in runs]
    shared = set.intersection(*(set(run) for run in runs))
    panels = [panel for panel in PANELS if any(curve.metric in shared for curve in panel.curves)]
    if not panels:
        raise ValueError(f"runs must have a metric that can be drawn in common, got {sorted(shared)}")
    length = min(len(run[name]) for run in runs for name in shared)
    if length == 0:
        raise ValueError("runs must hold at least one generation, got an empty one")

    columns = min(len(panels), 2 if len(panels) in (2, 4) else 3)
    rows = -(-len(panels) // columns)
    note = "one run" if len(runs) == 1 else f"median and interquartile range of {len(runs)} runs"
    figure = new_figure((PANEL_SIZE[0] * columns, PANEL_SIZE[1] * rows + 0.5), f"{title}  ·  {note}")
    for i, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, i + 1)
        drawn = [curve for curve in panel.curves if curve.metric in shared]
        _draw(axes, panel, drawn, runs, length)
        if panel.title == "Fitness" and len(runs) == 1:
            _spread(axes, runs[0])
        if panel.right and panel.right[1].metric in shared:
            _draw_right(axes, *panel.right, drawn[0].colour, runs, length)
        if i + columns >= len(panels):
            axes.set_xlabel("generation", fontsize=9, color=INK)
    return figure


def quartiles(runs: Sequence[Run], metric: str, length: int) -> np.ndarray:
    """Lower quartile, median and upper quartile over the runs, f64[3, length]; NaN where no run has a finite value."""
    values = np.stack([np.asarray(run[metric], np.float64)[:length] for run in runs])
    # Of islands, any island of any run.
    values = np.moveaxis(values.reshape(len(runs), length, -1), 2, 1).reshape(-1, length)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a generation without a finite value stays NaN
        return np.nanquantile(np.where(np.isfinite(values), values, np.nan), (0.25, 0.5, 0.75), axis=0)


def _with_effective_species(run: Run) -> Run:
    """The exponential of the entropy is the number of equally large species with that entropy: the unit of a count.

    Where there never was more than one species, on each of the islands if there are some, nothing of them is left.
    """
    if "species_entropy" not in run:
        return run
    islands = np.shape(run["island_fitness_mean"])[1] if "island_fitness_mean" in run else 1
    if np.max(run["species"], initial=0) <= islands:
        return {name: values for name, values in run.items() if not name.startswith("species")}
    return {**run, "species_effective": np.exp(run["species_entropy"])}


def _line(axes: Axes, curve: Curve, runs: Sequence[Run], length: int) -> float:
    """Draws one curve and gives its last finite value."""
    low, median, high = quartiles(runs, curve.metric, length)
    moments = np.arange(length)
    marker = "o" if length == 1 else None
    if len(runs) == 1 and np.ndim(runs[0][curve.metric]) > 1:
        axes.plot(moments, np.asarray(runs[0][curve.metric])[:length], color=GREY, lw=0.7, marker=marker, ms=3)
    axes.plot(moments, median, curve.style, color=curve.colour, lw=1.4, marker=marker, ms=4, gid=curve.metric)
    if len(runs) > 1:
        axes.fill_between(moments, low, high, color=curve.colour, alpha=0.15, lw=0)
    finite = median[np.isfinite(median)]
    return finite[-1] if finite.size else np.nan


def _draw(axes: Axes, panel: Panel, curves: Sequence[Curve], runs: Sequence[Run], length: int) -> None:
    ends = [_line(axes, curve, runs, length) for curve in curves]
    if panel.log:
        lowest = min(np.nanmin(line.get_ydata(), initial=np.inf) for line in axes.lines)
        # Strategy genes that nothing keeps positive would vanish from a logarithmic axis.
        axes.set_yscale("log") if lowest > 0 else axes.set_yscale("symlog", linthresh=1e-3)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=STEPS, integer=panel.title == "Species"))
    _dress(axes, length)
    axes.set_title(panel.title, loc="left", fontsize=10, fontweight="bold", color=INK)
    axes.set_ylabel(panel.unit, fontsize=9, color=INK)
    axes.set_ylim(*axes.get_ylim())  # labels are placed in this range, and it must not move afterwards
    _label(axes, curves, ends)


def _draw_right(axes: Axes, unit: str, curve: Curve, left: str, runs: Sequence[Run], length: int) -> None:
    other = axes.twinx()
    _line(other, curve, runs, length)
    _dress(other, length)
    other.grid(False)
    other.yaxis.set_major_locator(MaxNLocator(5, steps=STEPS))
    other.set_ylabel(unit, fontsize=9, color=curve.colour)
    other.tick_params(axis="y", labelcolor=curve.colour)
    axes.yaxis.label.set_color(left)
    axes.tick_params(axis="y", labelcolor=left)


def _spread(axes: Axes, run: Run) -> None:
    """Mean ± standard deviation of the fitness, no further than the best and the worst member."""
    if not {"fitness_mean", "fitness_std", "fitness_best", "fitness_worst"} <= set(run):
        return
    mean, std, best, worst = (run[f"fitness_{name}"] for name in ("mean", "std", "best", "worst"))
    low, high = np.maximum(mean - std, worst), np.minimum(mean + std, best)
    axes.fill_between(np.arange(len(mean)), low, high, color=BLUE, alpha=0.15, lw=0)


def _dress(axes: Axes, length: int) -> None:
    axes.set_xlim(0, max(length - 1, 1))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=STEPS, integer=True))
    dress(axes)


def _label(axes: Axes, curves: Sequence[Curve], ends: Sequence[float]) -> None:
    """Names the curves behind their ends, pushed apart where they would overlap."""
    to_panel = axes.transData + axes.transAxes.inverted()
    named = [(to_panel.transform((0, end))[1], curve) for curve, end in zip(curves, ends, strict=True) if curve.label]
    named = sorted(((y if np.isfinite(y) else 0.0, curve) for y, curve in named), key=lambda pair: pair[0])
    places = _apart(np.array([y for y, _ in named]), LABEL_GAP)
    for y, (_, curve) in zip(places, named, strict=True):
        axes.text(
            1.02, y, curve.label, transform=axes.transAxes, color=curve.colour, fontsize=8, va="center", ha="left"
        )


def _apart(places: np.ndarray, gap: float) -> np.ndarray:
    """Sorted places moved as little as it takes for neighbours to be `gap` apart (isotonic regression)."""
    offsets = gap * np.arange(len(places))
    blocks: list[list[float]] = []
    for value in places - offsets:
        blocks.append([value])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    return np.concatenate([np.full(len(block), np.mean(block)) for block in blocks] or [offsets]) + offsets
