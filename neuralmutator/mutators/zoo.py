"""Mutators that are a few stages each; `stages` says what these do."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from neuralmutator.mutators import stages
from neuralmutator.mutators.base import Mutator
from neuralmutator.networks import Network


def heavy_tailed(std: float = 0.3, spread: float = 1.5) -> Mutator:
    """Gaussian noise whose size every birth draws anew: std · exp(spread · N(0, 1)). Needs no schedule."""
    return stages.chain(stages.noise(), stages.scaled(std), stages.log_normal(spread))


def remembering(
    policy: Network,
    std: float = 0.3,
    spread: float = 1.0,
    slots: int = 8,
    keep: float = 0.01,
    leap: float = 0.1,
    back: float = 0.1,
) -> Mutator:
    """Heavy-tailed noise, fresh policies, and returns to ancestors that the genome remembers; for tasks that change.

    Args:
        policy: the network that a genome's policy belongs to; of fixed topology.
        std: median size of the noise.
        spread: of the logarithm of a birth's size, see `stages.log_normal`.
        slots: how many ancestors are remembered, see `stages.memory`.
        keep: probability that the parent is remembered.
        leap: probability of a fresh policy; the parent is remembered.
        back: probability of a remembered policy.
    """
    memory = stages.memory(policy, slots, keep, leap, back)
    return stages.chain(stages.noise(), stages.scaled(std), stages.log_normal(spread), memory)


def safe(policy: Network, observations: Any, std: float = 1.0, exponent: float = 0.25, inertia: float = 0.0) -> Mutator:
    """Noise that spares the weights on which the outputs depend most, and a share of the parent's own last change.

    Args:
        policy: the network that a genome's policy belongs to; without memory and of fixed topology.
        observations: [B, ...]; see `fitness.observe`.
        std: root mean square of the noise.
        exponent: how much sensitive weights are spared, see `stages.sensitivity`.
        inertia: share of the parent's last change, see `stages.inertia`.
    """
    parts = [stages.noise(), stages.sensitivity(policy, observations, exponent), stages.scaled(std)]
    return stages.chain(*parts, *_kept(policy.num_params, inertia))


def perceptive(
    policy: Network,
    observations: Any,
    std: float = 1.0,
    rate: float = 0.3,
    inertia: float = 0.0,
    fixed: Literal["weights", "outputs"] = "weights",
) -> Mutator:
    """Noise whose shape a perceptron in the genome says, and a share of the parent's own last change.

    Args:
        policy: the network that a genome's policy belongs to; without memory and of fixed topology.
        observations: [B, ...]; see `fitness.observe`.
        std: root mean square of the noise.
        rate: of the perceptron's own mutation, see `stages.by_network`.
        inertia: share of the parent's last change, see `stages.inertia`.
        fixed: what a change is scaled to, see `stages.by_network`.
    """
    parts = [stages.noise(), stages.by_network(policy, observations, rate=rate, fixed=fixed), stages.scaled(std)]
    return stages.chain(*parts, *_kept(policy.num_params, inertia))


def momentum(size: int, std: float = 1.0, inertia: float = 0.5) -> Mutator:
    """Gaussian noise and a share of the parent's own last change; `size` is the number of policy parameters."""
    return stages.chain(stages.noise(), stages.scaled(std), stages.inertia(size, inertia))


def layerwise(groups: Sequence[int] | np.ndarray, std: float = 1.0, rate: float = 0.3) -> Mutator:
    """Gaussian noise with a heritable share for each group of weights; see `stages.by_group`."""
    return stages.chain(stages.noise(), stages.by_group(groups, rate), stages.scaled(std))


def derandomised(size: int, std: float = 1.0, rate: float = 0.3) -> Mutator:
    """Gaussian noise with a heritable share for each of `size` weights, which remembers what made its bearer."""
    return stages.chain(stages.noise(), stages.by_weight(size, rate), stages.scaled(std))


def differential(std: float = 0.1, factor: float = 0.5) -> Mutator:
    """Gaussian noise around ``first + factor · (second - first)`` where two parents cross; see `stages.difference`."""
    return stages.chain(stages.noise(), stages.scaled(std), stages.difference(factor))


def _kept(size: int, share: float) -> list[stages.Stage]:
    return [] if isinstance(share, int | float) and share == 0 else [stages.inertia(size, share)]
