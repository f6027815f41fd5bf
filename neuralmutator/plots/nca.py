"""Pictures of cellular automata: how the loss fell, film strips, what becomes of a pattern, a sheet of the pool."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from neuralmutator.plots.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, dress, new_figure


def loss_figure(
    metrics: Mapping[str, np.ndarray], title: str, drop_at: int | None = None, drop: str = "/ 10"
) -> Figure:
    """Loss of every training step, and its running median.

    Args:
        metrics: ``log10_loss`` f64[steps].
        title: heading.
        drop_at: step at which the learning rate drops.
        drop: by how much it does.
    """
    losses = metrics["log10_loss"]
    figure = new_figure((6.4, 3.6), title)
    axes = figure.subplots()
    axes.plot(losses, ".", ms=2, color=GREY, alpha=0.5, label="a batch")
    half = max(len(losses) // 80, 1)
    places = np.arange(0, len(losses), max(half // 2, 1))
    medians = [np.nanmedian(losses[max(i - half, 0) : i + half + 1]) for i in places]
    axes.plot(places, medians, color=BLUE, lw=1.6, label="running median")
    if drop_at is not None and drop_at < len(losses):
        axes.axvline(drop_at, color=INK, lw=0.8, ls=":")
        axes.annotate(
            f"learning rate {drop}",
            (drop_at, 0.7),
            (4, 0),
            ("data", "axes fraction"),
            "offset points",
            fontsize=8,
        )
    seen = losses[np.isfinite(losses)]
    axes.set(xlabel="training step", ylabel="log10 loss", ylim=(seen.min() - 0.1, np.quantile(seen, 0.995) + 0.3))
    dress(axes)
    axes.legend(fontsize=8, frameon=False, loc="upper right")
    return figure


def course_figure(losses: Mapping[str, np.ndarray], title: str, damage_at: int | None = None) -> Figure:
    """What becomes of patterns: losses after every update, the median of several growths within the range of all.

    Args:
        losses: f32[growths, updates] by what grows.
        title: heading.
        damage_at: update after which something was erased; without it time is on a logarithmic scale.
    """
    figure = new_figure((6.4, 3.6), title)
    axes = figure.subplots()
    for (name, values), colour in zip(losses.items(), (BLUE, ORANGE, GREEN, RED, PURPLE, GREY), strict=False):
        courses = np.log10(np.asarray(values, np.float64))
        updates = np.arange(1, courses.shape[1] + 1)
        axes.fill_between(updates, courses.min(axis=0), courses.max(axis=0), color=colour, alpha=0.2, lw=0)
        axes.plot(updates, np.median(courses, axis=0), color=colour, lw=1.5, label=name)
    if damage_at is None:
        axes.set_xscale("log")
    else:
        axes.axvline(damage_at, color=INK, lw=0.8, ls=":")
    axes.set(xlabel="updates", ylabel="log10 loss")
    dress(axes)
    axes.legend(fontsize=8, frameon=False)
    return figure


def film_strip(
    frames: Sequence[np.ndarray], labels: Sequence[str], title: str, columns: int = 8, rows: Sequence[str] = ()
) -> Figure:
    """Grids side by side.

    Args:
        frames: f32[H, W, 3] of 0 to 1 each.
        labels: one for each frame, below it.
        title: heading.
        columns: frames in a row.
        rows: names of the rows, if they have any.
    """
    columns = min(columns, len(frames))
    lines = -(-len(frames) // columns)
    figure = new_figure((1.25 * columns, 1.45 * lines + 0.45), title)
    for axes in np.ravel(figure.subplots(lines, columns, squeeze=False)):
        axes.set_axis_off()
    for axes, frame, label in zip(figure.axes, frames, labels, strict=False):
        axes.set_axis_on()
        axes.imshow(frame, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color("#d5d8dd")
        axes.set_xlabel(label, fontsize=8, color=INK)
    for axes, name in zip(figure.axes[::columns], rows, strict=False):
        axes.set_ylabel(name, fontsize=9, color=INK)
    return figure


def pool_sheet(grids: np.ndarray, title: str, columns: int = 12) -> Figure:
    """What lives in the pool, f32[n, H, W, 3] of 0 to 1, as one picture."""
    columns = min(columns, len(grids))
    rows = -(-len(grids) // columns)
    height, width = grids.shape[1:3]
    filled = np.ones((rows * columns, height, width, 3), np.float32)
    filled[: len(grids)] = grids
    sheet = filled.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, columns * width, 3)
    figure = new_figure((8, 8 * rows * height / (columns * width) + 0.5), title)
    axes = figure.subplots()
    axes.imshow(sheet, interpolation="nearest")
    axes.set_axis_off()
    return figure


def film_frames(frames: np.ndarray, scale: int) -> Iterator[np.ndarray]:
    """Frames u8[T, H, W, 3] with every cell a square of `scale` pixels, u8[H scale, W scale, 3] of even sides."""
    for frame in frames:
        picture = Image.fromarray(frame).resize(
            (frame.shape[1] * scale, frame.shape[0] * scale), Image.Resampling.NEAREST
        )
        even = (picture.width // 2 * 2, picture.height // 2 * 2)
        yield np.asarray(picture.crop((0, 0, *even)))
