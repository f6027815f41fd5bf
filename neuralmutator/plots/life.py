"""Pictures of soups of programs: bytes coloured by what they do, and the course of a run."""

import colorsys
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image, ImageDraw

from neuralmutator.plots.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, dress, new_figure

COLOURS = {
    "<": "#4f9dea",
    ">": "#2c63c8",
    "{": "#59d0c2",
    "}": "#1f9488",
    "+": "#a5d65a",
    "-": "#5f9a33",
    ".": "#ffc845",
    ",": "#f0803c",
    ";": "#f0803c",
    "[": "#f06cc0",
    "]": "#a04fd8",
    "0": "#000000",
}
"""Of what bytes do in the languages with brackets."""

GAP = 4
"""Pixels between two columns of programs."""

PANEL = (380, 480)
"""Least width and height of the curve in a film, pixels."""


def palette(symbols: Sequence[str]) -> np.ndarray:
    """A colour for each of 256 bytes, u8[256, 3]: bright where it does something, and dark where it does nothing.

    Args:
        symbols: what each byte is written as; "" where it does nothing.
    """

    def colour(byte: int) -> list[int]:
        symbol = symbols[byte]
        if symbol in COLOURS:
            return [int(COLOURS[symbol][place : place + 2], 16) for place in (1, 3, 5)]
        acts = bool(symbol)
        light, vivid = (0.35 + 0.3 * (byte % 5) / 4, 0.6) if acts else (0.12 + 0.16 * (byte % 7) / 6, 0.18)
        return [round(255 * part) for part in colorsys.hls_to_rgb(byte / 256, light, vivid)]

    return np.array([colour(byte) for byte in range(256)], np.uint8)


