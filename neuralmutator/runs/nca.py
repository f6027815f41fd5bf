"""Runs of cellular automata: from a configuration to a finished run folder."""

import dataclasses
import io
import json
import math
import os
import time
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator import nca
from neuralmutator.core import rollout
from neuralmutator.runs.folder import RunError, RunFolder
from neuralmutator.runs.progress import Progress
from neuralmutator.runs.runner import chunk_size, compile_chunk, drive, rows_of
from neuralmutator.runs.targets import load_target

POOL_SHOWN = 60
"""Grids of the pool that a run folder keeps a picture of."""

BUNDLED = ("growing", "persistent", "regenerating")
"""Automata that come with the package, one of each regime, which all grow a lizard."""


@dataclass(frozen=True)
class NcaConfig:
    """A training of a growing automaton; the defaults are the article's."""

    target: str = "newt"
    """An image file with alpha; newt (bundled); an emoji or its Unicode name (lizard), with the Noto colour font."""
    regime: nca.Regime = "growing"
    """What rollouts start from: the seed; a pool of what grew before; the same, some of it damaged."""
    steps: int = 8000
    """Training steps."""
    size: int = 40
    """Longer side of the target, cells."""
    padding: int = 16
    """Empty cells on each side of it."""
    channels: int = 16
    hidden: int = 128
    fire_rate: float = 0.5
    """Probability that a cell changes in an update."""
    learning_rate: float = 2e-3
    drop_at: int = 2000
    """Training step from which on the learning rate is a tenth."""
    batch_size: int = 8
    pool_size: int = 1024
    seed: int = 0


def build(config: NcaConfig) -> tuple[nca.Automaton, np.ndarray, nca.Trainer]:
    """Automaton, target f32[H, W, 4] and trainer of a configuration.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """
    for name, least in (("steps", 1), ("drop_at", 0), ("seed", 0)):
        value = getattr(config, name)
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    if not 0 < config.learning_rate < math.inf:
        raise ValueError(f"learning_rate must be a finite number above 0, got {config.learning_rate!r}")
    target = load_target(config.target, config.size, config.padding)
    automaton = nca.growing(config.channels, config.hidden, config.fire_rate)
    trainer = nca.trainer(
        automaton,
        jnp.asarray(target),
        config.regime,
        nca.schedule(config.learning_rate, config.drop_at),
        config.batch_size,
        config.pool_size,
        # Where rollouts run one after another, what is far from the target is computed when life gets there.
        margins=[config.padding - n for n in (4, 6, 8, 10) if config.padding > n]
        if jax.default_backend() == "cpu"
        else (),
    )
    return automaton, target, trainer


def train(
    config: NcaConfig, output: str | Path, *, resume: bool = False, show: bool = False, save_every: float = 60.0
) -> dict[str, Any]:
    """Trains an automaton and leaves a run folder: configuration, metrics, checkpoints, parameters, target, pool.

    A run that is stopped and resumed ends with the bits of an undisturbed one.

    Args:
        config: what to run.
        output: the run folder; must not exist yet, or with `resume` hold a run of the same configuration (its number of
            steps may have grown).
        resume: go on from the newest checkpoint.
        show: whether a live display goes to the terminal.
        save_every: seconds between two checkpoints.

    Returns:
        The result, as in `result.json`.

    Raises:
        ValueError: if the configuration is not valid.
        RunError: if the folder cannot be used, or the loss is no longer finite.
        InterruptedRunError: on SIGINT or SIGTERM, after saving.
    """
    began = time.perf_counter()
    _, target, trainer = build(config)
    if resume:
        folder = RunFolder.reopen(output, config, _config, "steps", keep=1)
    else:
        folder = RunFolder.create(output, config, keep=1)
    folder.save_arrays("target", target=target)
    key_init, key_run = jax.random.split(jax.random.key(config.seed))
    moment, state = folder.restore(jax.eval_shape(trainer.init, key_init)) if resume else (0, None)
    state = jax.jit(trainer.init)(key_init) if state is None else state
    folder.truncate_metrics(moment)
    chunk = chunk_size(math.gcd(moment, config.steps))
    program = compile_chunk(trainer.step, key_run, state, chunk)
    compiled = time.perf_counter() - began

    def check(rows: list[dict[str, Any]]) -> None:
        broken = next((row["step"] for row in rows if not math.isfinite(row["loss"])), None)
        if broken is not None:
            raise RunError(f"the loss of step {broken} is not finite; try a smaller learning_rate or another seed")

    state = drive(
        folder,
        program,
        key_run,
        state,
        chunk=chunk,
        length=config.steps,
        moment=moment,
        rows=_rows,
        save_every=save_every,
        display=Progress(f"{config.regime} {config.target}", config.steps, _describe, moment) if show else None,
        check=check,
        beside=lambda state: folder.save_arrays("automaton", params=state.params),
    )
    folder.save_arrays("pool", grids=state.pool[:POOL_SHOWN, ..., :4])
    losses = np.array([row["log10_loss"] for row in folder.metric_lines()[-100:]])
    result = {
        "target": config.target,
        "regime": config.regime,
        "steps": config.steps,
        "num_params": int(state.params.size),
        "log10_loss_of_last_100": float(np.log10(np.mean(10**losses))),
        "compile_seconds": compiled,
        "seconds": time.perf_counter() - began,
    }
    folder.save_result(result)
    return result


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
    config = folder.read_config(_config)
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
            config = _config(json.loads(str(arrays["config"])))
            automaton = nca.growing(config.channels, config.hidden, config.fire_rate)
            codes, target = jnp.asarray(arrays["codes"]), np.asarray(arrays["target"], np.float32) / 255
            scales = {variable: jnp.asarray(arrays[f"scale_{variable}"]) for variable in automaton.variables(codes)}
        return Model(config, target, nca.dequantize(automaton, nca.Quantized(codes, scales)))
    except Exception as error:  # NumPy and zipfile raise half a dozen kinds
        raise RunError(f"{name} is not a packed automaton") from error


