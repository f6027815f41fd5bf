"""Automata that were trained elsewhere: their weights, taken over without loss.

What is read is the network of the article: two dense layers, the first from what a cell perceives (its state and two
Sobel gradients, 3 C numbers) to hidden units, the second from these to the change of its C channels.
"""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator import nca
from neuralmutator.core import rollout
from neuralmutator.runs.automata import Model

Order = Literal["filters", "channels"]
"""How the rows of w1 are sorted: all channels of one filter together (row f C + c), or all filters of one channel
together (row 3 c + f, as depthwise convolutions of TensorFlow and PyTorch give them)."""

GROWN_ON, GROWN_FOR = 72, 200
"""Size of the grid, and updates, for the picture of an automaton whose target is not given."""


class _Variable(NamedTuple):
    """A matrix or vector: floats, or codes that stand for (code - offset) scale."""

    values: np.ndarray
    scale: float | None = None
    offset: float = 0.0


def read_weights(path: str | Path, order: Order | None = None) -> tuple[nca.Quantized | jax.Array, int, int]:
    """Reads weights that another program wrote.

    Formats, told apart by what the file holds:

    * the JSON of the article's web page, a list of two layers with ``in_ch``, ``out_ch`` and ``data_b64`` (the bias is
      the last row): 32-bit floats, or bytes q that stand for ``(q / 255 - 1/2)`` times ``weight_scale`` or
      ``bias_scale``;
    * a TensorFlow.js graph model (JSON) with its weights in the graph's constants, as the article's notebook writes it;
    * JSON ``{"w1": …, "b1": …, "w2": …, "b2": …}`` of nested lists of numbers, or each of them
      ``{"codes": …, "scale": s, "offset": o}``;
    * .npz with arrays ``w1, b1, w2, b2``: floats, or whole numbers with ``scale_w1`` and ``offset_w1`` and so on.

    ``w1`` is [3 C, hidden] and ``w2`` [hidden, C]; matrices of PyTorch's layout (outputs first) are turned round.
    ``b2`` may be missing.

    Args:
        path: the file.
        order: of the rows of ``w1``; "channels" for a TensorFlow.js graph and "filters" for all others if not given.

    Returns:
        Weights (in 8 bits if the file has them so: the codes are kept), channels C, and hidden units.

    Raises:
        ValueError: if the file is none of these, or its parts do not fit together.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"weights must be a file, got {path}")
    try:
        variables, graph = _npz(path) if path.suffix == ".npz" else _json(json.loads(path.read_text("utf-8")))
        order = order or ("channels" if graph else "filters")
        return _put_together(variables, order)
    except Exception as error:  # NumPy, zipfile, json and base64 raise a dozen kinds
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} holds no weights of an automaton: {said}") from error


def import_automaton(
    path: str | Path,
    label: str,
    target: np.ndarray | None = None,
    fire_rate: float = 0.5,
    order: Order | None = None,
) -> Model:
    """An automaton that was trained elsewhere; `automata.pack` writes it, pages and films take it.

    Args:
        path: its weights, see `read_weights`.
        label: what it is called.
        target: f32[H, W, 4], what it was trained for; what it has grown after 200 updates if not given.
        fire_rate: probability that a cell changes in an update.
        order: see `read_weights`.

    Raises:
        ValueError: if the weights cannot be read, or target or rate are not valid.
    """
    weights, channels, hidden = read_weights(path, order)
    settings = {"channels": channels, "hidden": hidden, "fire_rate": fire_rate}
    if target is not None:
        return Model(target, weights, "growing", settings, label)
    model = Model(np.zeros((GROWN_ON, GROWN_ON, 4), np.float32), weights, "growing", settings, label)
    start = nca.seed_grid((GROWN_ON, GROWN_ON), channels)
    step = model.automaton().step(model.params)
    grown, _ = jax.jit(lambda key: rollout(step, key, start, GROWN_FOR))(jax.random.key(0))
    picture = np.clip(np.nan_to_num(np.asarray(grown[..., :4])), 0, 1)
    return replace(model, target=picture)


def _npz(path: Path) -> tuple[dict[str, _Variable], bool]:
    with np.load(path) as arrays:
        variables = {}
        for name in ("w1", "b1", "w2", "b2"):
            if name in arrays:
                scale = float(arrays[f"scale_{name}"]) if f"scale_{name}" in arrays else None
                offset = float(arrays[f"offset_{name}"]) if f"offset_{name}" in arrays else 0.0
                variables[name] = _Variable(arrays[name], scale, offset)
        return variables, False


def _json(data: Any) -> tuple[dict[str, _Variable], bool]:
    if isinstance(data, list):
        first, second = data
        return _page_layer(first, "1") | _page_layer(second, "2"), False
    if "modelTopology" in data:
        return _graph(data["modelTopology"]["node"]), True

    def variable(entry: Any) -> _Variable:
        if isinstance(entry, dict):
            return _Variable(np.array(entry["codes"]), float(entry["scale"]), float(entry.get("offset", 0.0)))
        return _Variable(np.array(entry, np.float64))

    return {name: variable(data[name]) for name in ("w1", "b1", "w2", "b2") if name in data}, False


def _page_layer(layer: dict[str, Any], number: str) -> dict[str, _Variable]:
    """A layer of the article's page: a matrix with the bias as its last row."""
    data = base64.b64decode(layer["data_b64"], validate=True)
    shape = (layer["in_ch"] + 1, layer["out_ch"])
    if "weight_scale" not in layer:
        rows = np.frombuffer(data, "<f4").reshape(shape)
        return {f"w{number}": _Variable(rows[:-1]), f"b{number}": _Variable(rows[-1])}
    rows = np.frombuffer(data, np.uint8).reshape(shape)
    scales = layer["weight_scale"] / 255, layer["bias_scale"] / 255
    return {
        f"w{number}": _Variable(rows[:-1], scales[0], 127.5),
        f"b{number}": _Variable(rows[-1], scales[1], 127.5),
    }


