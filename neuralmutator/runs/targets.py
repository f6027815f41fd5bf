"""Images for automata to grow or to paint: files, emoji by name, and those that come with the package."""

import unicodedata
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

from neuralmutator.core import check
from neuralmutator.nca.patterns import PATTERNS

BUNDLED = "newt"
"""A small animal of our own making, so that something grows with nothing installed."""

FONTS = (
    "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",
    "/usr/share/fonts/noto/NotoColorEmoji.ttf",
    "/usr/share/fonts/google-noto-emoji/NotoColorEmoji.ttf",
)
MOST_PIXELS = 4096
"""Largest side of an image that is read."""

MOST_CELLS = 512
"""Largest side of a grid."""

LEAST_TEXTURE = 56
"""Smallest side of a texture and of a grid that is judged by it: a patch of 7 × 7 fits into the smallest of four
levels."""


def load_target(name: str, size: int = 40, padding: int = 16) -> np.ndarray:
    """A target on an empty grid.

    Args:
        name: a file; ``newt``, which is bundled; an emoji (``🦎``) or its Unicode name (``lizard``), drawn with the
            Noto colour font.
        size: the longer side of the image on the grid.
        padding: empty cells on each side of it.

    Returns:
        f32[size + 2 padding, size + 2 padding, 4] of 0 to 1: colours premultiplied by alpha, and alpha.

    Raises:
        ValueError: if there is no such image, it is no image, has no alpha or nothing in it, or a size is out of range.
    """
    check.whole(4, size=size)
    check.whole(0, padding=padding)
    side = size + 2 * padding
    if side > MOST_CELLS:
        raise ValueError(f"the grid must be at most {MOST_CELLS} cells wide, got {side} = size + 2 padding")
    image = _read(name)
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    pixels = np.asarray(image, np.float32) / 255
    pixels[..., :3] *= pixels[..., 3:]
    if pixels[..., 3].max() <= 0.1:
        raise ValueError(f"target {name!r} is empty: nothing in it has alpha above 0.1")
    target = np.zeros((side, side, 4), np.float32)
    top, left = (side - pixels.shape[0]) // 2, (side - pixels.shape[1]) // 2
    target[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return target


def load_texture(name: str, size: int = 128) -> np.ndarray:
    """A square texture.

    Args:
        name: a file; or one of `nca.patterns.PATTERNS`, which are drawn, and its scale if wanted: ``dots:10`` has dots
            ten pixels apart.
        size: its side. The middle is taken of an image that is not square; a larger one is made smaller.

    Returns:
        f32[size, size, 3] of 0 to 1; smaller if the image is.

    Raises:
        ValueError: if there is no such image, it is no image or too small, or the size is out of range.
    """
    check.whole(LEAST_TEXTURE, image_size=size)
    if size > MOST_CELLS:
        raise ValueError(f"image_size must be at most {MOST_CELLS}, got {size}")
    pattern, _, scale = name.partition(":")
    if pattern in PATTERNS and not Path(name).exists():
        return PATTERNS[pattern](size, *([_number(name, scale)] if ":" in name else []))
    if not Path(name).is_file():
        raise ValueError(f"image must be an image file or one of {', '.join(PATTERNS)}, got {name!r}")
    image = _open(Path(name)).convert("RGB")
    if min(image.size) < LEAST_TEXTURE:
        raise ValueError(f"{name} must be at least {LEAST_TEXTURE} pixels wide and high, got {image.size}")
    side = min(size, *image.size)
    return np.asarray(ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS), np.float32) / 255


def _number(name: str, text: str) -> float:
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError as error:
        raise ValueError(f"image {name!r} must end in a number after its colon, as in dots:10") from error


def _read(name: str) -> Image.Image:
    """An RGBA image."""
    if name == BUNDLED:
        with resources.as_file(resources.files("neuralmutator.runs") / "assets" / f"{BUNDLED}.png") as path:
            return Image.open(path).convert("RGBA")
    if Path(name).is_file():
        return _file(Path(name))
    try:
        return _emoji(name if len(name) <= 2 else unicodedata.lookup(name))
    except KeyError as error:
        raise ValueError(f"target must be an image file, {BUNDLED!r}, or the name of an emoji, got {name!r}") from error


def _file(path: Path) -> Image.Image:
    image = _open(path)
    if not image.has_transparency_data:
        raise ValueError(f"{path} has no alpha channel: an automaton needs to know where the pattern ends")
    return image.convert("RGBA")


def _open(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
        if max(image.size) > MOST_PIXELS:
            raise ValueError(f"{path} must be at most {MOST_PIXELS} pixels wide and high, got {image.size}")
        image.load()
        return image
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot read {path} as an image") from error


def _emoji(text: str) -> Image.Image:
    font = next((path for path in FONTS if Path(path).exists()), None)
    if font is None:
        raise ValueError(f"drawing {text} needs the Noto colour font (Debian: apt-get install fonts-noto-color-emoji)")
    image = Image.new("RGBA", (136, 128))
    # A bitmap font of this one size; its glyphs are 136 wide, of which the middle 128 are the published images.
    ImageDraw.Draw(image).text((0, 0), text, font=ImageFont.truetype(font, 109), embedded_color=True)
    return image.crop((4, 0, 132, 128))