def soup_image(
    programs: np.ndarray, colours: np.ndarray, shape: tuple[int, int] | None = None, most: int = 1024
) -> np.ndarray:
    """The bytes of a soup as a picture.

    Programs without a place are rows of pixels, one below the other in columns; copies then show as stripes. Programs
    on a grid are squares in their places. Of large soups equally many programs are left out between those shown.

    Args:
        programs: u8[n, L].
        colours: u8[256, 3].
        shape: height and width of the grid.
        most: pixels at most along a side.

    Returns:
        u8[H, W, 3].
    """
    n, length = programs.shape
    if shape is None:
        columns = max(min(most // (length + GAP), round((n / length) ** 0.5)), 1)
        rows = min(-(-n // columns), most)
        shown = programs[np.arange(columns * rows) * n // (columns * rows)].reshape(columns, rows, length)
        picture = np.full((rows, columns * (length + GAP) - GAP, 3), 255, np.uint8)
        for column, part in enumerate(shown):
            start = column * (length + GAP)
            picture[:, start : start + length] = colours[part]
        return picture
    high = 2 ** (length.bit_length() // 2)
    side = (length // high, high)
    step = max(-(-shape[0] * side[0] // most), -(-shape[1] * side[1] // most))
    placed = programs.reshape(*shape, length)[::step, ::step]
    squares = placed.reshape(*placed.shape[:2], *side).swapaxes(1, 2)
    return colours[squares.reshape(placed.shape[0] * side[0], placed.shape[1] * side[1])]


def soup_figure(
    programs: np.ndarray, symbols: Sequence[str], shape: tuple[int, int] | None = None, title: str = ""
) -> Figure:
    """The bytes of a soup, see `soup_image`, with the colours of what they do below."""
    image = soup_image(programs, palette(symbols), shape, 1024 if shape else 400)
    figure = new_figure((6.4, 0.6 + 6.0 * min(image.shape[0] / image.shape[1], 1.5)), title)
    axes = figure.subplots()
    axes.imshow(image, interpolation="nearest")
    axes.set_axis_off()
    if len(set(symbols)) < 20:
        patches = [Patch(color=colour, label=symbol) for symbol, colour in COLOURS.items() if symbol in symbols]
        figure.legend(
            handles=patches,
            loc="outside lower left",
            ncols=len(patches),
            frameon=False,
            prop={"family": "monospace", "size": 10},
            handlelength=1,
            handleheight=1,
            handletextpad=0.5,
            columnspacing=1.2,
        )
    return figure


def course_figure(
    courses: Sequence[tuple[str, Mapping[str, np.ndarray]]], programs: Sequence[int], title: str
) -> Figure:
    """How entropy, the work of programs and the share of the most frequent one went in some runs.

    Args:
        courses: label and metrics f64[epochs] of every run; what was not measured in an epoch is NaN.
        programs: how many there are in each.
        title: heading.
    """
    figure = new_figure((12.6, 3.8), title)
    entropy, work, share = figure.subplots(1, 3)
    colours = (BLUE, ORANGE, GREEN, RED, PURPLE, GREY)
    for place, ((label, metrics), count) in enumerate(zip(courses, programs, strict=True)):
        colour = colours[place % len(colours)]
        epochs = metrics["epoch"] + 1
        measured = np.isfinite(metrics["high_order_entropy"])
        one = len(courses) == 1
        for name, line, about in (
            ("high_order_entropy", "-", "high-order entropy"),
            ("shannon_entropy", ":", "Shannon"),
        ):
            if name == "high_order_entropy" or one:
                text = about if one else label
                entropy.plot(epochs[measured], metrics[name][measured], line, color=colour, lw=1.6, label=text)
        work.plot(epochs, metrics["operations"], color=colour, lw=1.0)
        for name, line, about in (("most_frequent", "-", "the most frequent"), ("distinct", ":", "different ones")):
            if name == "most_frequent" or one:
                values = 100 * metrics[name][measured] / count
                share.plot(epochs[measured], values, line, color=colour, lw=1.6, label=about if one else None)
    entropy.axhline(1, color=INK, lw=0.8, ls="--")
    entropy.annotate(
        "takeover", (1, 1), (0, 3), ("axes fraction", "data"), "offset points", ha="right", fontsize=8, color=INK
    )
    entropy.set(xlabel="epoch", ylabel="bits of a byte")
    work.set(xlabel="epoch", ylabel="operations of a pair")
    work.set_ylim(bottom=0)
    share.set(xlabel="epoch", ylabel="share of the programs, %", ylim=(0, 103))
    for axes in (entropy, work, share):
        dress(axes)
    entropy.legend(fontsize=8, frameon=False, loc="best")
    if len(courses) == 1:
        share.legend(fontsize=8, frameon=False, loc="best")
    return figure


def film_frames(
    soups: Iterator[tuple[int, np.ndarray]],
    entropies: Mapping[int, float],
    symbols: Sequence[str],
    title: str,
    shape: tuple[int, int] | None = None,
) -> Iterator[np.ndarray]:
    """Frames of a film: the soup, and the entropy up to its moment beside it.

    Args:
        soups: number of epochs and bytes u8[n, L] of every frame.
        entropies: high-order entropy by the number of epochs.
        symbols: of the language.
        title: heading.
        shape: height and width of the grid, if the soup has one.

    Yields:
        u8[H, W, 3] of even sides.
    """
    colours = palette(symbols)
    epochs = sorted(entropies)
    paper = None
    for epoch, programs in soups:
        image = soup_image(programs, colours, shape, 640 if shape else 300)
        scale = max(min(640 // image.shape[0], 760 // image.shape[1]), 1)
        image = image.repeat(scale, 0).repeat(scale, 1)
        if paper is None:
            paper, points = _curve_paper([entropies[epoch] for epoch in epochs], epochs, title, image.shape[0])
        panel = Image.fromarray(paper)
        draw = ImageDraw.Draw(panel)
        until = [point for known, point in zip(epochs, points, strict=True) if known <= epoch]
        if len(until) > 1:
            draw.line(until, fill=BLUE, width=3, joint="curve")
        if until:
            x, y = until[-1]
            draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=ORANGE)
        draw.text((20, 36), f"epoch {epoch:,}", fill=INK, font_size=15)
        height = max(image.shape[0], panel.height)
        frame = np.full((height + height % 2, image.shape[1] + panel.width, 3), 255, np.uint8)
        top = (height - image.shape[0]) // 2
        frame[top : top + image.shape[0], : image.shape[1]] = image
        frame[: panel.height, image.shape[1] :] = np.asarray(panel)
        yield frame[:, : frame.shape[1] // 2 * 2]


def _curve_paper(
    values: Sequence[float], epochs: Sequence[int], title: str, height: int
) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """An empty diagram u8[H, W, 3], and where its points are in pixels from the left and the top."""
    width, height = PANEL[0], max(height, PANEL[1])
    figure = new_figure((width / 150 * 1.5, height / 150 * 1.5), "")
    figure.set_dpi(100)
    figure.text(20 / width, 1 - 26 / height, title, fontsize=10, color=INK)
    axes = figure.subplots()
    figure.get_layout_engine().set(rect=(0.03, 0.01, 0.93, 0.99 - 66 / height))  # type: ignore[union-attr, call-arg]
    axes.plot(epochs, values, color="#dfe2e6", lw=1)
    axes.axhline(1, color=INK, lw=0.8, ls="--")
    axes.set(
        xlabel="epoch", ylabel="high-order entropy, bits", ylim=(min(-0.1, *values) - 0.05, max(1.2, *values) + 0.2)
    )
    dress(axes)
    figure.canvas.draw()
    picture = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()  # type: ignore[attr-defined]
    places = axes.transData.transform(np.column_stack([epochs, values]))
    return picture, [(float(x), picture.shape[0] - float(y)) for x, y in places]
