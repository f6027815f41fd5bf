"""Configurations worth a name; ``dataclasses.replace(presets.strict, env=…)`` makes them a run."""

from typing import Literal

from neuralmutator.runs.config import Config, MutatorConfig, SpeciesConfig

default = Config(env="CartPole-v1")
"""What was measured to be best over several seeds and tasks of classic control (`benchmarks/static.toml`).

Noise that spares sensitive weights, with a lineage's momentum; the size of a step follows the schedule alone, as
heritable step sizes shrink: children who change least survive. No species, and a small policy of fixed topology.
"""

speciated = Config(
    env="CartPole-v1",
    mutator="dual-mixture",
    speciation=True,
    mutation=MutatorConfig(scale_rate=0.1, p_gauss=0.5, gauss_scale=0.3),
)
"""The whole of the Neural Mutator: learned speciation and heritable step sizes. The default of the first results."""

strict = Config(
    env="CartPole-v1",
    mutator="dual-mixture",
    speciation=True,
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

For tasks as noisy as LunarLander. Each member plays its own episodes. With common episodes, all parents of a
generation are selected for the same luck, and the population follows it where fitness is nearly equal; with episodes of
their own, luck averages out among the parents. Nearly all children take the Gaussian escape, so the corrections are
small. Step sizes are not heritable: selection favours the smallest, whose children change least, and progress stops
after a third of the run. The decay is geometric: steps as large as the first ones hide what is learned later, and small
steps at the start find nothing but hovering.
"""

original = Config(
    env="CartPole-v1",
    mutator="dual-mixture",
    speciation=True,
    final_decay=0.2,
    common_random_numbers=False,
    hall=0,
    mutation=MutatorConfig(positive=False, scale_rate=0.1, p_gauss=0.2, gauss_scale=0.03),
    species=SpeciesConfig(sharing="fitness"),
)
"""The original program's algorithm, so that its numbers can be compared; its driver sees better, see `networks.cnn`."""

Name = Literal["default", "speciated", "strict", "original"]

by_name: dict[str, Config] = {
    "default": default,
    "speciated": speciated,
    "strict": strict,
    "original": original,
}
