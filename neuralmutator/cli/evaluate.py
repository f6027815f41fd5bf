"""``neuralmutator evaluate RUN``: plays a champion again."""

from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from neuralmutator.cli.options import prepare_jax
from neuralmutator.runs.errors import UserError, construction


@dataclass(frozen=True)
class Evaluate:
    """Play the champion of a run on fresh episodes, in JAX or in the real Gymnasium environment."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    gymnasium: bool = False
    """Play in Gymnasium's environment of the same name."""
    workers: int = 0
    """Processes that step Gymnasium's environments, for those of which a step takes long; 0: none but this one."""
    episodes: int = 100
    """Number of episodes."""
    seed: int = 10_000
    """Seed of the first episode."""
    max_steps: int | None = None
    """Another time limit than that of the run; the environment's own stays in force."""


def evaluate(options: Evaluate) -> int:
    """Runs the command; exit status 0."""
    for name, least in (("episodes", 1), ("seed", 0), ("workers", 0), ("max_steps", 1)):
        if (value := getattr(options, name)) is not None and value < least:
            raise UserError(f"{name} must be at least {least}, got {value}")
    prepare_jax()
    from neuralmutator.measures import bootstrap_interval
    from neuralmutator.runs.builders import build_policy
    from neuralmutator.runs.champion import read_champion
    from neuralmutator.runs.config import Config
    from neuralmutator.runs.evolve import fresh_returns
    from neuralmutator.runs.folder import RunFolder
    from neuralmutator.runs.play import gymnasium_returns

    folder = RunFolder(options.run)
    config = folder.config(Config, "evolution")
    in_gymnasium = options.gymnasium or config.host
    if options.max_steps is not None:
        config = replace(config, max_steps=options.max_steps)
    with construction():
        policy = build_policy(config)
    champion = read_champion(folder, policy)
    with construction():
        if in_gymnasium:
            returns = gymnasium_returns(
                config.env, policy, champion, options.episodes, options.seed, config.max_steps, options.workers
            )
        else:
            returns = fresh_returns(config, champion, options.episodes, options.seed)
    interval = ""
    if len(returns) > 1:
        low, high = bootstrap_interval(returns)
        interval = f", 95 % interval of the mean [{low:.2f}, {high:.2f}]"
    world, limit = _world(config.env, config.max_steps, in_gymnasium)
    print(f"{config.env} of {world}, {len(returns)} episodes{limit}")
    print(f"mean {returns.mean():.2f} ± {returns.std():.2f} (std){interval}")
    print(f"min {returns.min():.2f}, max {returns.max():.2f}")
    return 0


def _world(env: str, max_steps: int | None, gymnasium: bool) -> tuple[str, str]:
    """Whose environment this is, and the longest that an episode lasts, in words."""
    from neuralmutator import envs

    if gymnasium:
        import gymnasium as gym

        own = gym.spec(envs.in_gymnasium(env)[0]).max_episode_steps
    else:
        own = int(envs.make(env)[1].max_steps_in_episode)
    limit = min((x for x in (own, max_steps) if x is not None), default=None)
    world = "Gymnasium" if gymnasium else f"{envs.origin(env)} (JAX)"
    if limit is None:
        return world, ""
    whole = f"; whole ones have {own}" if own is not None and limit < own else ""
    return world, f" of at most {limit} steps{whole}"
