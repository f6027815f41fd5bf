"""A web page that runs automata: one file, which needs no network and no library."""

import base64
import io
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from neuralmutator import nca
from neuralmutator.runs.automata import Model

MOST_CHANNELS = 16
"""What the page's shader holds."""


def page(models: Sequence[Model], size: int = 96) -> str:
    """The page as text, with the parameters as they are: in 8 bits (11 kB), or as floats (44 kB).

    Args:
        models: what can be chosen, the first at first.
        size: height and width of the grid, cells.

    Raises:
        ValueError: if there is no model, one has more than 16 channels, or the size is out of range.
    """
    if not models:
        raise ValueError("page needs at least one automaton, got none")
    if not isinstance(size, int) or not 16 <= size <= 512:
        raise ValueError(f"size must be a whole number from 16 to 512, got {size!r}")
    return filled([_entry(model) for model in models], size)


def filled(entries: Sequence[dict[str, Any]], size: int) -> str:
    """The page of entries, which are what its script calls models."""
    text = (resources.files("neuralmutator.runs") / "assets" / "page.html").read_text("utf-8")
    data = json.dumps(list(entries), ensure_ascii=False).replace("<", "\\u003c")
    return text.replace("/*MODELS*/[]", data).replace("/*SIZE*/96", str(size))


def write_page(models: Sequence[Model], path: str | Path, size: int = 96) -> Path:
    """Writes the page; arguments and errors as for `page`."""
    text, path = page(models, size), Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def _entry(model: Model) -> dict[str, Any]:
    if model.channels > MOST_CHANNELS:
        raise ValueError(f"the page shows automata of at most {MOST_CHANNELS} channels, got {model.channels}")
    entry = {
        "kind": "growing",
        "name": model.label,
        "about": model.about,
        "channels": model.channels,
        "hidden": model.settings["hidden"],
        "fire_rate": model.settings["fire_rate"],
        "picture": _picture(model.target),
    }
    weights = model.weights
    if not isinstance(weights, nca.Quantized):
        return entry | {"params": _base64(np.asarray(weights, "<f4"))}
    variables = model.automaton().unflatten(weights.codes)
    levels = [
        {"size": codes.size, "scale": float(weights.scales[name]), "offset": float(weights.offsets[name])}
        for name, codes in variables.items()
    ]
    return entry | {"codes": _base64(np.asarray(weights.codes)), "levels": levels}


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _picture(target: np.ndarray) -> str:
    """The target on white, without the empty cells around it, as a data URL."""
    rows, columns = np.nonzero(target[..., nca.ALPHA] > 0)
    pixels = target[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] if len(rows) else target
    buffer = io.BytesIO()
    image = Image.fromarray(np.asarray(255 * nca.to_rgb(pixels)).round().astype(np.uint8))
    ImageOps.pad(image, (max(image.size),) * 2, color="white").quantize(64).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
