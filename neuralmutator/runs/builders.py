"""Evolutions, policies and mutators from their configuration."""

import dataclasses
import os
from collections.abc import Callable, Collection
from functools import lru_cache

import jax
import optax

from neuralmutator import envs, fitness, mutators, networks
from neuralmutator.core import Fitness, naming, on_cpu
from neuralmutator.population import (
    Evolution,
    ablated,
    baselines,
    distribute,
    evolution,
    hall_of_fame,
    islands,
    selection,
    speciation,
    track_founders,
)
from neuralmutator.runs.config import MUTATION, Config, MutatorConfig, check, check_size, usual_kind
from neuralmutator.runs.errors import construction


def build_policy(config: Config) -> networks.Network:
    """The policy of a run.

    Raises:
        ValueError: if the environment is unknown, or has no flat observations where the policy wants them.
    """
    check_size(config.policy)
    shape, act = _sizes(config.env, config.host)
    kind, p = config.policy.kind, config.policy
    if kind == "auto":
        kind = "cnn" if _are_images(shape) else usual_kind(config)
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


@lru_cache
def _sizes(env: str, host: bool) -> tuple[tuple[int, ...], int]:
    """Shape of an observation as a policy sees it, and the number of outputs that an action needs."""
    if host:
        name, arguments = envs.in_gymnasium(env)
        return fitness.host.sizes(name, arguments)
    try:
        task = envs.task(env)
    except ValueError as error:
        if envs.in_gymnasium(env)[0] in _gymnasium_names():
            raise ValueError(f"{env} has no version in JAX: add --host to play it in Gymnasium") from error
        raise
    return task.observation.shape, task.num_outputs


def _gymnasium_names() -> Collection[str]:
    import gymnasium

    return gymnasium.registry


