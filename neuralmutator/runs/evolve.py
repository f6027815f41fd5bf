"""A whole run of the Neural Mutator: from a configuration to a finished run folder."""

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import jax
import numpy as np

from neuralmutator.core.genome import Genome
from neuralmutator.fitness import play
from neuralmutator.runs.config import Config, build_evolution, build_policy, from_dict
from neuralmutator.runs.folder import RunError, RunFolder
from neuralmutator.runs.runner import Display, chunk_size, compile_chunk, drive, rows_of

FRESH = 2**31  # episodes after a run draw from keys that no generation has used


def keys(config: Config) -> tuple[jax.Array, jax.Array]:
    """The keys that a run initialises and evolves with; those of `evolution.run`."""
    key_init, key_run = jax.random.split(jax.random.key(config.seed))
    return key_init, key_run


def fresh_returns(config: Config, champion: Genome, episodes: int = 100, seed: int | None = None) -> np.ndarray:
    """Returns f32[episodes] of a champion on episodes that its evolution has not seen.

    Args:
        config: configuration of the run.
        champion: a genome.
        episodes: number of episodes.
        seed: seed of the episodes; by default another for each run.
    """
    key = jax.random.fold_in(jax.random.key(config.seed if seed is None else seed), FRESH)
    return np.asarray(compile_fresh(config, champion, episodes)(key, champion))


def compile_fresh(config: Config, champion: Genome, episodes: int) -> Callable[[jax.Array, Genome], jax.Array]:
    """Compiles ``(key, genome) -> returns f32[episodes]``; `champion` may be abstract."""
    one = play(config.env, build_policy(config), max_steps=config.max_steps)

    def returns(key: jax.Array, genome: Genome) -> jax.Array:
        return jax.vmap(one, (0, None))(jax.random.split(key, episodes), genome)[0]

    return jax.jit(returns).lower(jax.random.key(0), champion).compile()


def evolve(
    config: Config,
    output: str | Path,
    *,
    resume: bool = False,
    display: Callable[[Config, int], AbstractContextManager[Display]] | None = None,
    tensorboard: bool = False,
    save_every: float = 10.0,
    test_episodes: int = 100,
) -> dict[str, Any]:
    """Evolves a population and leaves a run folder.

    Everything of moment t follows from the seed and t, chunks have the same bounds whenever a run is cut, and the state
    is saved whole: a run that is killed and resumed ends with the bits of an undisturbed one.

    Args:
        config: what to run.
        output: the run folder; must not exist yet, or with `resume` hold a run of the same configuration (its number
            of generations may have grown; what is left then decays towards the new end).
        resume: go on from the newest checkpoint.
        display: ``(config, first generation) -> context manager of a Display``.
        tensorboard: also write TensorBoard events (needs tensorboardX).
        save_every: seconds between two checkpoints.
        test_episodes: fresh episodes that the champion plays at the end.

    Returns:
        The result: the champion's mean and std over fresh episodes, and how long all took.

    Raises:
        ValueError: if the configuration is not valid.
        RunError: if the folder cannot be used, or no member of a generation has a finite fitness.
        InterruptedRunError: on SIGINT or SIGTERM, after saving.
    """
    began = time.perf_counter()
    evolution = build_evolution(config)
    folder = RunFolder.reopen(output, config, from_dict, "generations") if resume else RunFolder.create(output, config)
    key_init, key_run = keys(config)
    template = jax.eval_shape(evolution.init, key_init)
    moment, start = folder.restore(template) if resume else (0, None)
    # What divides both is the chunk of the first call, unless the number of generations has grown since.
    chunk = chunk_size(math.gcd(moment, config.generations))
    folder.truncate_metrics(moment)
    with ThreadPoolExecutor(2) as pool, _tensorboard(folder.path, tensorboard) as events:
        compiling = pool.submit(compile_chunk, evolution.step, key_run, template, chunk)
        champion_kind, _ = jax.eval_shape(evolution.best, template)
        testing = pool.submit(compile_fresh, config, champion_kind, test_episodes)
        start = jax.jit(evolution.init)(key_init) if start is None else start
        program = compiling.result()
        compiled = time.perf_counter() - began

        def check(rows: list[dict[str, Any]]) -> None:
            for row in rows:
                for name, value in row.items() if events else ():
                    events.add_scalar(name, value, row["generation"])
                if row["non_finite"] == config.population_size:
                    raise RunError(f"no member of generation {row['generation']} has a finite fitness")

        state = drive(
            folder,
            program,
            key_run,
            start,
            chunk=chunk,
            length=config.generations,
            moment=moment,
            rows=lambda info, moment, seconds: _rows(info.metrics, moment, seconds),
            save_every=save_every,
            display=display(config, moment) if display else None,
            check=check,
        )
        champion = jax.device_get(evolution.best(state)[0])  # one device plays it, whatever number evolved it
        folder.save_champion(champion)
        returns = np.asarray(testing.result()(jax.random.fold_in(jax.random.key(config.seed), FRESH), champion))
    result = {
        "env": config.env,
        "seed": config.seed,
        "generations": config.generations,
        "test_episodes": test_episodes,
        "champion_mean": float(returns.mean()),
        "champion_std": float(returns.std()),
        "compile_seconds": compiled,
        "seconds": time.perf_counter() - began,
    }
    folder.save_result(result)
    return result


def _rows(metrics: dict[str, jax.Array], start: int, seconds: float) -> list[dict[str, Any]]:
    """Stacked metrics ``[chunk]`` as one dict per generation, with the chunk's rates."""
    rows = rows_of("generation", metrics, start, seconds)
    if "env_steps" in metrics:
        # On the host: a sum on the device would wait for the chunk that is already running.
        rate = float(np.sum(np.asarray(metrics["env_steps"]))) / seconds
        rows = [row | {"env_steps_per_second": rate} for row in rows]
    return rows


def _tensorboard(path: Path, wanted: bool) -> AbstractContextManager:
    if not wanted:
        return nullcontext()
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise RunError("TensorBoard needs tensorboardX: pip install 'neuralmutator[tensorboard]'") from error
    return SummaryWriter(str(path / "tensorboard"))
