import dataclasses
import inspect
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuralmutator as nm
from neuralmutator.runs import presets
from neuralmutator.runs.builders import build_evolution, build_mutator, build_policy
from neuralmutator.runs.config import (
    Config,
    MigrationConfig,
    MutatorConfig,
    PolicyConfig,
    SpeciesConfig,
    check,
    without_unused,
)
from neuralmutator.runs.errors import UserError


def test_presets_are_told_by_their_names():
    assert set(presets.by_name) == set(get_args(presets.Name))
    assert presets.strict.truncation is not None
    for config in presets.by_name.values():
        check(config)


def test_the_speciated_preset_has_the_defaults_of_the_library():
    """The command adds species and crossover, and takes all else as it is."""
    config = presets.speciated
    evolution = inspect.signature(nm.evolution).parameters
    for name in ("population_size", "elites", "complexity_cost", "structural_rate"):
        assert getattr(config, name) == evolution[name].default
    assert config.common_random_numbers == evolution["common_random_numbers"].default
    mixture = inspect.signature(nm.mutators.dual_mixture).parameters
    for name in ("positive", "scale_rate", "meta_rate", "chunk_size", "p_gauss", "gauss_scale"):
        assert getattr(config.mutation, name) == mixture[name].default
    learned = inspect.signature(nm.speciation.learned).parameters
    assert config.species.threshold == learned["threshold"].default
    assert config.species.target == learned["target_species"].default
    assert config.species.warm_start_steps == learned["warm_start_steps"].default
    flexible = inspect.signature(nm.networks.flexible_mlp).parameters
    assert (config.policy.max_layers, config.policy.max_width) == (
        flexible["max_layers"].default,
        flexible["max_width"].default,
    )


@pytest.mark.parametrize(
    ("kind", "env", "inputs"),
    [("flexible", "CartPole-v1", 4), ("mlp", "Pendulum-v1", 3), ("recurrent", "Acrobot-v1", 6)],
)
def test_policies_fit_their_environments(kind, env, inputs):
    policy = build_policy(
        Config(env=env, policy=PolicyConfig(kind=kind, **({} if kind == "flexible" else {"hidden": (8,)})))
    )
    assert policy.num_params > inputs * 8


@pytest.mark.parametrize(
    ("env", "params"), [("CartPole-v1", 226), ("CarRacing-v3", 17_971), ("Breakout-MinAtar", None)]
)
def test_policies_are_chosen_by_what_is_observed(env, params):
    if params is None:
        with pytest.raises(ValueError, match=r"mlp needs flat observations.*\(10, 10, 4\)"):
            build_policy(Config(env=env))
    else:
        assert build_policy(Config(env=env)).num_params == params


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("dual-mixture", 8374), ("dual-corrector", 8372), ("gaussian", 0), ("self-adaptive", 1), ("heavy-tailed", 0),
        ("remembering", 8 * 16), ("momentum", 16), ("layerwise", 4), ("derandomised", 16), ("differential", 0),
        ("safe", 16), ("perceptive", 48 + 16),
    ],
)  # fmt: skip
def test_mutators_by_name(name, params):
    config = Config(env="CartPole-v1", mutator=name, policy=PolicyConfig(kind="mlp", hidden=(2,)))
    assert build_mutator(config, build_policy(config)).num_params == params


@pytest.mark.parametrize("truncation", [None, pytest.param(0.1, marks=pytest.mark.slow)])
def test_parents_are_chosen_as_configured(truncation):
    """Of 20 members the best 2 with a truncation to a tenth, more with tournaments."""
    config = Config(env="CartPole-v1", population_size=20, elites=0, hall=0, truncation=truncation)
    config = dataclasses.replace(config, speciation=True, species=SpeciesConfig(sharing="none"))
    evolution = build_evolution(config)
    key = jax.random.key(0)
    _, generation = jax.jit(evolution.tell)(key, jax.jit(evolution.init)(key), jnp.arange(20.0))
    chosen = set(np.unique(generation.parents).tolist())
    assert chosen == {18, 19} if truncation else len(chosen) > 2