def _config(data: dict[str, Any]) -> NcaConfig:
    if not isinstance(data, dict) or set(data) != {field.name for field in dataclasses.fields(NcaConfig)}:
        raise ValueError("not the configuration of a cellular automaton's run")
    return NcaConfig(**data)


def _rows(info: nca.Trained, start: int, seconds: float) -> list[dict[str, Any]]:
    columns: dict[str, Any] = {
        "loss": info.loss,
        "log10_loss": np.log10(info.loss),
        "length": info.length,
        "room": info.room,
    }
    return rows_of("step", columns, start, seconds)


def _describe(metrics: dict[str, Any]) -> str:
    return f"log10 loss {metrics['log10_loss']:.2f}  {metrics['seconds']:.2f} s/step"


@dataclass(frozen=True)
class FilmConfig:
    """What is filmed."""

    steps: int = 400
    """Updates."""
    damage: nca.Damage | Literal["disc"] | None = None
    """What is erased: a half, a square in the middle, or a disc."""
    damage_at: int = 200
    """Updates before the damage."""
    x: int | None = None
    """Centre of the disc, cells from the left; the middle of the grid if not given."""
    y: int | None = None
    """… and from the top."""
    radius: float = 8.0
    """Of the disc, cells."""
    angle: float = 0.0
    """By which cells perceive the grid turned, degrees: what grows is turned by it, anticlockwise."""
    every: int = 1
    """Updates between two frames."""
    seed: int = 0


def film(config: NcaConfig, params: jax.Array, shape: tuple[int, int], options: FilmConfig) -> np.ndarray:
    """Grows a pattern, and damages it where wanted.

    Args:
        config: configuration of the run that the automaton is from.
        params: f32[P].
        shape: height and width of the grid.
        options: what is filmed.

    Returns:
        u8[frames, H, W, 3]: the seed, and the grid after every `options.every` updates.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """
    for name in ("steps", "every", "damage_at"):
        value = getattr(options, name)
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    if options.every > options.steps:
        raise ValueError(f"every must be at most {options.steps}, the steps, got {options.every}")
    mask = _mask(options, shape)
    if options.damage and options.damage_at >= options.steps:
        raise ValueError(f"damage_at must be less than {options.steps}, the steps, got {options.damage_at}")
    automaton = nca.growing(config.channels, config.hidden, config.fire_rate, math.radians(options.angle))
    damage_at = options.damage_at if options.damage else options.steps

    def shoot(key: jax.Array, params: jax.Array, mask: jax.Array) -> jax.Array:
        def look(key: jax.Array, grid: jax.Array) -> tuple[jax.Array, jax.Array]:
            grid = automaton.update(key, params, grid)
            return grid, jnp.round(255 * nca.to_rgb(grid)).astype(jnp.uint8)

        start = nca.seed(shape, config.channels)
        first = jnp.round(255 * nca.to_rgb(start)).astype(jnp.uint8)[None]
        grid, growth = rollout(look, key, start, damage_at)
        _, after = rollout(look, key, grid * mask, options.steps - damage_at, start=damage_at)
        return jnp.concatenate([first, growth, after])[:: options.every]

    return np.asarray(jax.jit(shoot)(jax.random.key(options.seed), params, mask))


def _mask(options: FilmConfig, shape: tuple[int, int]) -> jax.Array:
    height, width = shape
    if options.damage is None:
        return jnp.ones((height, width, 1))
    if options.damage != "disc":
        return nca.cut(options.damage, height, width)
    x = width // 2 if options.x is None else options.x
    y = height // 2 if options.y is None else options.y
    for name, value, most in (("x", x, width), ("y", y, height)):
        if not 0 <= value < most:
            raise ValueError(f"{name} must lie between 0 and {most - 1}, within the grid, got {value}")
    if not 0 < options.radius < math.inf:
        raise ValueError(f"radius must be a finite number above 0, got {options.radius!r}")
    across, down = 2 / (width - 1), 2 / (height - 1)  # of a cell, in units of half the grid
    return nca.disc(height, width, x * across - 1, y * down - 1, options.radius * across)
