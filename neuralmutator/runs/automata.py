"""Automata as files: those of run folders, packed ones, and those that come with the package."""

import inspect
import io
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
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
from neuralmutator.runs.painting_config import PAINTINGS, Painting
from neuralmutator.runs.serialise import from_dict
from neuralmutator.runs.targets import MOST_CELLS

GROWING = ("growing", "persistent", "regenerating")
"""Automata that come with the package and grow a lizard, one of each regime."""

PAINTED = (
    *("texture-dots", "reaction-dots", "mesh-dots", "mesh-stripes"),
    *("micro-dots", "micro-stripes", "micro-checks", "micro-voronoi", "micro-bricks", "micro-weave"),
    *("micro-scales", "micro-waves", "micro-labyrinth", "micro-brick", "micro-grass", "micro-gravel"),
)
"""Those that paint a texture."""

BUNDLED = GROWING + PAINTED
"""All automata that come with the package."""

ABOUT = {
    "growing": "grows from the seed; knows nothing of what comes after",
    "persistent": "grows, and stays",
    "regenerating": "grows, stays, and repairs what is damaged",
}
"""What an automaton that was trained in a regime can do."""


MAKE: Mapping[str, Callable[..., nca.Automaton]] = {
    "growing": nca.growing,
    "texture": nca.texture,
    "micro": nca.micro,
    "reaction": nca.reaction_diffusion,
    "mesh": nca.mesh_automaton,
}
"""What makes an automaton of each kind, of its settings; that of a mesh takes its surface first."""

SETTINGS = {
    "growing": ("channels", "hidden", "fire_rate"),
    "texture": ("channels", "hidden", "fire_rate"),
    "micro": ("channels",),
    "reaction": ("channels", "hidden", "decay", "diffusion"),
    "mesh": ("channels", "hidden", "fire_rate"),
}
"""Settings of each kind that files and configurations know."""


def make_automaton(
    kind: str, settings: Mapping[str, Any], surface: nca.Surface | None = None, **options: Any
) -> nca.Automaton:
    """An automaton of a kind.

    Args:
        kind: one of `MAKE`.
        settings: of the kind.
        surface: what automata of kind mesh live on, and those of kind reaction may; may be traced.
        options: more of what the kind's factory takes, such as ``angle`` for `nca.growing`.

    Raises:
        ValueError: if a setting is out of range, or there is a surface where none can be, or none where one must be.
    """
    check.one_of(MAKE, kind=kind)
    if (surface is None) == (kind == "mesh") and kind != "reaction":
        raise ValueError(f"surface must {'be given' if surface is None else 'not be given'} for kind {kind}")
    if surface is None:
        return MAKE[kind](**settings, **options)
    if kind == "mesh":
        return nca.mesh_automaton(surface, **settings, **options)
    laplacian, shape = partial(nca.surface_laplacian, surface), surface.vertices.shape[:1]
    return nca.reaction_diffusion(**settings, laplacian=laplacian, shape=shape, **options)