@pytest.mark.parametrize(
    ("decay", "shares"),
    [
        pytest.param("linear", [1, 0.775, 0.55, 0.325], marks=pytest.mark.slow),
        ("geometric", [1, 0.562, 0.316, 0.178]),
    ],
)
def test_mutation_shrinks_as_configured(decay, shares):
    """The distance of children from their parents over four generations that end at a tenth."""
    config = Config(
        env="CartPole-v1", population_size=20, generations=4, elites=0, hall=0, crossover_rate=0.0, speciation=False,
        final_decay=0.1, decay=decay, mutator="gaussian", policy=PolicyConfig(kind="mlp", hidden=(20,)),
    )  # fmt: skip
    evolution = build_evolution(config)
    state, tell = evolution.init(jax.random.key(0)), jax.jit(evolution.tell)
    distances = []
    for key in jax.random.split(jax.random.key(1), 4):
        parents = state.population.policy
        state, generation = tell(key, state, jnp.zeros(20))
        distances.append(float(jnp.std(state.population.policy - parents[generation.parents[:, 0]])))
    np.testing.assert_allclose(distances, 0.05 * np.array(shares), rtol=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mutation": MutatorConfig(rate=0.2)}, "mutation.rate 0.2 would be ignored: mutator auto"),
        ({"mutator": "gaussian", "mutation": MutatorConfig(scale=2.0)}, "mutation.scale 2.0 would be ignored"),
        ({"migration": MigrationConfig(every=3)}, "migration.every 3 would be ignored: a run without islands"),
        ({"islands": 0}, "islands must be at least 1, got 0"),
        ({"islands": 3}, "population_size must be a multiple of the 3 islands, got 80"),
        ({"policy": PolicyConfig(max_width=8)}, "policy.max_width 8 would be ignored: policy.kind auto"),
        ({"speciation": False, "species": SpeciesConfig(target=3)}, "species.target 3 would be ignored"),
        ({"policy": PolicyConfig(kind="lstm")}, "policy.kind must be one of auto, .* got 'lstm'"),
        ({"generations": 5.5}, "generations must be a whole number, got 5.5"),
        ({"generations": True}, "generations must be a whole number, got True"),
        ({"policy": 3}, "policy must be a PolicyConfig, got 3"),
        ({"env": 3}, "env must be a text, got 3"),
        ({"policy": PolicyConfig(kind="mlp", hidden=(3, 0.5))}, "policy.hidden must be whole numbers"),
    ],
)
def test_what_is_of_another_type_or_would_be_ignored_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        check(dataclasses.replace(presets.default, **change))


def test_details_of_a_preset_are_left_out_with_another_mutator():
    config = dataclasses.replace(presets.strict, mutator="gaussian", speciation=False)
    check(without_unused(config, presets.strict))
    mine = dataclasses.replace(config, mutation=dataclasses.replace(config.mutation, p_gauss=0.11))
    with pytest.raises(UserError, match=r"p_gauss 0\.11 would be ignored"):
        check(without_unused(mine, presets.strict))


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "safe"),
        ({"policy": PolicyConfig(kind="flexible")}, "gaussian"),
        ({"policy": PolicyConfig(kind="recurrent")}, "gaussian"),
        ({"env": "CarRacing-v3"}, "gaussian"),
    ],
)
def test_the_usual_mutator_is_safe_where_it_can_be(fields, name):
    config = Config(**{"env": "CartPole-v1"} | fields)
    policy = build_policy(config)
    mutator = jax.eval_shape(lambda: build_mutator(config, policy).init(jax.random.key(0)))
    assert mutator.shape == ((policy.num_params,) if name == "safe" else (0,))
    if name == "gaussian":
        with pytest.raises(ValueError, match="would be ignored: mutator auto is gaussian here"):
            build_mutator(dataclasses.replace(config, mutation=MutatorConfig(inertia=0.1)), policy)
