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

SWATCH = 48
"""Side of the picture of a texture, pixels."""


def page(models: Sequence[Model], size: int = 96) -> str:
    """The page as text, with the parameters as they are: in 8 bits (a lizard has 11 kB), or as floats (44 kB).

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
    text = (resources.files("neuralmutator.runs") / "assets" / "page.html").read_text("utf-8")
    entries = [entry(model) for model in models]
    first: dict[str, int] = {}
    for i, known in enumerate(entries):  # a surface that several have is written once: later ones say whose it is
        if "surface" in known and (same := first.setdefault(json.dumps(known["surface"]), i)) != i:
            known["surface"] = same
    data = json.dumps(entries, ensure_ascii=False).replace("<", "\\u003c")
    return text.replace("/*MODELS*/[]", data).replace("/*SIZE*/96", str(size))


def write_page(models: Sequence[Model], path: str | Path, size: int = 96) -> Path:
    """Writes the page; arguments and errors as for `page`."""
    text, path = page(models, size), Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def entry(model: Model) -> dict[str, Any]:
    """What the page's script knows of an automaton; its parameters are stored as `Model` has them.

    Raises:
        ValueError: if the automaton has more than 16 channels.
    """
    if model.channels > MOST_CHANNELS:
        raise ValueError(f"the page shows automata of at most {MOST_CHANNELS} channels, got {model.channels}")
    known = {
        "kind": model.kind,
        "name": model.label,
        "about": model.about,
        "channels": model.channels,
        "hidden": model.settings.get("hidden", 0),
        "fire_rate": model.settings.get("fire_rate", 1.0),
        "picture": _picture(model.target),
    }
    if model.kind == "reaction":
        diffusion = np.repeat(np.asarray(model.settings["diffusion"], float), model.channels // 2)
        known |= {"diffusion": diffusion.tolist(), "decay": model.settings["decay"]}
    if model.surface is not None:
        known |= {"surface": surface_entry(np.asarray(model.surface.vertices), np.asarray(model.surface.faces))}
    weights = model.weights
    if not isinstance(weights, nca.Quantized):
        return known | {"params": _base64(np.asarray(weights, "<f4"))}
    variables = model.automaton().unflatten(weights.codes)
    levels = [
        {"size": codes.size, "scale": float(weights.scales[name]), "offset": float(weights.offsets[name])}
        for name, codes in variables.items()
    ]
    return known | {"codes": _base64(np.asarray(weights.codes)), "levels": levels}


def surface_entry(vertices: np.ndarray, faces: np.ndarray) -> dict[str, Any]:
    """What the page's script knows of a surface.

    Args:
        vertices: positions f[V, 3].
        faces: the vertices i[F, 3] of each triangle.
    """
    width = "<u2" if len(vertices) <= 2**16 else "<u4"
    positions, corners = _base64(np.asarray(vertices, "<f4")), _base64(np.asarray(faces, width))
    return {"vertices": positions, "faces": corners, "count": len(vertices)}


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _picture(target: np.ndarray) -> str:
    """As a data URL: what grows, on white and without the empty cells around it, or the middle of a texture."""
    if target.shape[2] == 3:
        top, left = (max(side - SWATCH, 0) // 2 for side in target.shape[:2])
        pixels, colours = target[top : top + SWATCH, left : left + SWATCH], 16
    else:
        rows, columns = np.nonzero(target[..., nca.ALPHA] > 0)
        cut = target[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] if len(rows) else target
        pixels, colours = np.asarray(nca.to_rgb(cut)), 64
    buffer = io.BytesIO()
    image = Image.fromarray(np.asarray(255 * np.clip(pixels, 0, 1)).round().astype(np.uint8))
    ImageOps.pad(image, (max(image.size),) * 2, color="white").quantize(colours).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