def _graph(nodes: list[dict[str, Any]]) -> dict[str, _Variable]:
    """The weights among the constants of a TensorFlow graph; dense layers are 1 × 1 convolutions [1, 1, in, out]."""
    matrices, vectors = [], []
    for node in nodes:
        tensor = node.get("attr", {}).get("value", {}).get("tensor", {})
        if node["op"] != "Const" or tensor.get("dtype") != "DT_FLOAT" or "tensorContent" not in tensor:
            continue
        shape = [int(dim["size"]) for dim in tensor["tensorShape"].get("dim", [])]
        values = np.frombuffer(base64.b64decode(tensor["tensorContent"]), "<f4").reshape(shape)
        if len(shape) == 4 and shape[:2] == [1, 1]:
            matrices.append(values[0, 0])
        elif len(shape) == 1:
            vectors.append(values)
    for first in matrices:
        for second in matrices:
            if first.shape[0] == 3 * second.shape[1] and first.shape[1] == second.shape[0]:
                found = {"w1": _Variable(first), "w2": _Variable(second)}
                for name, size in (("b1", first.shape[1]), ("b2", second.shape[1])):
                    bias = next((vector for vector in vectors if len(vector) == size), np.zeros(size, np.float32))
                    found[name] = _Variable(bias)
                return found
    raise ValueError("no two dense layers among the constants of the graph")


def _put_together(variables: dict[str, _Variable], order: Order) -> tuple[nca.Quantized | jax.Array, int, int]:
    missing = [name for name in ("w1", "b1", "w2") if name not in variables]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing")
    hidden = variables["b1"].values.size
    first, second = (_matrix(variables[name].values, axis, hidden) for name, axis in (("w1", 1), ("w2", 0)))
    channels = second.shape[1]
    if first.shape[0] != 3 * channels:
        raise ValueError(f"w1 must have {3 * channels} rows, three for each of {channels} channels, got {len(first)}")
    if order == "channels":
        first = first.reshape(channels, 3, hidden).swapaxes(0, 1).reshape(3 * channels, hidden)
    variables = dict(variables)
    variables["w1"], variables["w2"] = variables["w1"]._replace(values=first), variables["w2"]._replace(values=second)
    if "b2" not in variables:
        coded = variables["w2"].scale is not None
        variables["b2"] = _Variable(np.zeros(channels, np.int8 if coded else np.float32), 1.0 if coded else None)
    if variables["b2"].values.size != channels:
        raise ValueError(f"b2 must have {channels} numbers, got {variables['b2'].values.size}")
    ordered = {name: variables[name] for name in ("w1", "b1", "w2", "b2")}
    if all(variable.scale is not None for variable in ordered.values()):
        return _quantized(ordered), channels, hidden
    flat = [(v.values.astype(np.float64) - v.offset) * (1.0 if v.scale is None else v.scale) for v in ordered.values()]
    return jnp.asarray(np.concatenate([x.reshape(-1) for x in flat]), jnp.float32), channels, hidden


def _matrix(values: np.ndarray, axis: int, hidden: int) -> np.ndarray:
    """The matrix without axes of length 1, its hidden units on `axis`."""
    values = values.reshape([n for n in values.shape if n != 1] if values.ndim > 2 else values.shape)
    if values.ndim != 2 or hidden not in values.shape:
        raise ValueError(f"a weight must be a matrix with {hidden} hidden units on one side, got shape {values.shape}")
    return values if values.shape[axis] == hidden else values.T


def _quantized(variables: dict[str, _Variable]) -> nca.Quantized:
    codes, offsets = [], {}
    for name, variable in variables.items():
        values = variable.values.astype(np.int64)
        if not np.array_equal(values, variable.values):
            raise ValueError(f"codes of {name} must be whole numbers")
        shift = 128 if values.max() > 127 else 0  # bytes from 0 to 255
        values = values - shift
        if values.min() < -128 or values.max() > 127:
            raise ValueError(
                f"codes of {name} must fit in 8 bits, got {values.min() + shift} to {values.max() + shift}"
            )
        codes.append(values.reshape(-1).astype(np.int8))
        offsets[name] = jnp.float32(variable.offset - shift)
    scales = {name: jnp.float32(variable.scale) for name, variable in variables.items()}
    return nca.Quantized(jnp.asarray(np.concatenate(codes)), scales, offsets)
