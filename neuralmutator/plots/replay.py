"""A film of one episode: the game on the left, what the policy sees, thinks and does on the right."""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from neuralmutator.fitness.host import Recording
from neuralmutator.plots.video import check_video, write_video

INK, FAINT, EDGE, BAND, CHOSEN = "#2b2f36", "#8a8f98", "#b9bdc4", "#f1f3f6", "#2b2f36"
SHADES = (matplotlib.colormaps["RdBu_r"](np.linspace(0.04, 0.96, 256))[:, :3] * 255).astype(np.float32)  # low … high

# Sizes in pixels.
WIDTH, MARGIN, HEAD = 1280, 28, 72
GAME_SIDE, LEAST_HEIGHT = 560, 440  # of what is below the heading
LABEL, LEGEND = 34, 44  # above and below the network
ROW, DISC, TILE = 48, 26, 64  # most height of a named row, most diameter of a neuron, most side of a feature map
LEAST_ROW = 17  # rows any closer are not named but drawn as a block
LONGEST_NAME = 20  # characters
WIDEST_NUMBER = "−00.00"
GAP = 40  # distance between two layers


class Layer(NamedTuple):
    """One layer's place in the picture: a grid of cells, filled column by column."""

    left: int
    top: int
    rows: int
    columns: int
    cell: int  # side
    shades: np.ndarray  # u8[T, n, h, w] index into SHADES; h = w = 1 for neurons, else a feature map
    ground: np.ndarray  # f32[cell, cell, 3] picture of a cell without its colour …
    weight: np.ndarray  # f32[cell, cell, 1] … and how much of the colour is added to it

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom."""
        return self.left, self.top, self.left + self.columns * self.cell, self.top + self.rows * self.cell


def replay_video(
    recording: Recording, names: Sequence[str], action_names: Sequence[str], title: str, path: str | Path, fps: int = 30
) -> Path:
    """Writes a film of an episode with the policy's live activations.

    Colours run from blue (negative) over white (0) to red (positive), relative to the largest absolute value in the
    episode: of each input by itself, of each other layer as a whole. Layers of one dimension are neurons, those of
    three (height, width, channels) are feature maps; of discrete actions the chosen one is marked.

    Args:
        recording: the episode, see `fitness.host.record`.
        names: one name per number of an observation; not shown for pictures, or where there is no room.
        action_names: one name per output.
        title: heading.
        path: the film, .mp4 or .gif.
        fps: frames per second; a GIF shows at most 50, in steps of 10 milliseconds.

    Returns:
        The path that was written: `path`, or a GIF of the same name where there is no encoder for MP4.

    Raises:
        ValueError: if the episode is empty, the numbers of names do not fit it, or the path is not a film's.
    """
    check_video(path, fps)
    if len(recording.frames) == 0:
        raise ValueError("recording must hold at least one step, got none")
    for argument, given, wanted in (
        ("names", names, recording.observations[:1].size),
        ("action_names", action_names, recording.activations[-1][:1].size),
    ):
        if len(given) != wanted:
            raise ValueError(f"{argument} must hold {wanted} names, got {len(given)}")
    return write_video(pictures(recording, names, action_names, title), path, fps, gif_reduction=2)


def pictures(
    recording: Recording, names: Sequence[str], action_names: Sequence[str], title: str
) -> Iterator[np.ndarray]:
    """The frames of `replay_video`, u8[height, 1280, 3] with an even height."""
    steps, height, width = recording.frames.shape[:3]
    scale = min(GAME_SIDE / width, GAME_SIDE / height)
    game = (round(width * scale), round(height * scale))
    body = max(game[1], LEAST_HEIGHT)
    canvas = Image.new("RGB", (WIDTH, (HEAD + body + MARGIN + 1) // 2 * 2), "white")
    corner = (MARGIN + (GAME_SIDE - game[0]) // 2, HEAD + (body - game[1]) // 2)
    named = [[_short(name) for name in names], *([] for _ in recording.activations[:-1]), [*map(_short, action_names)]]
    values = [recording.observations.astype(np.float32), *recording.activations]
    for i in (0, -1):
        if values[i].ndim != 2 or values[i].shape[1] * LEAST_ROW > body - LABEL - LEGEND:
            named[i] = []
    layers = _layout(values, named, MARGIN + GAME_SIDE + MARGIN, HEAD, body)
    _background(canvas, layers, named, title, (*corner, corner[0] + game[0], corner[1] + game[1]))
    background = np.asarray(canvas)
    discrete = np.issubdtype(recording.actions.dtype, np.integer)
    outputs = values[-1] if discrete else recording.actions.reshape(steps, -1)  # what the game was given
    returns = np.cumsum(recording.rewards)
    for t in range(steps):
        picture = background.copy()
        for layer in layers:
            left, top, right, bottom = layer.box
            picture[top:bottom, left:right] = _cells(layer, t)
        canvas = Image.fromarray(picture)
        canvas.paste(Image.fromarray(recording.frames[t]).resize(game, Image.Resampling.BILINEAR), corner)
        draw = ImageDraw.Draw(canvas)
        draw.text((WIDTH - MARGIN, 36), f"return {_number(returns[t])}", INK, _font(20, bold=True), "rm")
        draw.text((WIDTH - MARGIN - 210, 36), f"step {t + 1} of {steps}", FAINT, _font(18), "rm")
        for i in range(len(named[0])):
            x, y = layers[0].left - 8, _middle(layers[0], i)
            draw.text((x, y), _number(values[0][t, i]), INK, _font(14), "rm")
        for i in range(len(named[-1])):
            x, y = layers[-1].box[2] + 8, _middle(layers[-1], i)
            chosen = discrete and recording.actions[t] == i
            if chosen:
                draw.rounded_rectangle((x - 2, y - 13, WIDTH - MARGIN, y + 13), 6, CHOSEN)
            draw.text((x + 6, y), named[-1][i], "white" if chosen else INK, _font(14, bold=bool(chosen)), "lm")
            draw.text((WIDTH - MARGIN - 8, y), _number(outputs[t, i]), "white" if chosen else FAINT, _font(14), "rm")
        yield np.asarray(canvas)


def _layout(
    values: Sequence[np.ndarray], named: Sequence[Sequence[str]], left: int, top: int, height: int
) -> list[Layer]:
    """Places the layers from `left` to the right margin: inputs, hidden layers …, outputs."""
    top, height = top + LABEL, height - LABEL - LEGEND
    numbers = _width(WIDEST_NUMBER, _font(14))
    before = max((_width(name, _font(14)) for name in named[0]), default=-numbers - 24) + numbers + 24
    after = max((_width(name, _font(14, bold=True)) for name in named[-1]), default=-numbers - 38) + numbers + 38
    start, end = left + before, WIDTH - MARGIN - after
    shades = [_shades(layer, own_scale=i == 0) for i, layer in enumerate(values)]
    heights = {i: min(ROW, height // len(labels)) for i, labels in enumerate(named) if labels}
    gaps = min(GAP, (end - start) // (3 * len(values)))
    room = (end - start - gaps * (len(values) - 1) - sum(heights.values())) // max(1, len(values) - len(heights))
    sizes = []
    for i, x in enumerate(shades):
        if i in heights:
            sizes.append((x.shape[1], 1, heights[i]))
        else:
            sizes.append(_grid(x.shape[1], room, height, TILE if x.shape[2:] != (1, 1) else DISC))
    gap = (end - start - sum(columns * cell for _, columns, cell in sizes)) / max(1, len(values) - 1)
    layers, x0 = [], float(start)
    for (rows, columns, cell), x in zip(sizes, shades, strict=True):
        above = (height - rows * cell) // 2
        layers.append(Layer(round(x0), top + above, rows, columns, cell, x, *_cell(cell, x.shape[2:])))
        x0 += columns * cell + gap
    return layers


def _grid(count: int, width: int, height: int, most: int) -> tuple[int, int, int]:
    """Rows, columns and cell of the largest square cells, at most `most` wide, that fit `count` times into a box."""
    cell = next((c for c in range(most, 1, -1) if (height // c) * (width // c) >= count), 1)
    columns = -(-count // (height // cell))
    return -(-count // columns), columns, cell


def _shades(values: np.ndarray, own_scale: bool) -> np.ndarray:
    """Activations [T, ...] as u8[T, n, h, w]; on a scale for each neuron, or one for the layer."""
    x = np.nan_to_num(values.astype(np.float32), posinf=0, neginf=0)
    x = x.transpose(0, 3, 1, 2) if x.ndim == 4 else x.reshape(len(x), -1, 1, 1)
    largest = np.abs(x).max(axis=(0, 2, 3) if own_scale else None, keepdims=True)
    return np.round(127.5 + 127.5 * x / np.maximum(largest, 1e-9)).astype(np.uint8)


def _cell(size: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Ground f32[size, size, 3] and weight f32[size, size, 1] of a cell: a disc with an edge, or a rectangle."""
    fine = 8  # drawn large and averaged: smooth edges
    body, edge = (Image.new("L", (size * fine, size * fine)) for _ in range(2))
    across = size - (0 if size < 3 else 1 if size < 6 else 2)
    across = min(across, DISC) if shape == (1, 1) else across
    half = np.array([across, across]) / 2 if shape == (1, 1) else np.array(shape[::-1]) * across / max(shape) / 2
    outer = [*((size / 2 - half) * fine), *((size / 2 + half) * fine)]
    for picture, inset in ((edge, 0), (body, 0 if size < 6 else fine)):
        draw = ImageDraw.Draw(picture)
        box = [outer[0] + inset, outer[1] + inset, outer[2] - inset, outer[3] - inset]
        (draw.ellipse if shape == (1, 1) and size >= 6 else draw.rectangle)(box, 255)
    inside, whole = (np.asarray(x.reduce(fine), np.float32)[..., None] / 255 for x in (body, edge))
    line = np.array(Image.new("RGB", (1, 1), EDGE), np.float32)
    return (1 - whole) * 255 + (whole - inside) * line, inside


