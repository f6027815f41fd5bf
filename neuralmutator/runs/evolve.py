"""Runs of the Neural Mutator: a population that evolves on an environment, and evolutions of one's own."""

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from neuralmutator.core import Genome
from neuralmutator.fitness import play
from neuralmutator.fitness.host import HostFitness
from neuralmutator.population import Evolution
from neuralmutator.runs.builders import build_evolution, build_host_evolution, build_policy
from neuralmutator.runs.config import Config
from neuralmutator.runs.devices import compile_options, options_for
from neuralmutator.runs.errors import RunError, UserError
from neuralmutator.runs.folder import RunFolder
from neuralmutator.runs.story import Columns, Finish, Rows, Run, Story

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FRESH = 2**31  # episodes after a run draw from keys that no generation has used


def from_evolution(
    evolution: Evolution, key: jax.Array, generations: int, config: Any = None, kind: str = "own evolution"
) -> Run:
    """A run of any evolution, also one of your own; `execute` leaves its folder.

    Args:
        evolution: with any policy, mutator and fitness.
        key: of the run; it computes what ``nm.run(evolution, key, generations)`` does.
        generations: length of the run.
        config: what else config.json shall record, a dict or a dataclass; a run is resumed with the same one.
        kind: of the run, recorded beside it.
    """

    def finish(state: Any, folder: RunFolder) -> dict[str, Any]:
        champion, fitness = _best(evolution, state)
        if isinstance(champion, Genome):
            folder.save_champion(champion)
        return {"champion_fitness": float(fitness)}

    key_init, key_run = jax.random.split(key)
    return Run(
        kind=kind,
        config=config if config is not None else {"generations": generations},
        keys=(key_init, key_run),
        init=evolution.init,
        step=_without_data(evolution),
        length=generations,
        columns=_columns,
        unit="generation",
        length_name="generations",
        history=lambda info: {"fitness": info.fitness, "parents": info.parents},
        should_stop=_all_broken,
        prepare=lambda: finish,
        shardings=evolution.shardings,
    )


def _best(evolution: Evolution, state: Any) -> Any:
    """The champion and its fitness, on the host. Of a population on several devices only a program can tell."""
    return jax.device_get((evolution.best if evolution.shardings is None else jax.jit(evolution.best))(state))


def build(config: Config, test_episodes: int = 100, workers: int = 0) -> Run:
    """The run of a configuration; its champion plays so many fresh episodes at the end.

    Args:
        config: of the run.
        test_episodes: fresh episodes.
        workers: processes that step Gymnasium's environments, with `Config.host`; 0: this one.

    Raises:
        UserError: naming the field, its value and what is allowed.
    """
    if workers and not config.host:
        raise UserError(f"workers needs host: environments in JAX have no processes of their own, got {workers}")
    evaluate = None
    if config.host:
        evolution, evaluate = build_host_evolution(config, workers)
    else:
        evolution = build_evolution(config)

    def prepare() -> Finish:
        if evaluate is not None:
            fresh = partial(_fresh_on_host, config, evaluate, test_episodes)
            return partial(_finish, config, test_episodes, evolution, fresh)
        template = jax.eval_shape(evolution.best, jax.eval_shape(evolution.init, jax.random.key(0)))[0]
        compiled = compile_fresh(config, template, test_episodes)
        return partial(
            _finish, config, test_episodes, evolution, lambda champion: compiled(_fresh_key(config.seed), champion)
        )

    run = from_evolution(evolution, jax.random.key(config.seed), config.generations, config, "evolution")
    run = run._replace(prepare=prepare, compiled_with=options_for(config.env))
    return run if evaluate is None else run._replace(on_host=True, close=evaluate.close)


def _finish(
    config: Config,
    test_episodes: int,
    evolution: Evolution,
    play_fresh: Callable[[Genome], Any],
    state: Any,
    folder: RunFolder,
) -> dict[str, Any]:
    """Keeps the champion; what the run came to."""
    # One device plays the champion, whatever number evolved it.
    champion = _best(evolution, state)[0]
    folder.save_champion(champion)
    returns = np.asarray(play_fresh(champion))
    return {
        "env": config.env,
        "seed": config.seed,
        "generations": config.generations,
        "test_episodes": test_episodes,
        "champion_mean": float(returns.mean()),
        "champion_std": float(returns.std()),
    }


