"""Automata as files: those of run folders, packed ones, and those that come with the package."""

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator import nca
from neuralmutator.core import check
from neuralmutator.runs.errors import RunError
from neuralmutator.runs.folder import RunFolder
from neuralmutator.runs.nca_config import NcaConfig
from neuralmutator.runs.serialise import from_dict
from neuralmutator.runs.targets import MOST_CELLS

BUNDLED = ("growing", "persistent", "regenerating")
"""Automata that come with the package, one of each regime, which all grow a lizard."""

ABOUT = {
    "growing": "grows from the seed; knows nothing of what comes after",
    "persistent": "grows, and stays",
    "regenerating": "grows, stays, and repairs what is damaged",
}
"""What an automaton that was trained in a regime can do."""


@dataclass(frozen=True)
class Model:
    """An automaton of the article's kind with its parameters, and what it grows.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    target: np.ndarray
    """f32[H, W, 4] of 0 to 1: what it was trained for, on a grid of the size that suits it."""
    weights: jax.Array | nca.Quantized
    """f32[P], or the same in 8 bits; pages and packed files take them as they are."""
    channels: int = 16
    hidden: int = 128
    fire_rate: float = 0.5
    label: str = "automaton"
    """What it is called on a page and in pictures."""
    about: str = ""
    """One line that a page says of it."""

    def __post_init__(self) -> None:
        """Checks that the parts fit together."""
        automaton = self.automaton()
        shape = np.shape(self.target)
        if len(shape) != 3 or shape[2] != nca.ALPHA + 1 or not all(3 <= side <= MOST_CELLS for side in shape[:2]):
            raise ValueError(
                f"target must have shape (H, W, {nca.ALPHA + 1}) with sides from 3 to {MOST_CELLS}, got {shape}"
            )
        if not np.isfinite(self.target).all():
            raise ValueError("target must be finite, got NaN or infinity")
        quantized = isinstance(self.weights, nca.Quantized)
        flat = self.weights.codes if isinstance(self.weights, nca.Quantized) else self.weights
        if flat.shape != (automaton.num_params,):
            name = "codes" if quantized else "params"
            raise ValueError(f"{name} must have shape ({automaton.num_params},), got {flat.shape}")
        if isinstance(self.weights, nca.Quantized) and flat.dtype != jnp.int8:
            raise ValueError(f"codes must be int8, got {flat.dtype}")
        if not np.isfinite(self.params).all():
            raise ValueError("params must be finite, got NaN or infinity")

    def automaton(self, angle: float | jax.Array = 0.0) -> nca.Automaton:
        """What runs the parameters; see `nca.growing`."""
        return nca.growing(self.channels, self.hidden, self.fire_rate, angle)

    @property
    def params(self) -> jax.Array:
        """The parameters f32[P]."""
        if isinstance(self.weights, nca.Quantized):
            return nca.dequantize(self.automaton(), self.weights)
        return self.weights


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
    try:
        return _of_run(config, arrays["target"], jnp.asarray(arrays["params"], jnp.float32))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} holds no automaton: {error}") from error


def _of_run(config: NcaConfig, target: np.ndarray, weights: jax.Array | nca.Quantized) -> Model:
    check.one_of(ABOUT, regime=config.regime)
    label = f"{Path(config.target).stem}, {config.regime}"
    return Model(target, weights, config.channels, config.hidden, config.fire_rate, label, ABOUT[config.regime])


def pack(model: Model, path: str | Path, label: str | None = None, exact: bool = False) -> Path:
    """Writes an automaton as one small file: 8,336 parameters take some 12 kB in 8 bits, 34 kB as they are.

    Parameters that are in 8 bits already lose nothing.

    Args:
        model: the automaton; its target is written in 8 bits.
        path: the file, .npz.
        label: what it is called from now on; as before if not given.
        exact: write parameters that are not in 8 bits as they are.

    Raises:
        ValueError: if the file is not named .npz.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"output must end in .npz, got {path}")
    weights = model.weights
    if not isinstance(weights, nca.Quantized) and not exact:
        weights = nca.quantize(model.automaton(), weights)
    about = {field: getattr(model, field) for field in ("channels", "hidden", "fire_rate", "label", "about")}
    about |= {"scheme": "int8" if isinstance(weights, nca.Quantized) else "float32"}
    about |= {} if label is None else {"label": label}
    arrays: dict[str, Any] = {
        "automaton": np.array(json.dumps(about)),
        "target": np.round(255 * np.clip(model.target, 0, 1)).astype(np.uint8),
    }
    if isinstance(weights, nca.Quantized):
        arrays |= {"codes": np.asarray(weights.codes)}
        arrays |= {f"scale_{name}": np.asarray(scale) for name, scale in weights.scales.items()}
        arrays |= {f"offset_{name}": np.asarray(offset) for name, offset in weights.offsets.items()}
    else:
        arrays |= {"params": np.asarray(weights)}
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
            target = np.asarray(arrays["target"], np.float32) / 255
            if "config" in arrays:  # as version 0.1 packed: a run's configuration, 8 bits without offsets
                config = from_dict(NcaConfig, json.loads(str(arrays["config"])))
                return _of_run(config, target, _codes(arrays))
            about = json.loads(str(arrays["automaton"]))
            scheme = about.pop("scheme")
            check.one_of(("int8", "float32"), scheme=scheme)
            weights = _codes(arrays) if scheme == "int8" else jnp.asarray(arrays["params"], jnp.float32)
            return Model(target, weights, **about)
    except Exception as error:  # NumPy and zipfile raise half a dozen kinds
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(f"{name} is not a packed automaton: {said}") from error


def _codes(arrays: Mapping[str, np.ndarray]) -> nca.Quantized:
    def numbers(kind: str) -> dict[str, jax.Array]:
        found = {key.removeprefix(kind): np.asarray(arrays[key]) for key in arrays if key.startswith(kind)}
        for name, value in found.items():
            check.number(-np.inf, **{f"{kind}{name}": value.item()})
        return {name: jnp.asarray(value, jnp.float32).reshape(()) for name, value in found.items()}

    scales = numbers("scale_")
    offsets = {name: jnp.zeros((), jnp.float32) for name in scales} | numbers("offset_")
    return nca.Quantized(jnp.asarray(arrays["codes"]), scales, offsets)
