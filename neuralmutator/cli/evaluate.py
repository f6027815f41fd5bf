"""``neuralmutator evaluate RUN``: plays a champion again."""

from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from neuralmutator.core import check
from neuralmutator.measures import bootstrap_interval
from neuralmutator.runs.config import build_policy
from neuralmutator.runs.evolve import fresh_returns
from neuralmutator.runs.folder import RunFolder
from neuralmutator.runs.play import check_finite, gymnasium_returns


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
    seed: int = 10_000
    """Seed of the first episode."""
    max_steps: int | None = None
    """Another time limit than that of the run; the environment's own stays in force."""


def evaluate(options: Evaluate) -> int:
    """Runs the command; exit status 0."""
    check.whole(1, episodes=options.episodes)
    check.whole(0, seed=options.seed)
    folder = RunFolder(options.run)
    config, champion = folder.config, folder.load_champion()
    check_finite(champion)
    if options.max_steps is not None:
        config = replace(config, max_steps=options.max_steps)
    if options.gymnasium:
        policy = build_policy(config)
        returns = gymnasium_returns(
            config.env, policy, champion, options.episodes, options.seed, config.max_steps, options.workers
        )
    else:
        returns = fresh_returns(config, champion, options.episodes, options.seed)
    print(f"{config.env}, {len(returns)} episodes in {'Gymnasium' if options.gymnasium else 'gymnax'}")
    interval = ""
    if len(returns) > 1:
        low, high = bootstrap_interval(returns)
        interval = f", 95 % interval of the mean [{low:.2f}, {high:.2f}]"
    print(f"mean {returns.mean():.2f} ± {returns.std():.2f} (std){interval}")
    print(f"min {returns.min():.2f}, max {returns.max():.2f}")
    return 0