def _fresh_on_host(config: Config, evaluate: HostFitness, episodes: int, champion: Genome) -> np.ndarray:
    """Returns f64[episodes] in Gymnasium, of seeds that no generation draws."""
    population = jax.tree.map(lambda x: np.asarray(x)[None], champion)
    seeds = FRESH + config.seed * episodes + np.arange(episodes)
    return evaluate.evaluate_seeds(population, seeds[None]).returns[0]


def fresh_returns(config: Config, champion: Genome, episodes: int = 100, seed: int | None = None) -> np.ndarray:
    """Returns f32[episodes] of a champion on episodes that its evolution has not seen.

    Args:
        config: configuration of the run.
        champion: a genome.
        episodes: number of episodes.
        seed: seed of the episodes; by default another for each run.
    """
    return np.asarray(
        compile_fresh(config, champion, episodes)(_fresh_key(config.seed if seed is None else seed), champion)
    )


def compile_fresh(config: Config, champion: Genome, episodes: int) -> Callable[[jax.Array, Genome], jax.Array]:
    """Compiles ``(key, genome) -> returns f32[episodes]``; `champion` may be abstract."""
    one = play(config.env, build_policy(config), max_steps=config.max_steps)

    def returns(key: jax.Array, genome: Genome) -> jax.Array:
        return jax.vmap(one, (0, None))(jax.random.split(key, episodes), genome)[0]

    return jax.jit(returns).lower(jax.random.key(0), champion).compile(compile_options(options_for(config.env)))


def _fresh_key(seed: int) -> jax.Array:
    return jax.random.fold_in(jax.random.key(seed), FRESH)


@lru_cache(4)
def _without_data(evolution: Evolution) -> Callable[..., Any]:
    def step(key: jax.Array, state: Any, data: Any) -> tuple[Any, Any]:
        return evolution.step(key, state)

    return step


def _columns(info: Any, seconds: float) -> Columns:
    columns = dict(info.metrics)
    if "env_steps" in columns:
        rate = float(np.sum(columns["env_steps"])) / seconds
        columns["env_steps_per_second"] = np.full(len(columns["env_steps"]), rate)
    return columns


def _all_broken(rows: Rows) -> None:
    for row in rows:
        if row.get("fitness_best", 0.0) is None or not np.isfinite(row.get("fitness_best", 0.0)):
            raise RunError(f"no member of generation {row['generation']} has a finite fitness")


def _figure(folders: list[RunFolder], title: str | None) -> "Figure":
    from neuralmutator.plots.training import training_figure

    configs = [folder.config(Config, "evolution") for folder in folders]
    several = f", {len(folders)} runs" if len(folders) > 1 else f", seed {configs[0].seed}"
    named = title or " + ".join(sorted({config.env for config in configs})) + several
    return training_figure([folder.metrics() for folder in folders], title=named)


def _describe(metrics: dict[str, Any]) -> str:
    text = f"best {metrics['fitness_best']:.1f}  mean {metrics['fitness_mean']:.1f}"
    if metrics.get("species", 1) > np.size(metrics.get("island_fitness_mean", 0)):  # one on each island are none
        text += f"  species {metrics['species']:.0f}"
    if "env_steps_per_second" in metrics:
        rate = metrics["env_steps_per_second"]
        text += f"  {rate / 1e6:.2f} M steps/s" if rate > 1e5 else f"  {rate / 1e3:.1f} k steps/s"
    return text


def _summary(path: Path, result: dict[str, Any]) -> str:
    return (
        f"{path}: {result['moments']} generations in {result['seconds']:.0f} s\n"
        f"Champion on {result['test_episodes']} fresh episodes of {result['env']}: "
        f"{result['champion_mean']:.1f} ± {result['champion_std']:.1f} (mean ± std)"
    )


STORY = Story(Config, build, _figure, name=lambda config: config.env, describe=_describe, summary=_summary)
