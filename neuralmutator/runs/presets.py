"""Configurations worth a name; ``dataclasses.replace(presets.seed, env=…)`` makes them a run."""

from typing import Literal

from neuralmutator.runs.config import Config, MutatorConfig, SpeciesConfig

default = Config(env="CartPole-v1")
"""What was measured to be best over several seeds and environments of classic control."""

strict = Config(
    env="CartPole-v1",
    truncation=0.1,
    elites=1,
    crossover_rate=0.5,
    final_decay=0.05,
    decay="geometric",
    common_random_numbers=False,
    mutation=MutatorConfig(scale=0.1, scale_rate=0.0, p_gauss=0.95, gauss_scale=0.1),
    species=SpeciesConfig(sharing="none"),
)
"""Only the best tenth reproduces, half of the children are means of two parents, one elite is kept.

For tasks as noisy as LunarLander. Each member plays episodes of its own: with common ones all parents of a generation
are chosen for the same luck, and a population whose fitness is nearly alike drifts after it; with its own, luck
averages out among the parents. Nearly all children take the Gaussian escape, beside which the corrections are small,
and step sizes follow the decay alone: where they are heritable, the smallest win, as their children are the least
harmed, and a population stands still a third of the way. The decay is geometric, for steps as large as the first hide
what is learned, and small ones in the beginning find nothing but hovering.
"""

seed = Config(
    env="CartPole-v1",
    final_decay=0.2,
    common_random_numbers=False,
    hall=0,
    mutation=MutatorConfig(positive=False, p_gauss=0.2, gauss_scale=0.03),
    species=SpeciesConfig(sharing="fitness"),
)
"""The original program's algorithm, so that its numbers can be compared; its driver sees better, see `networks.cnn`."""

Name = Literal["default", "strict", "seed"]

by_name: dict[str, Config] = {"default": default, "strict": strict, "seed": seed}
