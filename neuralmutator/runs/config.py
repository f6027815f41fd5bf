"""What a run is, as data: nested dataclasses that build the evolution and are written into the run folder."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import optax
import tyro

from neuralmutator import envs, fitness, mutators, networks
from neuralmutator.core import Fitness
from neuralmutator.population import Evolution, evolution, hall_of_fame, selection, speciation, track_founders


@dataclass(frozen=True)
class PolicyConfig:
    """The network that acts."""

    kind: Literal["auto", "flexible", "mlp", "recurrent", "cnn"] = "auto"
    """flexible: evolving layers and neurons; mlp: fixed; recurrent: with memory; cnn: for images of at least 16 x 16
    pixels; auto: cnn for such images, else flexible."""
    hidden: tuple[int, ...] = (64, 64)
    """mlp: widths of the hidden layers; recurrent: the first is the size of the memory."""
    max_layers: int = 2
    """flexible: most hidden layers."""
    max_width: int = 64
    """flexible: most neurons in a hidden layer."""


@dataclass(frozen=True)
class MutatorConfig:
    """Details of the mutator."""

    positive: bool = True
    """dual mutators: keep strategy scales positive (log space)."""
    scale: float = 1.0
    """dual mutators: factor on the correction and exploration scales of a fresh genome."""
    scale_rate: float = 0.1
    """dual mutators: log-normal mutation of the strategy genes, needs `positive`."""
    p_gauss: float = 0.5
    """dual-mixture: probability of the Gaussian escape in a fresh genome."""
    gauss_scale: float = 0.3
    """dual-mixture: std of the Gaussian escape in a fresh genome."""
    meta_rate: float = 0.1
    """dual mutators: share of its rewriting of itself that a child takes."""
    chunk_size: int = 64
    """dual mutators: numbers rewritten together."""
    std: float = 0.05
    """gaussian, self-adaptive: (first) step size."""
    learning_rate: float = 0.3
    """self-adaptive: std of the log step size's own mutation."""


@dataclass(frozen=True)
class SpeciesConfig:
    """Details of the learned speciation."""

    threshold: float = 0.5
    """Two tags closer than this times sqrt(16) are alike."""
    target: int | None = None
    """Wanted number of species; steers the threshold."""
    sharing: Literal["ranks", "fitness", "none"] = "ranks"
    """What crowding costs: rank or fitness over sqrt(species size), or nothing."""
    warm_start_steps: int = 300
    """Adam steps that the first compatibility net is trained for."""


@dataclass(frozen=True)
class Config:
    """A run of the Neural Mutator; the defaults are the default preset."""

    env: tyro.conf.Positional[str]
    """Name of a gymnax environment."""
    population_size: int = 80
    generations: int = 50
    episodes: int = 5
    """Episodes per evaluation."""
    max_steps: int | None = None
    """A time limit shorter than the environment's own."""
    mutator: Literal["dual-mixture", "dual-corrector", "gaussian", "self-adaptive"] = "dual-mixture"
    speciation: bool = True
    """Whether genomes decide by their own compatibility net whom they cross with."""
    crossover_rate: float = 0.3
    complexity_cost: float = 0.0
    """Fitness that an active policy parameter costs."""
    elites: int = 5
    """Best members that go on unchanged."""
    tournament: int = 3
    """Members that compete to become a parent."""
    truncation: float | None = None
    """Instead of tournaments: share of the population, the best, that parents are drawn from, each as often."""
    structural_rate: float = 0.05
    """First probability of a structural mutation; heritable."""
    final_decay: float = 0.03
    """Share of a rewriting that a child takes in the last generation; falls from 1 …"""
    decay: Literal["linear", "geometric"] = "linear"
    """… by the same amount, or by the same factor, in every generation."""
    common_random_numbers: bool = True
    """Whether all members of a generation play the same episodes."""
    hall: int = 8
    """Members of the hall of fame, re-evaluated every generation; 0: the champion is the luckiest evaluation."""
    hall_episodes: int | None = None
    """Episodes per re-evaluation in the hall of fame; 20 if not given, but no more than `episodes` where they are seen
    as images, which cost a thousand times as much."""
    seed: int = 0
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    mutation: MutatorConfig = field(default_factory=MutatorConfig)
    species: SpeciesConfig = field(default_factory=SpeciesConfig)


def build_policy(config: Config) -> networks.Network:
    """The policy of a run.

    Raises:
        ValueError: if the environment is unknown, or has no flat observations where the policy wants them.
    """
    task = envs.task(config.env)
    shape, act = task.observation.shape, task.num_outputs
    kind, p = config.policy.kind, config.policy
    if kind == "auto":
        kind = "cnn" if _are_images(shape) else "flexible"
    if kind == "cnn":
        if len(shape) != 3:
            raise ValueError(f"policy.kind cnn needs images, but {config.env} has observations of shape {shape}")
        return networks.cnn(act, shape)
    if len(shape) != 1:
        raise ValueError(f"policy.kind {kind} needs flat observations, but those of {config.env} have shape {shape}")
    if kind == "flexible":
        widths = tuple(w for w in (32, 48, 64) if w <= p.max_width) or (p.max_width,)
        layers = tuple(n for n in (1, 2) if n <= p.max_layers)
        return networks.flexible_mlp(shape[0], act, p.max_layers, p.max_width, layers, widths)
    if kind == "recurrent":
        return networks.recurrent(shape[0], act, *p.hidden[:1])
    return networks.mlp(shape[0], act, p.hidden)


