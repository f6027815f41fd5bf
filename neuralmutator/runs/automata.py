"""Automata as files: those of run folders, those packed in 8 bits, and those that come with the package."""

import dataclasses
import io
import json
import os
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator import nca
from neuralmutator.runs.errors import RunError
from neuralmutator.runs.folder import RunFolder
from neuralmutator.runs.nca import NcaConfig
from neuralmutator.runs.serialise import from_dict

BUNDLED = ("growing", "persistent", "regenerating")
"""Automata that come with the package, one of each regime, which all grow a lizard."""


class Model(NamedTuple):
    """An automaton with what it was trained for."""

    config: NcaConfig
    target: np.ndarray  # f32[H, W, 4]
    params: jax.Array  # f32[P]


def load(source: str | Path) -> Model:
    """An automaton.

    Args:
        source: a run folder, whose newest checkpoint counts; a file that `pack` wrote; or one of `BUNDLED` by name,
            where nothing of that name exists.

    Raises:
        RunError: if it is none of these, or has no parameters yet.
    """
    path = Path(source)
    if str(source) in BUNDLED and not path.exists():
        packed = resources.files("neuralmutator.runs") / "assets" / f"{source}.npz"
        return _unpack(packed.read_bytes(), str(source))
    if path.is_file():
        return _unpack(path.read_bytes(), str(path))
    folder = RunFolder(path)
    config = folder.config(NcaConfig, "nca")
    arrays = folder.load_arrays("automaton", ("params",)) | folder.load_arrays("target", ("target",))
    return Model(config, arrays["target"], jnp.asarray(arrays["params"]))


def pack(model: Model, path: str | Path) -> Path:
    """Writes an automaton as one small file, its parameters and its target in 8 bits: 8,336 parameters take 11 kB.

    Raises:
        ValueError: if the file is not named .npz.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"output must end in .npz, got {path}")
    automaton = nca.growing(model.config.channels, model.config.hidden, model.config.fire_rate)
    quantized = nca.quantize(automaton, model.params)
    arrays: dict[str, Any] = {
        "config": np.array(json.dumps(dataclasses.asdict(model.config))),
        "target": np.round(255 * model.target).astype(np.uint8),
        "codes": np.asarray(quantized.codes),
    } | {f"scale_{name}": np.asarray(scale) for name, scale in quantized.scales.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(buffer.getvalue())
    os.replace(temporary, path)
    return path


def _unpack(data: bytes, name: str) -> Model:
    try:
        with np.load(io.BytesIO(data)) as arrays:
            config = from_dict(NcaConfig, json.loads(str(arrays["config"])))
            automaton = nca.growing(config.channels, config.hidden, config.fire_rate)
            codes, target = jnp.asarray(arrays["codes"]), np.asarray(arrays["target"], np.float32) / 255
            scales = {variable: jnp.asarray(arrays[f"scale_{variable}"]) for variable in automaton.variables(codes)}
        return Model(config, target, nca.dequantize(automaton, nca.Quantized(codes, scales)))
    except Exception as error:  # NumPy and zipfile raise half a dozen kinds
        raise RunError(f"{name} is not a packed automaton") from error
