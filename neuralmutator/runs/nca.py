"""Runs of cellular automata: from a configuration to a finished run folder."""

import dataclasses
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator import nca
from neuralmutator.runs.folder import RunError, RunFolder
from neuralmutator.runs.progress import Progress
from neuralmutator.runs.runner import chunk_size, compile_chunk, drive, rows_of
from neuralmutator.runs.targets import load_target

POOL_SHOWN = 60
"""Grids of the pool that a run folder keeps a picture of."""


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
        nca.drop_schedule(config.learning_rate, config.drop_at),
        config.batch_size,
        config.pool_size,
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
        folder = RunFolder.reopen(output, config, decode_config, "steps", keep=1)
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


def decode_config(data: dict[str, Any]) -> NcaConfig:
    """A configuration from what `config.json` holds.

    Raises:
        ValueError: if it is that of another kind of run.
    """
    if not isinstance(data, dict) or set(data) != {field.name for field in dataclasses.fields(NcaConfig)}:
        raise ValueError("not the configuration of a cellular automaton's run")
    return NcaConfig(**data)


def _rows(info: nca.TrainInfo, start: int, seconds: float) -> list[dict[str, Any]]:
    columns: dict[str, Any] = {
        "loss": info.loss,
        "log10_loss": np.log10(info.loss),
        "length": info.length,
    }
    return rows_of("step", columns, start, seconds)


def _describe(metrics: dict[str, Any]) -> str:
    return f"log10 loss {metrics['log10_loss']:.2f}  {metrics['seconds']:.2f} s/step"
