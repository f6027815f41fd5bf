"""Configurations worth a name; ``dataclasses.replace(presets.seed, env=…)`` makes them a run."""

from typing import Literal

from neuralmutator.experiment.config import Config, MutatorConfig, SpeciesConfig

default = Config(env="CartPole-v1")
"""What was measured to be best over several seeds and environments of classic control."""

gentle = Config(
    env="CartPole-v1",
    mutation=MutatorConfig(gauss_scale=0.05),
    species=SpeciesConfig(sharing="none"),
)
"""Smaller escapes and no price on crowding: better on LunarLander, where a good policy is easily spoilt."""

seed = Config(
    env="CartPole-v1",
    final_decay=0.2,
    common_random_numbers=False,
    hall=0,
    mutation=MutatorConfig(positive=False, p_gauss=0.2, gauss_scale=0.03),
    species=SpeciesConfig(sharing="fitness"),
)
"""The original program's algorithm, so that its numbers can be compared; its driver sees better, see `networks.cnn`."""

Name = Literal["default", "gentle", "seed"]

by_name: dict[str, Config] = {"default": default, "gentle": gentle, "seed": seed}