@dataclass(frozen=True)
class Model:
    """An automaton with its parameters, and what it was trained for.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    target: np.ndarray
    """f32[H, W, 4] of 0 to 1 for growing automata, which live on a grid of its size; f32[H, W, 3], a texture, for
    all others."""
    weights: jax.Array | nca.Quantized
    """f32[P], or the same in 8 bits; pages and packed files take them as they are."""
    kind: str = "growing"
    """One of `MAKE`."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the kind; those that are not given have their defaults."""
    label: str = "automaton"
    """What it is called on a page and in pictures."""
    about: str = ""
    """One line that a page says of it."""
    surface: nca.Surface | None = None
    """What it lives on, if that is no grid."""

    def __post_init__(self) -> None:
        """Checks that the parts fit together."""
        check.one_of(MAKE, kind=self.kind)
        if unknown := sorted(set(self.settings) - set(SETTINGS[self.kind])):
            raise ValueError(f"{unknown[0]} is no setting of kind {self.kind}; it has {', '.join(SETTINGS[self.kind])}")
        defaults = inspect.signature(MAKE[self.kind]).parameters
        settings = {name: self.settings.get(name, defaults[name].default) for name in SETTINGS[self.kind]}
        object.__setattr__(self, "settings", settings)
        automaton = self.automaton()
        shape, layers = np.shape(self.target), 4 if self.kind == "growing" else 3
        if len(shape) != 3 or shape[2] != layers or not all(3 <= side <= MOST_CELLS for side in shape[:2]):
            raise ValueError(f"target must have shape (H, W, {layers}) with sides from 3 to {MOST_CELLS}, got {shape}")
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

    def automaton(self, **options: Any) -> nca.Automaton:
        """What runs the parameters.

        Args:
            options: more of what the kind's factory takes, such as ``angle`` for `nca.growing`.
        """
        return make_automaton(self.kind, self.settings, self.surface, **options)

    @property
    def channels(self) -> int:
        """Numbers in a cell."""
        return self.settings["channels"]

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
    kind = folder.kind
    if kind != "nca" and kind not in PAINTINGS:
        raise RunError(f"{path} holds a run of kind {kind!r}, which trains no automaton")
    arrays = folder.load_arrays("automaton", ("params",)) | folder.load_arrays("target", ("target",))
    try:
        weights = jnp.asarray(arrays["params"], jnp.float32)
        if kind == "nca":
            return _of_run(folder.config(NcaConfig, "nca"), arrays["target"], weights)
        surface = None
        if kind == "mesh":
            corners = folder.load_arrays("surface", ("vertices", "faces"))
            surface = nca.surface(corners["vertices"], corners["faces"])
        return of_painting(folder.config(PAINTINGS[kind], kind), arrays["target"], weights, surface)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} holds no automaton: {error}") from error


def _of_run(config: NcaConfig, target: np.ndarray, weights: jax.Array | nca.Quantized) -> Model:
    check.one_of(ABOUT, regime=config.regime)
    settings = {name: getattr(config, name) for name in SETTINGS["growing"]}
    label = f"{Path(config.target).stem}, {config.regime}"
    return Model(target, weights, "growing", settings, label, ABOUT[config.regime])


def of_painting(
    config: Painting, target: np.ndarray, weights: jax.Array | None = None, surface: nca.Surface | None = None
) -> Model:
    """The automaton of a configuration that is trained on a texture.

    Args:
        config: one of `PAINTINGS`.
        target: f32[H, W, 3].
        weights: f32[P]; zeros if not given.
        surface: what it lives on, if that is no grid.

    Raises:
        ValueError: if a setting is out of range.
    """
    settings = {name: getattr(config, name) for name in SETTINGS[config.kind]}
    if weights is None:
        weights = jnp.zeros(make_automaton(config.kind, settings, surface).num_params)
    about = f"{config.about}, {weights.size:,} numbers"
    label = Path(config.image).stem.partition(":")[0]
    return Model(target, weights, config.kind, settings, label, about, surface)


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
    about: dict[str, Any] = {name: getattr(model, name) for name in ("kind", "settings", "label", "about")}
    about |= {"scheme": "int8" if isinstance(weights, nca.Quantized) else "float32"}
    about |= {} if label is None else {"label": label}
    arrays: dict[str, Any] = {
        "automaton": np.array(json.dumps(about)),
        "target": np.round(255 * np.clip(model.target, 0, 1)).astype(np.uint8),
    }
    if model.surface is not None:
        arrays |= {"vertices": np.asarray(model.surface.vertices), "faces": np.asarray(model.surface.faces)}
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
            if "kind" not in about:  # as packed while all automata grew
                about["settings"] = {name: about.pop(name) for name in SETTINGS["growing"]}
            surface = nca.surface(arrays["vertices"], arrays["faces"]) if "vertices" in arrays else None
            return Model(target, weights, **about, surface=surface)
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