def _cells(layer: Layer, t: int) -> np.ndarray:
    """Picture of a layer at step t, [rows * cell, columns * cell, 3]."""
    colours = SHADES[layer.shades[t]]
    n, h, w = colours.shape[:3]
    if (h, w) != (1, 1):
        pixels = (np.arange(layer.cell) + 0.5) / layer.cell - 0.5
        at_y, at_x = ((pixels * max(h, w) + side / 2).clip(0, side - 1).astype(int) for side in (h, w))
        colours = colours[:, at_y][:, :, at_x]
    cells = np.full((layer.rows * layer.columns, layer.cell, layer.cell, 3), 255.0, np.float32)
    cells[:n] = layer.ground + layer.weight * colours
    grid = cells.reshape(layer.columns, layer.rows, layer.cell, layer.cell, 3).transpose(1, 2, 0, 3, 4)
    return grid.reshape(layer.rows * layer.cell, layer.columns * layer.cell, 3)


def _background(
    canvas: Image.Image,
    layers: Sequence[Layer],
    named: Sequence[Sequence[str]],
    title: str,
    game: tuple[int, int, int, int],
) -> None:
    """Everything that does not move."""
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN, 36), title, INK, _font(22, bold=True), "lm")
    draw.rectangle((game[0] - 1, game[1] - 1, game[2], game[3]), outline=EDGE)
    for a, b in pairwise(layers):
        (_, a_top, x, a_bottom), (to, b_top, _, b_bottom) = a.box, b.box
        draw.polygon([(x + 4, a_top), (to - 4, b_top), (to - 4, b_bottom), (x + 4, a_bottom)], BAND)
    spacing = min(((b.box[0] + b.box[2]) - (a.box[0] + a.box[2])) / 2 for a, b in pairwise(layers))
    for i, layer in enumerate(layers):
        middle = (layer.box[0] + layer.box[2]) / 2
        kind = "neurons" if layer.shades.shape[2:] == (1, 1) else "maps"
        label = "input" if i == 0 else "output" if i == len(layers) - 1 else f"{layer.shades.shape[1]} {kind}"
        if _width(label, _font(13)) + 12 > spacing:
            label = label.removesuffix(kind)
        draw.text((middle, min(x.top for x in layers) - 14), label, FAINT, _font(13), "ms")
    for i, name in enumerate(named[0]):
        x = layers[0].left - 8 - _width(WIDEST_NUMBER, _font(14)) - 10
        draw.text((x, _middle(layers[0], i)), name, INK, _font(14), "rm")
    bar = np.repeat(SHADES[None], 8, axis=0).astype(np.uint8)
    x, y = (layers[0].left + layers[-1].box[2] - 256) // 2, canvas.height - MARGIN - 22
    canvas.paste(Image.fromarray(bar).resize((256, 8)), (x, y))
    for at, label in ((-14, "−"), (270, "+")):
        draw.text((x + at, y + 4), label, FAINT, _font(15), "mm")


def _middle(layer: Layer, row: int) -> float:
    return layer.top + (row + 0.5) * layer.cell


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _number(value: float) -> str:
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    return f"{value:z.{digits}f}".replace("-", "−")


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Matplotlib's own font, so that a film looks the same everywhere."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)), size)


def _width(text: str, font: ImageFont.FreeTypeFont) -> int:
    return int(np.ceil(font.getlength(text)))