def _are_images(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and min(shape[:2]) >= 16


def build_mutator(config: Config) -> mutators.Mutator:
    """The mutator of a run."""
    m = config.mutation
    if config.mutator == "gaussian":
        return mutators.gaussian(m.std)
    if config.mutator == "self-adaptive":
        return mutators.self_adaptive(m.std, m.learning_rate)
    if config.mutator == "dual-corrector":
        return mutators.dual_corrector(m.chunk_size, m.meta_rate, m.positive, m.scale_rate, m.scale)
    if config.mutator == "dual-mixture":
        return mutators.dual_mixture(
            m.chunk_size, m.meta_rate, m.positive, m.scale_rate, m.p_gauss, m.gauss_scale, m.scale
        )
    known = "dual-mixture, dual-corrector, gaussian, self-adaptive"
    raise ValueError(f"mutator must be one of {known}, got {config.mutator!r}")


def build_evolution(config: Config) -> Evolution:
    """The evolution of a run, evaluated on all devices that there are (images on a CPU: on one).

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """
    if config.generations < 1:
        raise ValueError(f"generations must be at least 1, got {config.generations}")
    if not 0 <= config.final_decay <= 1:
        raise ValueError(f"final_decay must lie between 0 and 1, got {config.final_decay}")
    schedules = {"linear": optax.linear_schedule(1.0, config.final_decay, config.generations)}
    if config.final_decay > 0:
        schedules["geometric"] = optax.exponential_decay(1.0, config.generations, config.final_decay)
    if config.decay not in schedules:
        raise ValueError(f"decay must be linear, or geometric with a final_decay above 0, got {config.decay!r}")
    if not 0 <= config.seed < 2**32:
        raise ValueError(f"seed must lie between 0 and 2^32 - 1, got {config.seed}")
    policy = build_policy(config)
    images = _are_images(envs.task(config.env).observation.shape)

    def task(episodes: int) -> Fitness:
        score = fitness.episodes(config.env, policy, episodes=episodes, max_steps=config.max_steps)
        # All cores of a CPU work on the convolutions of one genome; with a genome each they were a fifth slower.
        return score if images and jax.default_backend() == "cpu" else fitness.sharded(score)

    sharing = {
        "ranks": speciation.share_ranks,
        "fitness": speciation.share_fitness,
        "none": speciation.no_sharing,
    }
    truncation = config.truncation
    select = selection.tournament(config.tournament) if truncation is None else selection.truncation(truncation)
    s = config.species
    if s.sharing not in sharing:
        raise ValueError(f"species.sharing must be one of {', '.join(sharing)}, got {s.sharing!r}")
    learned = speciation.learned(s.threshold, s.target, sharing[s.sharing], s.warm_start_steps)
    built = evolution(
        policy,
        build_mutator(config),
        task(config.episodes),
        population_size=config.population_size,
        elites=config.elites,
        select=select,
        crossover_rate=config.crossover_rate,
        species=learned if config.speciation else speciation.none(),
        complexity_cost=config.complexity_cost,
        structural_rate=config.structural_rate,
        limit=5.0,  # the original program's
        decay=schedules[config.decay],
        common_random_numbers=config.common_random_numbers,
    )
    built = track_founders(built)
    if not config.hall:
        return built
    episodes = config.hall_episodes
    if episodes is None:
        episodes = min(20, config.episodes) if images else 20
    return hall_of_fame(built, task(episodes), config.hall)


def to_dict(config: Config) -> dict[str, Any]:
    """The configuration as plain data."""
    return dataclasses.asdict(config)


def from_dict(data: dict[str, Any]) -> Config:
    """Inverse of `to_dict`.

    Raises:
        ValueError: if a field is unknown or missing.
    """
    nested = {"policy": PolicyConfig, "mutation": MutatorConfig, "species": SpeciesConfig}
    try:
        parts = {name: kind(**data[name]) for name, kind in nested.items()}
        parts["policy"] = dataclasses.replace(parts["policy"], hidden=tuple(parts["policy"].hidden))
        return Config(**{**data, **parts})
    except (KeyError, TypeError) as error:
        raise ValueError(f"not the configuration of a run: {error}") from error


def changes(old: Any, new: Any) -> list[str]:
    """Names of the fields in which two configurations (dataclasses of one kind) differ."""

    def flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        items: dict[str, Any] = {}
        for name, value in data.items():
            items |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        return items

    a, b = flat(dataclasses.asdict(old)), flat(dataclasses.asdict(new))
    return [name for name in a if a[name] != b[name]]