def _are_images(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and min(shape[:2]) >= 16


def build_mutator(config: Config, policy: networks.Network) -> mutators.Mutator:
    """The mutator of a run."""
    m = config.mutation
    std = {} if m.std is None else {"std": m.std}
    spread = {} if m.spread is None else {"spread": m.spread}
    size = policy.num_params
    name: str = config.mutator
    if name == "auto":
        flat = not config.host and len(_sizes(config.env, config.host)[0]) == 1
        name = "safe" if flat and policy.topology is None and policy.initial_state is None else "gaussian"
        if name == "gaussian" and (m.exponent, m.inertia) != (MutatorConfig.exponent, MutatorConfig.inertia):
            raise ValueError("mutation.exponent and mutation.inertia would be ignored: mutator auto is gaussian here")
    if name in ("safe", "perceptive"):
        if policy.topology is not None or policy.initial_state is not None:
            raise ValueError(
                f"mutator {name} needs a policy of fixed topology without memory, such as policy.kind mlp, "
                f"got {config.policy.kind}"
            )
        seen = fitness.observe(config.env, policy, jax.random.key(0), max_steps=config.max_steps)
        if name == "perceptive":
            return mutators.perceptive(policy, seen, rate=m.rate, inertia=m.inertia, fixed=m.fixed, **std)
        return mutators.safe(policy, seen, exponent=m.exponent, inertia=m.inertia, **std)
    makers: dict[str, Callable[[], mutators.Mutator]] = {
        "dual-mixture": lambda: mutators.dual_mixture(
            m.chunk_size, m.meta_rate, m.positive, m.scale_rate, m.p_gauss, m.gauss_scale, m.scale
        ),
        "dual-corrector": lambda: mutators.dual_corrector(m.chunk_size, m.meta_rate, m.positive, m.scale_rate, m.scale),
        "gaussian": lambda: mutators.gaussian(**std),
        "self-adaptive": lambda: mutators.self_adaptive(learning_rate=m.learning_rate, **std),
        "heavy-tailed": lambda: mutators.heavy_tailed(**spread, **std),
        "remembering": lambda: mutators.remembering(
            policy, slots=m.slots, keep=m.keep, leap=m.leap, back=m.back, **spread, **std
        ),
        "momentum": lambda: mutators.momentum(size, inertia=m.inertia, **std),
        "layerwise": lambda: mutators.layerwise(networks.groups_of(policy), rate=m.rate, **std),
        "derandomised": lambda: mutators.derandomised(size, rate=m.rate, **std),
        "differential": lambda: mutators.differential(factor=m.factor, **std),
    }
    if name not in makers:
        raise ValueError(f"mutator must be one of {', '.join(MUTATION)}, got {name!r}")
    return makers[name]()


def build_evolution(config: Config) -> Evolution:
    """The evolution of a run, evaluated on all devices that there are (images on a CPU: on one).

    Raises:
        UserError: naming the field, its value and what is allowed.
    """
    with construction():
        check(config)
        return _evolution(dataclasses.replace(config, seed=0))


def build_host_evolution(config: Config, workers: int = 0) -> tuple[Evolution, fitness.host.HostFitness]:
    """The evolution of a run whose episodes are played in Gymnasium, and what plays them, which must be closed.

    Raises:
        UserError: naming the field, its value and what is allowed.
    """
    with construction():
        check(config)
        policy = build_policy(config)
        name, arguments = envs.in_gymnasium(config.env)
        evaluate = fitness.gymnasium(
            name,
            policy,
            episodes=config.episodes,
            workers=workers,
            max_steps=config.max_steps,
            env_kwargs=arguments,
            common_random_numbers=config.common_random_numbers,
        )
        built = fitness.on_host(build_population(config, policy, None), evaluate)
        if config.algorithm is None:
            built = track_founders(built)
        if config.hall:
            members = evaluate.of_members(config.hall_episodes or 20)
            built = hall_of_fame(built, members, config.hall, centre=config.hall_centre)
        return built, evaluate


@lru_cache(4)
def _evolution(config: Config) -> Evolution:
    """One for all seeds of a configuration, which then share a program.

    The devices of several hosts, and accelerators where their number divides the population, share all of a generation;
    the cores of a CPU its evaluation, since they share their memory.
    """
    policy = build_policy(config)
    images = _are_images(_sizes(config.env, config.host)[0])

    def task(episodes: int) -> Fitness:
        score = fitness.episodes(config.env, policy, episodes=episodes, max_steps=config.max_steps)
        # All cores of a CPU work on the convolutions of one genome; with a genome each they were a fifth slower.
        return score if images and on_cpu() else fitness.sharded(score)

    built = build_population(config, policy, task(config.episodes))
    if config.algorithm is None:
        built = track_founders(built)
    if config.hall:
        episodes = config.hall_episodes
        if episodes is None:
            episodes = min(20, config.episodes) if images else 20
        built = hall_of_fame(built, task(episodes), config.hall, centre=config.hall_centre)
    divides = config.population_size % jax.device_count() == 0
    return distribute(built) if jax.process_count() > 1 or (divides and not on_cpu()) else built


def build_population(config: Config, policy: networks.Network, score: Fitness | None) -> Evolution:
    """The evolution of a configuration without what wraps it.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """
    if config.islands == 1:
        return _build_island(config, policy, score)
    m = config.migration
    return islands(
        _build_island(dataclasses.replace(config, population_size=config.population_size // config.islands), policy),
        score,
        config.islands,
        migrate_every=m.every,
        migrants=m.migrants,
        topology=m.topology,
        common_random_numbers=config.common_random_numbers,
    )


def _build_island(config: Config, policy: networks.Network, score: Fitness | None = None) -> Evolution:
    if config.algorithm is not None:
        algorithm, settings = naming.split(config.algorithm)
        return baselines.evosax(
            algorithm,
            policy,
            score,
            config.population_size,
            common_random_numbers=config.common_random_numbers,
            **{name: naming.literal(value) for name, value in settings.items()},
        )
    schedules = {"linear": optax.linear_schedule(1.0, config.final_decay, config.generations)}
    if config.final_decay > 0:
        schedules["geometric"] = optax.exponential_decay(1.0, config.generations, config.final_decay)
    mutator = build_mutator(config, policy)
    _check_memory(config, policy.num_params + mutator.num_params)
    sharing = {
        "ranks": speciation.share_ranks,
        "fitness": speciation.share_fitness,
        "none": speciation.no_sharing,
    }
    truncation = config.truncation
    select = selection.tournament(config.tournament) if truncation is None else selection.truncation(truncation)
    s = config.species
    learned = speciation.learned(s.threshold, s.target, sharing[s.sharing], s.warm_start_steps)
    built = evolution(
        policy,
        mutator,
        score,
        population_size=config.population_size,
        elites=config.elites,
        select=select if config.recombine is None else None,
        crossover_rate=config.crossover_rate if config.recombine is None else 0.0,
        recombine=config.recombine,
        species=learned if config.speciation else speciation.none(),
        complexity_cost=config.complexity_cost,
        structural_rate=config.structural_rate,
        limit=5.0,  # the original program's
        decay=schedules[config.decay],
        common_random_numbers=config.common_random_numbers,
    )
    return built if config.ablation == "none" else ablated(built, config.ablation)


def _check_memory(config: Config, num_params: int) -> None:
    """Raises ValueError where not even two populations would fit into the memory of this machine."""
    needed = 2 * 4 * config.population_size * num_params
    if hasattr(os, "sysconf") and needed > (there := os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")):
        raise ValueError(
            f"population_size {config.population_size} of {num_params:,} parameters each would take "
            f"{needed / 1e9:.0f} GB, and this machine has {there / 1e9:.0f} GB"
        )
